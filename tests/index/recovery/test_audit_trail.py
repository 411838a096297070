"""The audit trail: a line for everything that was done to an index, whatever came of it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from index.errors import StorageFailed
from index.recovery import audit
from index.recovery.audit import audit_path, audited, entries, snapshot_age
from tests.index.recovery.kept import NOON


def test_what_was_done_is_noted_with_who_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    with audited(tmp_path, "restore", clock=lambda: NOON) as entry:
        entry.plan = {"snapshot": "s"}
        entry.state_before, entry.state_after, entry.snapshot = "a", "b", "s"
    (line,) = entries(audit_path(tmp_path))
    assert line == {
        "time": "2026-03-01T12:00:00+00:00",
        "who": "anna",
        "action": "restore",
        "dry_run": False,
        "plan": {"snapshot": "s"},
        "outcome": "done",
        "state_before": "a",
        "state_after": "b",
        "snapshot": "s",
        "seconds": line["seconds"],
        "error": None,
    }
    assert 0 <= line["seconds"] < 60


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("broken"), "broken"), (KeyboardInterrupt(), "KeyboardInterrupt")],
)
def test_failures_and_interruptions_are_noted(
    tmp_path: Path, error: BaseException, told: str
) -> None:
    with pytest.raises(type(error)), audited(tmp_path, "restore"):
        raise error
    (line,) = entries(audit_path(tmp_path))
    assert (line["outcome"], line["error"]) == ("failed", told)


def test_dry_run_is_marked(tmp_path: Path) -> None:
    with audited(tmp_path, "restore", dry_run=True):
        pass
    (line,) = entries(audit_path(tmp_path))
    assert (line["dry_run"], line["outcome"]) == (True, "planned")


def test_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    with audited(tmp_path, "verify"):
        pass
    with audit_path(tmp_path).open("a") as file:
        file.write('{"action": "snap')
    with audited(tmp_path, "repair"):
        pass
    assert [each["action"] for each in entries(audit_path(tmp_path))] == ["verify", "repair"]


def test_line_is_synced_before_the_command_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(audit.os, "fsync", lambda number: synced.append(number))
    with audited(tmp_path, "verify"):
        pass
    assert len(synced) >= 1


def test_what_can_not_be_noted_is_an_error_but_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit.os, "fsync", full)
    with pytest.raises(StorageFailed, match=r"audit\.jsonl.*No space"), audited(tmp_path, "verify"):
        pass
    with pytest.raises(ValueError, match="the first"), audited(tmp_path, "verify"):
        raise ValueError("the first")


def test_mistyped_folder_is_not_made(tmp_path: Path) -> None:
    with audited(tmp_path / "typo", "verify"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_user_without_a_name_is_told_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(audit.getpass, "getuser", nameless)
    monkeypatch.setattr(audit.os, "getuid", lambda: 10001)
    assert audit.current_user() == "uid 10001"


def test_age_is_that_of_the_last_snapshot_taken_whole(tmp_path: Path) -> None:
    path = audit_path(tmp_path)
    assert snapshot_age(path, NOON) is None
    with audited(tmp_path, "snapshot", clock=lambda: NOON):
        pass
    later = NOON + timedelta(hours=2)
    with (
        pytest.raises(ValueError, match="away"),
        audited(tmp_path, "snapshot", clock=lambda: later),
    ):
        raise ValueError("away")
    with audited(tmp_path, "restore", clock=lambda: later):
        pass
    assert snapshot_age(path, NOON + timedelta(hours=3)) == 3 * 3600
    with path.open("a") as file:
        file.write(json.dumps({"action": "snapshot"})[:-4])
    assert snapshot_age(path, NOON + timedelta(hours=3)) == 3 * 3600

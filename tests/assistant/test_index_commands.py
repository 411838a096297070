"""`casebook index` as a person, a schedule and an operator in a hurry use it."""

import json
import os
import pty
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assistant.cli import main
from index.catalog import utc_now
from index.reader import IndexReader
from index.recovery.audit import audit_path, entries, snapshot_age
from tests.conftest import ROOT, casebook, serving
from tests.index.recovery.kept import flip, s3_server, tree

QUARTER = "# Restore drill\n\nThe restore drill runs every quarter.\n"
QUESTION = "How often does the restore drill run?"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two documents, ingested, with a snapshot, and then changed and ingested again."""
    folder = tmp_path_factory.mktemp("index-commands")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "drill.md").write_text(QUARTER)
    (folder / "corpus" / "plan.md").write_text("# Plan\n\nThe plan is kept by the platform team.\n")
    assert casebook("ingest", cwd=folder).returncode == 0
    assert casebook("index", "snapshot", cwd=folder).returncode == 0
    (folder / "corpus" / "drill.md").write_text(QUARTER.replace("quarter", "week"))
    (folder / "corpus" / "plan.md").unlink()
    assert casebook("ingest", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def folder(ingested: Path, tmp_path: Path) -> Path:
    shutil.copytree(ingested, tmp_path / "work", symlinks=True)
    return tmp_path / "work"


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def index_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs `casebook index …` in this process, without a terminal."""

    def run(*arguments: str, cwd: Path, **environment: str) -> Done:
        monkeypatch.chdir(cwd)
        found = CliRunner().invoke(main, ["index", *arguments], env=environment)
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return Done(found.exit_code, found.stdout, found.stderr)

    return run


def says(folder: Path, index: str = ".casebook/index") -> str:
    """The texts that an index serves."""
    with closing(IndexReader(folder / index)) as reader:
        state = reader.current().state
        return "\n".join(each.text for each in reader.catalog.documents(state.id))


def trail(folder: Path) -> list[Mapping[str, Any]]:
    return entries(audit_path(folder / ".casebook" / "index"))


def test_way_there_and_back(folder: Path, index_command: Callable[..., Done]) -> None:
    """Snapshot, dry run, refusal, restore, rollback: each with a plan before and a line after."""
    index = folder / ".casebook"
    listed = json.loads(index_command("snapshots", "--json", cwd=folder).stdout)
    assert [each["whole"] for each in listed] == [True]

    before = {name: found for name, found in tree(index).items() if "audit" not in name}
    dry = index_command("restore", "--dry-run", cwd=folder)
    assert dry.returncode == 0, dry.stderr
    assert f"Plan: restore snapshot {listed[0]['id']}" in dry.stdout
    for words in (
        "now      state",
        "then     state",
        "read ",
        "write ",
        "keep ",
        "Nothing was changed",
    ):
        assert words in dry.stdout
    assert {name: found for name, found in tree(index).items() if "audit" not in name} == before

    refused = index_command("restore", cwd=folder)
    assert refused.returncode == 16
    assert "--yes" in refused.stderr
    done = index_command("restore", "--yes", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "reading: " in done.stderr
    assert "building: done" in done.stderr
    assert "every quarter" in says(folder)

    back = index_command("rollback", "--dry-run", cwd=folder)
    assert "go       documents: 1" in back.stdout
    assert "plan-" in back.stdout
    assert index_command("rollback", cwd=folder).returncode == 16
    assert index_command("rollback", "--yes", cwd=folder).returncode == 0
    assert "every week" in says(folder)

    lines = [(each["action"], each["outcome"], each["dry_run"]) for each in trail(folder)]
    assert lines == [
        ("snapshot", "done", False),
        ("restore", "planned", True),
        ("restore", "failed", False),
        ("restore", "done", False),
        ("rollback", "planned", True),
        ("rollback", "failed", False),
        ("rollback", "done", False),
    ]
    restored = trail(folder)[3]
    assert restored["state_before"] != restored["state_after"] == listed[0]["manifest"]["state"]
    assert restored["snapshot"] == listed[0]["id"]
    assert restored["plan"]["bytes_read"] == listed[0]["manifest"]["files"][0]["stored_size"]
    age = snapshot_age(audit_path(folder / ".casebook" / "index"), utc_now())
    assert age is not None
    assert 0 <= age < 3600


def test_json_is_the_line_of_the_trail(folder: Path, index_command: Callable[..., Done]) -> None:
    for command in (
        ("snapshot",),
        ("verify",),
        ("restore", "--dry-run"),
        ("restore", "--yes"),
        ("rollback", "--yes"),
        ("repair",),
    ):
        done = index_command(*command, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["action"] == command[0]
        assert {**told, **trail(folder)[-1]} == told
        assert "Plan: " in done.stderr


def test_damage_is_named_repaired_and_whole_again(
    folder: Path, index_command: Callable[..., Done]
) -> None:
    damaged = sorted((folder / ".casebook" / "index" / "segments").glob("*/lexical.npz"))
    for path in damaged:
        flip(path)
    found = index_command("verify", cwd=folder)
    assert found.returncode == 5
    assert "lexical.npz" in found.stdout
    assert "casebook index repair" in found.stdout
    assert trail(folder)[-1]["outcome"] == "failed"
    dry = index_command("repair", "--dry-run", cwd=folder)
    assert "build    files again from the catalog: 1" in dry.stdout
    assert index_command("verify", cwd=folder).returncode == 5
    assert index_command("repair", cwd=folder).returncode == 0
    assert index_command("verify", cwd=folder).returncode == 0


def test_damaged_snapshot_is_named_and_the_index_left_alone(
    folder: Path, index_command: Callable[..., Done]
) -> None:
    (stored,) = (folder / ".casebook" / "snapshots").glob("*/*.gz")
    flip(stored)
    snapshot = stored.parent.name
    checked = index_command("verify", "--snapshot", snapshot, cwd=folder)
    assert checked.returncode == 5
    assert snapshot in checked.stdout
    failed = index_command("restore", "--yes", cwd=folder)
    assert failed.returncode == 5
    assert "is not what was written: choose another" in failed.stderr
    assert "every week" in says(folder)
    assert "not what was written" in trail(folder)[-1]["error"]
    assert trail(folder)[-1]["state_after"] == trail(folder)[-1]["state_before"]


def test_restore_is_exercised_elsewhere(
    folder: Path, tmp_path: Path, index_command: Callable[..., Done]
) -> None:
    before = tree(folder / ".casebook" / "index" / "segments")
    done = index_command("restore", "--to", str(tmp_path / "exercise"), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "whole (state" in done.stdout
    assert tree(folder / ".casebook" / "index" / "segments") == before
    assert "every quarter" in says(tmp_path, "exercise")
    assert trail(folder)[-1]["action"] == "test restore"
    again = index_command("restore", "--to", str(tmp_path / "exercise"), cwd=folder)
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_new_machine_is_restored_from_a_bucket(
    folder: Path, tmp_path: Path, index_command: Callable[..., Done]
) -> None:
    """From one folder into a bucket and out of it into another; the keys are shown nowhere."""
    with s3_server() as (address, _):
        bucket = {
            "CASEBOOK_SNAPSHOTS": json.dumps(
                {
                    "to": "s3://backups/casebook",
                    "endpoint": address,
                    "region": "eu-central-1",
                    "allow_http": True,
                }
            ),
            "AWS_ACCESS_KEY_ID": "the-key-id",
            "AWS_SECRET_ACCESS_KEY": "the-secret-key",
        }
        stored = index_command("snapshot", cwd=folder, **bucket)
        assert stored.returncode == 0, stored.stderr
        assert "s3://backups/casebook" in stored.stdout
        new = tmp_path / "new"
        new.mkdir()
        done = index_command("restore", "--yes", cwd=new, **bucket)
        assert done.returncode == 0, done.stderr
    assert "now      no index" in done.stdout
    assert "every week" in says(new)
    away = index_command("restore", "--yes", cwd=new, **bucket)
    assert away.returncode == 15
    assert "s3://backups/casebook" in away.stderr
    assert "every week" in says(new)
    everything = "".join([stored.stdout, stored.stderr, done.stdout, away.stderr, str(trail(new))])
    assert "the-secret-key" not in everything
    assert "the-key-id" not in everything


@pytest.mark.parametrize(("answer", "code"), [("n", 16), ("y", 0)])
def test_person_at_a_terminal_is_asked(folder: Path, answer: str, code: int) -> None:
    """In a terminal of its own; what was answered decides."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        python = str(ROOT / ".venv" / "bin" / "python")
        os.execv(python, [python, "-m", "assistant.cli", "index", "restore"])
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, f"{answer}\n".encode())
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, shown
    assert shown.index(b"Plan: ") < shown.index(b"[y/N]")
    expected = "every week" if answer == "n" else "every quarter"
    assert expected in says(folder)


def test_settings_name_where_snapshots_go_and_how_many_are_kept(
    folder: Path, index_command: Callable[..., Done]
) -> None:
    (folder / "casebook.toml").write_text('[snapshots]\nto = "elsewhere"\nkeep = 1\n')
    for _ in range(2):
        assert index_command("snapshot", cwd=folder).returncode == 0
        time.sleep(1.1)  # a snapshot is named after its second
    assert len(list((folder / "elsewhere").iterdir())) == 1
    (folder / "casebook.toml").write_text('[snapshots]\nto = "gs://bucket"\n')
    wrong = index_command("snapshots", cwd=folder)
    assert wrong.returncode == 2
    assert "snapshots" in wrong.stderr


def test_mistyped_index_makes_no_folder(folder: Path, index_command: Callable[..., Done]) -> None:
    for command in (("verify",), ("snapshot",), ("repair",), ("rollback", "--yes")):
        done = index_command(*command, "--index", "typo", cwd=folder)
        assert done.returncode == 5
        assert "no index at typo" in done.stderr
    assert not (folder / "typo").exists()


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


@pytest.mark.slow
def test_running_server_answers_across_restores_and_then_from_what_was_restored(
    folder: Path, server: str
) -> None:
    """Three restores and rollbacks under four callers: no error, each answer of one index or the other."""
    stop, wrong, answers = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(asked(server))
            except urllib.error.HTTPError as error:
                if error.headers["Retry-After"] is None:  # on a busy machine it may ask to wait
                    wrong.append(error.read().decode())
            except OSError as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    expected = []
    for command in ("restore", "rollback") * 3:
        done = casebook("index", command, "--yes", cwd=folder)
        if done.returncode:
            wrong.append(done.stderr)
        time.sleep(0.5)
        expected.append("quarter" if command == "restore" else "week")
    assert "every week" in asked(server)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {"every week" in each or "every quarter" in each for each in answers} == {True}
    assert any("every week" in each for each in answers)
    assert any("every quarter" in each for each in answers)
    print(f"\n{len(answers)} answers across {len(expected)} exchanges")


def asked(server: str) -> str:
    """The answer of a running server."""
    request = urllib.request.Request(
        f"{server}/ask",
        json.dumps({"question": QUESTION}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(json.load(response)["answer"])

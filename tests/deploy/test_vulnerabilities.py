"""An audit that could not be made is not taken for one that found nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.audit import CONTROL, accepted, ask_pip_audit, audit
from deploy.locked import Pinned

TODAY = date(2026, 11, 27)
OURS = [Pinned("httpx", "0.28", ()), Pinned("rich", "14.0", ())]


class Service:
    """Knows of the control, of one vulnerability of httpx and, unless told otherwise, of rich."""

    def __init__(self, *, knows_of_any: bool = True, knows_rich: bool = True) -> None:
        self.knows_of_any = knows_of_any
        self.knows_rich = knows_rich
        self.asked: list[str] = []

    def __call__(self, pinned: Sequence[Pinned]) -> Mapping[str, Any]:
        self.asked += [one.name for one in pinned]
        return {"dependencies": [self._answer(one) for one in pinned]}

    def _answer(self, one: Pinned) -> dict[str, Any]:
        if one.name == "rich" and not self.knows_rich:
            return {"name": "rich", "skip_reason": "not there"}
        vulnerable = self.knows_of_any and one.name in {CONTROL.name, "httpx"}
        known = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["0.29"]}
        return {"name": one.name, "version": one.version, "vulns": [known] if vulnerable else []}


def test_a_vulnerability_is_told_with_its_remedy() -> None:
    result = audit(OURS, {}, TODAY, Service())
    assert result.lines == ["vulnerable: httpx 0.28: PYSEC-1, mended in 0.29"]


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_what_is_accepted_is_not_told_until_its_day(name: str) -> None:
    until = date(2026, 12, 31)
    assert audit(OURS, {name: until}, TODAY, Service()).lines == ["no known vulnerabilities"]
    assert audit(OURS, {name: until}, until, Service()).found != ()


def test_a_service_that_does_not_know_the_control_is_not_asked_about_ours() -> None:
    service = Service(knows_of_any=False)
    result = audit(OURS, {}, TODAY, service)
    assert not result.ran
    assert result.lines[0].startswith("vulnerabilities: not checked")
    assert service.asked == [CONTROL.name]


def test_no_answer_at_all_is_no_audit() -> None:
    assert not audit(OURS, {}, TODAY, lambda pinned: {"dependencies": []}).ran


def test_what_the_service_does_not_know_is_named() -> None:
    assert audit(OURS, {}, TODAY, Service(knows_rich=False)).unknown == ("rich",)


def test_an_acceptance_without_a_reason_or_a_day_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vulnerabilities.toml"
    file.write_text('[[accepted]]\nid = "X"\nuntil = 2026-12-31\n')
    with pytest.raises(ValueError, match="reason"):
        accepted(file)


def test_no_locked_release_has_a_known_vulnerability() -> None:
    from deploy.locked import locked

    result = audit(locked(dev=True), accepted(), datetime.now(UTC).date(), ask_pip_audit)
    if not result.ran:
        pytest.skip(result.lines[0])
    assert result.found == ()

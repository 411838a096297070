"""The table of operations: every case study is in it, and what it points to is there."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (DOCS / "operations.md")
    .read_text(encoding="utf-8")
    .split("## Load")[0]
    .splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| case study"))
]


def titles() -> set[str]:
    pages = (ROOT / "corpus" / "case-studies").glob("*.md")
    return {re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)[1] for page in pages}  # type: ignore[index]


def test_every_case_study_has_its_row() -> None:
    assert {row[0] for row in ROWS} == titles()
    assert len(ROWS) == 22


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_shown_by_tests_that_there_are_or_says_why_not(row: list[str]) -> None:
    _, does, where, shown_by = row
    tests = re.findall(r"`(tests/[^`]+)`", shown_by)
    if not tests:
        assert does.startswith("does not apply: ")
    for path in tests + re.findall(r"`((?:assistant|index|deploy|docs)/[^`]+)`", where):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#]+)\)", does + where):
        assert (DOCS / link).exists(), link


def test_the_limits_are_those_there_are() -> None:
    from assistant.limits import Limits

    said = set(re.findall(r"^\| `limits\.(\w+)` \|", (DOCS / "operations.md").read_text(), re.M))
    assert said == set(Limits.model_fields)


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http:", "https:")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert Path(DOCS / "runbooks").is_dir()

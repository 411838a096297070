"""The README is run: its commands give the output it shows."""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT, casebook

EXAMPLE = re.compile(r"```console\n\$ \.venv/bin/casebook (.*?)\n(.*?)```", re.DOTALL)

VARIES = re.compile(r"\d{4}-\d\d-\d\d|\b[0-9a-f]{16}\b|\d+\.\d+")


def steady(text: str) -> list[str]:
    """The lines of an output, with what differs from run to run blanked."""
    return [VARIES.sub("#", line.rstrip()) for line in text.strip().splitlines()]


EXAMPLES = EXAMPLE.findall((ROOT / "README.md").read_text())


def test_readme_shows_commands() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_command_of_the_readme_gives_its_output(
    command: str, output: str, case_studies_index: Path
) -> None:
    done = casebook(*shlex.split(command), CASEBOOK_INDEX=str(case_studies_index))
    assert done.returncode == 0, done.stderr
    assert steady(done.stdout) == steady(output)


def test_readme_names_the_make_targets_there_are() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_settings_of_the_readme_are_those_there_are() -> None:
    from assistant.settings import Settings

    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert documented == set(Settings.model_fields)

"""Two processes that write at once: one wins, the other is told to wait, and nothing is lost."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from index.reader import IndexReader
from tests.conftest import ROOT, casebook
from tests.index.faults.disk import HERE

RACES = 50


class Racer:
    """A process that writes when told to."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "racer.py"), str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.said() == {"ready": True}

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self) -> dict[str, Any]:
        assert self.process.stdout
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


@contextmanager
def racers(folder: Path) -> Iterator[tuple[Racer, Racer]]:
    with ExitStack() as started:
        two = Racer(folder), Racer(folder)
        for racer in two:
            started.callback(racer.process.wait, 30)
            started.callback(racer.process.kill)
        yield two


def titles(folder: Path) -> set[str]:
    return {document.title for document in IndexReader(folder).current().documents}


def test_exactly_one_of_two_writers_wins_each_of_fifty_races(tmp_path: Path) -> None:
    wins = []
    with racers(tmp_path) as two:
        for race in range(RACES):
            for number, racer in enumerate(two):
                racer.tell(f"{race} by {number}")
            first = [racer.said() for racer in two]
            (winner,) = [number for number, told in enumerate(first) if "won" in told]
            lost = first[1 - winner]
            assert lost["exit_code"] == 7
            assert lost["busy"] == (
                f"another ingestion is writing to {tmp_path}: wait for it to end"
            )
            two[winner].tell("go on")
            assert two[winner].said() == {"published": f"{race} by {winner}"}
            wins.append(f"{race} by {winner}")
    assert titles(tmp_path) == set(wins)


def test_the_next_writer_goes_on_at_once_where_the_holder_was_killed(tmp_path: Path) -> None:
    with racers(tmp_path) as (first, second):
        first.tell("before")
        first.said()
        first.tell("go on")
        first.said()
        first.tell("killed")
        assert first.said() == {"won": "killed"}
        first.process.kill()
        first.process.wait()
        second.tell("after")
        assert second.said() == {"won": "after"}
        second.tell("go on")
        assert second.said() == {"published": "after"}
    assert titles(tmp_path) == {"before", "after"}


@pytest.mark.slow
def test_the_command_that_comes_second_says_so_and_exits_with_7(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.md").write_text("# A\n\nThe drill runs every week.\n")
    index = tmp_path / "index"
    with racers(index) as (holder, _):
        holder.tell("held")
        assert holder.said() == {"won": "held"}
        told = casebook("ingest", cwd=tmp_path, CASEBOOK_INDEX=str(index))
    assert told.returncode == 7
    said = f"casebook: another ingestion is writing to {index}: wait for it to end"
    assert told.stderr.splitlines()[-1] == said

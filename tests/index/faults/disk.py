"""A disk that fails on demand, and an index on it that is about to be published."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made_up import DIMENSION, MODEL, random_vector, stored
from index.catalog import Catalog
from index.reader import IndexReader
from index.retriever import retrieve
from index.store import catalog_path, publish, writing
from tests.conftest import ROOT
from tests.index.sealing import age_states

HERE = Path(__file__).parent

QUESTIONS = ("How often does drill 3 run?", "Who reads the plan?", "freeze", "drill 7 week")


class Fault(IntEnum):
    """What happens at a step, as the shim numbers it."""

    NONE = 0
    KILLED_BEFORE = 1
    KILLED_AFTER = 2
    FULL = 3
    IO_ERROR = 4
    TOO_MANY_FILES = 5
    SHORT_WRITE = 6
    FAILED_SYNC = 7
    READ_ONLY = 8


@dataclass(frozen=True)
class Step:
    """One call of the publisher on a file under the index folder, numbered from 1."""

    number: int
    does: str
    path: str


Golden = tuple[Any, ...]
"""All that a state answers: what it holds, and the passages and scores for each golden question."""


@dataclass(frozen=True)
class Prepared:
    """An index whose next state is staged and embedded; `old` and `new` are what each state answers."""

    folder: Path
    rows: Sequence[int]
    old: Golden
    new: Golden

    def copy(self, to: Path) -> Path:
        """A fresh copy, over what was there."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        return to

    def publish(self, folder: Path) -> None:
        """Publish the next state, on a disk that works."""
        with writing(folder):
            catalog = Catalog(catalog_path(folder), create=True)
            publish(folder, catalog, MODEL, DIMENSION, self.rows)
            catalog.close()


def golden(reader: IndexReader) -> Golden:
    """What a reader answers now: all documents, and the passages found for the golden questions."""
    state = reader.current()
    held = tuple((each.id, each.digest) for each in state.documents)
    found = tuple(
        (each.passage.text, round(each.scores["fused"], 5))
        for question in QUESTIONS
        for each in retrieve(question, random_vector(question), state.segments, reader.catalog, 5)
    )
    return held, found


@contextmanager
def open_reader(folder: Path) -> Iterator[IndexReader]:
    """A new reader, closed at the end."""
    reader = IndexReader(folder)
    try:
        yield reader
    finally:
        reader.close()


def prepare(base: Path) -> Prepared:
    """Three states, the oldest of which the next publish drops, and a fourth that is staged: a page
    changed, one gone, one new, and one that other people may read.
    """
    folder = base / "index"
    with writing(folder), closing(Catalog(catalog_path(folder), create=True)) as catalog:
        pages = {f"Page {number}": f"Drill {number} runs each quarter." for number in range(12)}
        for month in ("March", "April", "May"):
            texts = pages | {"Freeze": f"The freeze begins in {month}."}
            rows = [stored(catalog, title, text) for title, text in texts.items()]
            rows.append(stored(catalog, "Plan", "The team reads it.", frozenset({"platform"})))
            publish(folder, catalog, MODEL, DIMENSION, rows)
        age_states(catalog)  # long enough ago to be dropped
        del texts["Page 5"]
        texts |= {"Page 3": "Drill 3 runs each week.", "New": "The freeze lasts a week."}
        rows = [rows[-1], *(stored(catalog, title, text) for title, text in texts.items())]
        rows.append(stored(catalog, "Budget", "Drill 7 costs a lot.", frozenset({"finance"})))
    staged = Prepared(folder, rows, answered(folder), ())
    after = staged.copy(base / "after")
    staged.publish(after)
    new = answered(after)
    assert new != staged.old
    return replace(staged, new=new)


def answered(folder: Path) -> Golden:
    """What a new reader answers."""
    with open_reader(folder) as reader:
        return golden(reader)


class Publisher:
    """The process that publishes over the failing disk."""

    def __init__(self, process: "subprocess.Popen[str]", steps: Path) -> None:
        self._process = process
        self._steps = steps

    def publish(
        self, prepared: Prepared, folder: Path, fault: Fault = Fault.NONE, at: int = 0
    ) -> dict[str, Any]:
        """What became of a publish in `folder` that met a fault at a step."""
        order = {
            "folder": str(folder),
            "model": MODEL,
            "dimension": DIMENSION,
            "rows": prepared.rows,
            "kind": fault,
            "at": at,
            "steps": str(self._steps),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def steps(self) -> list[Step]:
        """The steps of the last publish."""
        lines = [line.split(" ", 2) for line in self._steps.read_text().splitlines()]
        return [Step(int(number), does, path) for number, does, path in lines]


def compile_shim(folder: Path) -> Path:
    """The shim as a library; skips the test where there is no compiler, or nothing to preload into."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a disk that fails on demand needs Linux and a C compiler (cc)")
    shim = folder / "shim.so"
    source = str(HERE / "shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    return shim


@contextmanager
def publisher(folder: Path) -> Iterator[Publisher]:
    """A publisher, ready for orders."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "publisher.py")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": str(compile_shim(folder)),
            "OMP_NUM_THREADS": "1",  # a fork has none of its parent's threads
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Publisher(process, folder / "steps")
    finally:
        process.communicate()

"""An ingestion killed at any moment: the index opens at once, nothing is mixed, nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from index.catalog import Catalog
from index.errors import IndexUnavailable
from index.reader import IndexReader
from index.store import catalog_path
from tests.conftest import ROOT
from tests.index.faults.disk import HERE

ROUNDS = 100
PAGES = 40
CHANGED = 24
"""Pages that a round changes: three commits of eight texts, and a publish."""

AFRESH = 10
"""Rounds after which all begins with no index."""


@dataclass
class Ingested:
    """A folder of pages, its index, and what the ingestions did."""

    base: Path
    dice: random.Random
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def index(self) -> Path:
        return self.base / "index"

    @property
    def log(self) -> Path:
        return self.base / "log"

    def change(self, turn: int) -> None:
        """Some pages say something new; one goes, and one that had gone comes back."""
        for number in self.dice.sample(range(PAGES), CHANGED):
            self.texts[f"page{number}.md"] = f"# Page {number}\n\nDrill {number} ran in {turn}.\n"
        for number in (turn % PAGES, (turn + 1) % PAGES):
            self.texts.pop(f"page{number}.md", None)
        docs = self.base / "docs"
        docs.mkdir(exist_ok=True)
        for name in {path.name for path in docs.iterdir()} - self.texts.keys():
            (docs / name).unlink()
        for name, text in self.texts.items():
            (docs / name).write_text(text)

    def start(self) -> "subprocess.Popen[bytes]":
        """An ingestion in a process of its own, with the model."""
        arguments = [str(self.base / "docs"), str(self.index), str(self.log)]
        return subprocess.Popen(
            [sys.executable, str(HERE / "ingester.py"), *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    def embedded(self) -> list[str]:
        """The keys of the texts that were embedded since this was asked last."""
        keys = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return keys

    def committed(self) -> set[str]:
        """The keys of the texts that have a vector in the catalog."""
        if not catalog_path(self.index).exists():
            return set()
        catalog = Catalog(catalog_path(self.index), create=True)
        keys = {row[0] for row in catalog._db.all("SELECT key FROM embeddings")}
        catalog.close()
        return keys

    def served(self) -> frozenset[str]:
        """The texts that a new reader finds, by document and by passage alike; none without a state."""
        reader = IndexReader(self.index)
        began = time.perf_counter()
        try:
            state = reader.current()
        except IndexUnavailable as error:
            if "run `casebook ingest`" not in str(error):
                raise
            return frozenset()
        finally:
            assert time.perf_counter() - began < 2
        assert state.repaired == ()
        documents = frozenset(each.text for each in reader.catalog.documents(state.state.id))
        found = [
            passage.document.text
            for segment in state.segments
            for passage in reader.catalog.passages(
                [row for at, row in enumerate(segment.rows) if at not in set(segment.gone)]
            )
        ]
        reader.close()
        assert sorted(found) == sorted(documents)
        return documents


def killed(process: "subprocess.Popen[bytes]", after: float) -> bool:
    """Kill an ingestion, but not its parsers, who must see by themselves that it is gone."""
    with suppress(subprocess.TimeoutExpired):
        assert process.wait(after) == 0
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def is_gone(group: int, within: float = 10) -> bool:
    """Whether no process is left of those that an ingestion started."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_ingestion_killed_at_random_is_taken_up_where_it_was(tmp_path: Path) -> None:
    made = Ingested(tmp_path, random.Random(6))
    made.change(0)
    began = time.perf_counter()
    assert made.start().wait(120) == 0
    span = time.perf_counter() - began
    before, seen = made.served(), Counter[str]()
    assert len(made.embedded()) == len(made.texts)

    for turn in range(1, ROUNDS + 1):
        if turn % AFRESH == 0:
            made = Ingested(tmp_path / str(turn), made.dice)
            made.base.mkdir()
            before = frozenset()
        made.change(turn)
        had = made.committed()
        process = made.start()
        was_killed = killed(process, made.dice.uniform(0, 1.2 * span))
        after, embedded = made.served(), made.embedded()

        new = frozenset(made.texts.values())
        assert after in ({before, new} if was_killed else {new}), f"round {turn}"
        assert not had & set(embedded), f"round {turn} embedded again what was kept"
        assert is_gone(process.pid), f"round {turn} left a process behind"
        seen["killed" if was_killed else "ended"] += 1
        seen["old" if after == before else "new"] += 1
        seen["cut off with some texts embedded"] += 0 < len(made.committed() - had) < len(embedded)
        seen["taken up"] += bool(embedded) and len(embedded) < CHANGED - 2
        before = after

    print(f"\n{span:.1f} s a whole run; {dict(seen)}")
    assert made.start().wait(120) == 0
    assert made.served() == frozenset(made.texts.values())
    assert min(seen["killed"], seen["old"], seen["new"]) > 0


@pytest.mark.slow
def test_what_was_embedded_before_a_kill_is_not_embedded_again(tmp_path: Path) -> None:
    """Killed as soon as the first texts have their vectors; the next run embeds the others only."""
    made = Ingested(tmp_path, random.Random(6))
    made.change(0)
    process = made.start()
    while not (kept := made.committed() if made.log.exists() else set()):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    kept = made.committed()
    made.embedded()
    assert made.served() == frozenset()

    assert made.start().wait(120) == 0

    assert 0 < len(kept) < len(made.texts)
    embedded = made.embedded()
    assert len(embedded) == len(made.texts) - len(kept)
    assert not kept & set(embedded)
    assert made.served() == frozenset(made.texts.values())

"""Readers while states are published: `python -m benchmarks.readers` asks of an index that is published
anew a hundred times whether every result is of one state, and what the publishing costs those who ask.

Eight threads share one reader, as in the server, and two processes have one each. Every result is
compared with what its state gives in an index of its own. The texts are made up and the vectors
are random, so that no model takes part: what is measured is opening, searching and reading.
"""

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up import DIMENSION, MODEL, random_vector, stored, words
from index.catalog import Catalog
from index.reader import IndexReader
from index.retriever import retrieve
from index.schema import StateId
from index.store import catalog_path, publish, writing

VARIANTS = 3
"""Contents that are published in turn; each changes a tenth of the documents."""

QUESTIONS = 50
K = 10
THREADS, PROCESSES = 8, 2

PACE = 0.8
"""Share of the readers' time that the publishes are spread over, so that they end before."""

Result = tuple[tuple[str, ...], NDArray[np.float64]]
"""The texts that a search found, best first, and their scores."""


def fill(folder: Path, documents: int) -> list[list[int]]:
    """Store every variant of some documents; returns the rows of each."""
    catalog = Catalog(catalog_path(folder), create=True)
    rows = []
    for variant in range(VARIANTS):
        texts = {
            f"d{number}": words(f"{number} of {variant if number % 10 == variant else 'all'}", 40)
            for number in range(documents)
        }
        rows.append([stored(catalog, name, text) for name, text in texts.items()])
    catalog.close()
    return rows


def asked(reader: IndexReader, number: int) -> tuple[StateId, Result]:
    """What the newest state gives for a question, and which state that is."""
    state = reader.current()
    question = f"question {number}"
    found = retrieve(words(question, 5), random_vector(question), state.segments, reader.catalog, K)
    scores = np.array([each.scores["fused"] for each in found])
    return state.state.id, (tuple(each.passage.text for each in found), scores)


@dataclass
class Readings:
    """What readers saw: seconds a search, and for each state the variants that all its results fit."""

    seconds: list[float] = field(default_factory=list)
    fitting: dict[StateId, set[int]] = field(default_factory=dict)

    def note(self, state: StateId, fitting: set[int]) -> None:
        """A result of a state; some questions have one result in several variants."""
        self.fitting[state] = self.fitting.get(state, fitting) & fitting

    def add(self, other: "Readings") -> None:
        """Take in what another saw."""
        self.seconds += other.seconds
        for state, fitting in other.fitting.items():
            self.note(state, fitting)

    def ms(self, share: float) -> float:
        """A quantile of the seconds, in milliseconds."""
        return round(1000 * float(np.quantile(self.seconds, share)), 2)


def read(
    reader: IndexReader, expected: Sequence[Sequence[Result]], count: int, rest: float
) -> Readings:
    """Ask `count` questions, resting so many times as long as each took."""
    seen = Readings()
    for number in range(count):
        number %= QUESTIONS
        began = time.perf_counter()
        state, (texts, scores) = asked(reader, number)
        took = time.perf_counter() - began
        seen.seconds.append(took)
        results = [of[number] for of in expected]
        seen.note(
            state,
            {
                variant
                for variant, (found, scored) in enumerate(results)
                if found == texts and np.allclose(scored, scores, atol=1e-5)
            },
        )
        time.sleep(rest * took)
    return seen


def read_alone(
    folder: Path, expected: Sequence[Sequence[Result]], count: int, rest: float
) -> Readings:
    """What a process of its own reads, with its own reader."""
    with closing(IndexReader(folder)) as reader:
        return read(reader, expected, count, rest)


def publish_in_turn(
    folder: Path, rows: Sequence[Sequence[int]], times: int, pause: float
) -> list[StateId]:
    """Publish the variants one after the other; the state of each turn."""
    states = []
    for turn in range(times):
        with writing(folder):
            catalog = Catalog(catalog_path(folder), create=True)
            variant = rows[turn % VARIANTS]
            states.append(publish(folder, catalog, MODEL, DIMENSION, variant).id)
            catalog.close()
        time.sleep(pause)
    return states


@dataclass(frozen=True)
class Outcome:
    """What the readers saw while nothing was published, and while it was; `mixed` are the states with a
    result that is not theirs.
    """

    quiet: Readings
    busy: Readings
    published: int
    mixed: tuple[StateId, ...]

    def view(self) -> dict[str, Any]:
        """The figures."""
        return {
            "published": self.published,
            "states_seen": len(self.busy.fitting),
            "mixed": len(self.mixed),
            "queries": len(self.busy.seconds),
            **{
                f"p{share}_ms_{name}": seen.ms(share / 100)
                for share in (50, 99)
                for name, seen in (("quiet", self.quiet), ("publishing", self.busy))
            },
            "p99_ratio": round(self.busy.ms(0.99) / self.quiet.ms(0.99), 2),
        }


def measure(folder: Path, documents: int, queries: int, publishes: int, rest: float) -> Outcome:
    """Read an index in `folder` while nothing is published, then while it is; an error is raised."""
    rows = fill(folder, documents)
    expected = _expected(folder, rows)
    publish_in_turn(folder, rows, VARIANTS, 0)
    each = max(QUESTIONS, queries // (THREADS + PROCESSES))
    with (
        closing(IndexReader(folder)) as reader,
        ProcessPoolExecutor(PROCESSES + 1, get_context("spawn")) as pool,
    ):
        readers = _Readers(folder, reader, pool, expected, rest)
        readers.read(QUESTIONS)  # for all that is imported and loaded once
        began = time.perf_counter()
        quiet = readers.read(max(QUESTIONS, each // 4))
        pause = PACE * (time.perf_counter() - began) * each / len(quiet.seconds)
        pause *= (THREADS + PROCESSES) / publishes
        publisher = pool.submit(publish_in_turn, folder, rows, publishes, pause)
        busy = readers.read(each)
        states = publisher.result()
    made = {state: turn % VARIANTS for turn, state in enumerate(states)}
    before = VARIANTS - 1  # what was published last before
    mixed = [state for state, fit in busy.fitting.items() if made.get(state, before) not in fit]
    return Outcome(quiet, busy, len(states), tuple(mixed))


def _expected(folder: Path, rows: Sequence[Sequence[int]]) -> list[list[Result]]:
    """What each variant gives for each question in an index that has never held another."""
    expected = []
    for variant in rows:
        with TemporaryDirectory() as place:
            alone = shutil.copytree(folder, Path(place) / "index")
            publish_in_turn(alone, [variant], 1, 0)
            with closing(IndexReader(alone)) as reader:
                expected.append([asked(reader, number)[1] for number in range(QUESTIONS)])
    return expected


@dataclass(frozen=True)
class _Readers:
    """Threads that share a reader, and processes with one each."""

    folder: Path
    reader: IndexReader
    pool: ProcessPoolExecutor
    expected: Sequence[Sequence[Result]]
    rest: float

    def read(self, count: int) -> Readings:
        """Let each ask `count` questions."""
        seen, given = Readings(), (self.expected, count, self.rest)
        with ThreadPoolExecutor(THREADS) as threads:
            others = [self.pool.submit(read_alone, self.folder, *given) for _ in range(PROCESSES)]
            ours = [threads.submit(read, self.reader, *given) for _ in range(THREADS)]
            for reading in (*ours, *others):
                seen.add(reading.result())
        return seen


@click.command()
@click.option("--documents", default=2000, show_default=True, help="Of one chunk each.")
@click.option("--queries", default=100_000, show_default=True, help="While states are published.")
@click.option("--publishes", default=100, show_default=True)
@click.option(
    "--rest", default=15.0, show_default=True, help="Rest after a search, in times that it took."
)
def main(documents: int, queries: int, publishes: int, rest: float) -> None:
    """Measure and print a JSON object."""
    with TemporaryDirectory() as folder:
        outcome = measure(Path(folder) / "index", documents, queries, publishes, rest)
    print(json.dumps(outcome.view()))


if __name__ == "__main__":
    main()

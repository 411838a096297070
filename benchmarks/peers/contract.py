"""What the benchmark and an adapter say to each other: a task file goes in, a result file comes out.

Adapters run in the environments of other libraries, so this needs nothing but Python.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Page:
    """A page of the corpus: the offsets of hits are characters of `text`."""

    id: str
    title: str
    project: str
    text: str


@dataclass(frozen=True)
class Query:
    """A question in the words of its asker."""

    id: str
    text: str


@dataclass(frozen=True)
class Task:
    """What one run does: ingest `corpus`, then find up to `k` chunks for each of `queries`.

    `corpus`, `queries` and `warm_up` are JSONL files of pages and queries, `model` is the folder
    of the embedding model, `scratch` an empty folder for what a system keeps on disk, `out` the
    file for the result.
    """

    variant: str
    corpus: str
    queries: str
    warm_up: str
    model: str
    k: int
    scratch: str
    out: str


@dataclass(frozen=True)
class Hit:
    """A chunk that was found: the span `[start, end)` of a page's text.

    `score` is the system's own, on its own scale; None where it gives none.
    """

    page: str
    start: int
    end: int
    score: float | None


@dataclass(frozen=True)
class Measured:
    """What one run measured. Times are wall-clock, memory is resident and in bytes.

    `load_seconds` is importing and loading models, `ingest_seconds` from text in memory to
    searchable. `latencies_ms` and `hits` follow the order of the task's queries.
    """

    versions: Mapping[str, str]
    chunks: int
    chunk_chars: int
    load_seconds: float
    ingest_seconds: float
    ingested_rss: int
    peak_rss: int
    latencies_ms: tuple[float, ...]
    hits: tuple[tuple[Hit, ...], ...]


def write_task(task: Task, path: Path) -> None:
    """Store a task for the adapter that gets the path."""
    path.write_text(json.dumps(asdict(task), indent=2), encoding="utf-8")


def read_task(path: Path) -> Task:
    """The task in a file."""
    return Task(**json.loads(path.read_text(encoding="utf-8")))


def write_lines(items: Iterable[Page | Query], path: Path) -> None:
    """Store pages or queries, one JSON object a line."""
    lines = [json.dumps(asdict(item), ensure_ascii=False) for item in items]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_pages(path: str) -> list[Page]:
    """The pages of a file."""
    return [Page(**row) for row in _rows(path)]


def read_queries(path: str) -> list[Query]:
    """The queries of a file."""
    return [Query(**row) for row in _rows(path)]


def write_measured(measured: Measured, path: str) -> None:
    """Store a result."""
    Path(path).write_text(json.dumps(asdict(measured)), encoding="utf-8")


def measured_from(row: Mapping[str, Any]) -> Measured:
    """A result from the JSON object that `write_measured` stored."""
    hits = tuple(tuple(Hit(**hit) for hit in found) for found in row["hits"])
    return Measured(**{**row, "latencies_ms": tuple(row["latencies_ms"]), "hits": hits})


def _rows(path: str) -> list[dict[str, Any]]:
    # Not splitlines: it also cuts at the line separators that JSON strings may hold.
    with Path(path).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]

"""The clock and the scales around a system, the same for all; needs nothing but Python."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.peers.contract import (
    Hit,
    Measured,
    Page,
    Task,
    read_pages,
    read_queries,
    read_task,
    write_measured,
)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Searchable(Generic[Found]):
    """A system that holds the pages.

    `search` is timed, and gives what the system itself gives its caller; `hits` turns that into
    spans outside the clock. `chunk_chars` tells the length of each chunk, when all is measured.
    """

    search: Callable[[str], Found]
    hits: Callable[[Found], Iterable[Hit]]
    chunk_chars: Callable[[], Sequence[int]]


Ingest = Callable[[Sequence[Page]], Searchable[Any]]


def run(load: Callable[[Task], Ingest], packages: Sequence[str]) -> None:
    """Do the task in the file that the command line names.

    `load` imports the system and loads its models, so that what it returns does nothing but
    ingest; `packages` are those whose versions the result states.
    """
    task = read_task(Path(sys.argv[1]))
    pages, queries = read_pages(task.corpus), read_queries(task.queries)
    ingest, load_seconds = _timed(lambda: load(task))
    system, ingest_seconds = _timed(lambda: ingest(pages))
    ingested_rss = _resident_bytes()
    for query in read_queries(task.warm_up):
        system.search(query.text)
    latencies, hits = [], []
    for query in queries:
        began = time.perf_counter()
        found = system.search(query.text)
        latencies.append(1000 * (time.perf_counter() - began))
        hits.append(tuple(system.hits(found))[: task.k])
    peak_rss = _peak_bytes()
    chunk_chars = system.chunk_chars()
    measured = Measured(
        versions={package: version(package) for package in packages},
        chunks=len(chunk_chars),
        chunk_chars=sum(chunk_chars),
        load_seconds=load_seconds,
        ingest_seconds=ingest_seconds,
        ingested_rss=ingested_rss,
        peak_rss=peak_rss,
        latencies_ms=tuple(latencies),
        hits=tuple(hits),
    )
    write_measured(measured, task.out)


Done = TypeVar("Done")


def _timed(work: Callable[[], Done]) -> tuple[Done, float]:
    began = time.perf_counter()
    done = work()
    return done, time.perf_counter() - began


def _resident_bytes() -> int:
    """What the process holds now, or where only Linux would say, the most that it ever held."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return _peak_bytes()
    return int(statm.read_text().split()[1]) * resource.getpagesize()


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts KiB, macOS bytes

"""Ingestion as the command line and the server start it: the configured sources, all or some."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from assistant.settings import Settings
from assistant.telemetry.instruments import (
    INGEST_DOCUMENTS,
    INGEST_DURATION,
    INGEST_EMBEDDED,
    INGEST_RUNS,
)
from index.embedder import Embedder
from index.errors import InvalidInput
from index.instruments import span
from ingest.access import AccessRules
from ingest.sources.folder import FolderSource
from ingest.sources.settings import open_sources
from ingest.sync import Report, Summary, Synced, sync


def ingest(
    settings: Settings,
    embedder: Embedder,
    report: Report,
    names: Sequence[str] | None = None,
    wait: float = 0,
) -> Summary:
    """Bring the index up to date with the sources of these names, or with all that are configured; a
    source that is not configured any more leaves the index. Raises as `sync` does.
    """
    sources = configured(settings)
    known = [synced.source.name for synced in sources]
    if missing := set(names or ()) - set(known):
        raise InvalidInput(
            f"no source is called {', '.join(sorted(missing))}: there are {', '.join(known)}"
        )
    chosen = sources if names is None else [each for each in sources if each.source.name in names]
    everything = names is None
    return measured(
        lambda: sync(
            chosen, settings.index, embedder, report=report, all_there_are=everything, wait=wait
        )
    )


def measured(run: Callable[[], Summary]) -> Summary:
    """What an ingestion gives, and its figures among the metrics; raises as it does."""
    began = time.perf_counter()
    result = "failed"
    try:
        with span("ingest"):
            summary = run()
        result = "done"
    finally:
        INGEST_RUNS.add(1, {"result": result})
        INGEST_DURATION.record(time.perf_counter() - began)
    for change, count in (
        ("new", summary.new),
        ("changed", summary.changed),
        ("removed", summary.removed),
        ("failed", len(summary.failed)),
    ):
        INGEST_DOCUMENTS.add(count, {"change": change})
    INGEST_EMBEDDED.add(summary.embedded)
    return summary


def configured(settings: Settings) -> list[Synced]:
    """Every source there is, the files under `corpus` among them, under no name."""
    sources = open_sources(settings.sources, settings.copies)
    if settings.corpus_paths:
        files = FolderSource("", tuple(settings.corpus_paths), Path.cwd())
        sources.append(Synced(files, AccessRules(frozenset(settings.default_access))))
    return sources

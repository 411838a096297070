"""Sync: make the index say what the sources say now, doing only what changed.

Each source is asked first what it holds, which may take long and holds nothing up. Then, with the
index held for writing, what is new or changed is read, embedded and added to the catalog, where no
reader looks yet, and one publish makes the new state current. An interruption leaves the old state,
and what was done is not done again.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.catalog import Catalog, DocumentRow, utc_now
from index.embedder import Embedder
from index.errors import InvalidInput, ParseError
from index.instruments import span
from index.schema import Document, EmbeddingKey, Labels, StateId, content_hash
from index.store import catalog_path, publish, writing
from ingest.access import AccessRules
from ingest.parsers.sandbox import Parsers
from ingest.reading import Reader
from ingest.sources.folder import FolderSource
from ingest.sources.source import Item, Listing, Source, SourceUnavailable

log = logging.getLogger("casebook.ingest")

EMBED_AT_ONCE = 256
"""Chunks embedded between two commits: what an interruption may cost."""


@dataclass(frozen=True)
class Progress:
    """How far a stage has come: `done` of `total` units (documents when reading, chunks after)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Failure:
    """An item, or a whole source, that could not be read, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """What a sync did. Counts of documents, then of what they hold, then what they cost.

    `unlabelled` documents carry no access label: only administrators read them.
    """

    new: int
    changed: int
    renamed: int
    unchanged: int
    removed: int
    failed: tuple[Failure, ...]
    skipped: int
    dropped: Mapping[str, int]
    unlabelled: int
    documents: int
    chunks: int
    tokens: int
    embedded: int
    seconds: float
    index_state: StateId | None


@dataclass(frozen=True)
class Synced:
    """A source to bring up to date, and who may read what it holds."""

    source: Source
    rules: AccessRules


@dataclass
class _Plan:
    """What a sync has found so far: the rows of the next state and the counts."""

    rows: list[int] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    renamed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, dict[str, Any] | None] = field(default_factory=dict)


Report = Callable[[Progress], None]


def sync(
    sources: Sequence[Synced],
    folder: Path,
    embedder: Embedder,
    *,
    report: Report,
    all_there_are: bool = False,
    wait: float = 0,
) -> Summary:
    """Bring the index at `folder` up to date with these sources.

    What came from others stays, unless these are `all_there_are`. A source that can't be listed
    keeps its last good state, and the summary says so. Raises `InvalidInput` for settings that can't
    be used, `Busy` where another process writes for more than `wait` seconds.
    """
    began = time.perf_counter()
    with ExitStack() as opened:
        for synced in sources:
            opened.callback(synced.source.close)
        return _sync_sources(sources, folder, embedder, report, all_there_are, wait, began)


def _sync_sources(
    sources: Sequence[Synced],
    folder: Path,
    embedder: Embedder,
    report: Report,
    all_there_are: bool,
    wait: float,
    began: float,
) -> Summary:
    listings = [_list(synced.source) for synced in sources]

    def plan(known: Sequence[DocumentRow], reader: Reader) -> _Plan:
        plan = _Plan()
        names = {synced.source.name for synced in sources}
        for synced, listing in zip(sources, listings, strict=True):
            mine = {row.item: row for row in known if row.source_name == synced.source.name}
            with span("ingest read", source=synced.source.name):
                _Sync(synced, mine, reader, plan, report).run(listing)
        for row in known:
            if row.source_name not in names:
                _keep_or_drop(row, reader, plan, all_there_are)
        return plan

    return _sync(plan, folder, embedder, report, began, wait)


def sync_paths(
    paths: Sequence[Path],
    folder: Path,
    embedder: Embedder,
    *,
    base: Path,
    labels: Labels,
    report: Report,
) -> Summary:
    """Bring the index up to date with the files under `paths`; raises as `sync` does, and
    `InvalidInput` where there is no document under them.
    """
    source = FolderSource("", tuple(paths), base)
    return sync([Synced(source, AccessRules(labels))], folder, embedder, report=report)


def sync_documents(
    documents: Sequence[Document], folder: Path, embedder: Embedder, *, report: Report
) -> Summary:
    """Make the index at `folder` hold these documents and no others, their texts as they are.

    Raises `InvalidInput` where there are none, `Busy` where another process writes.
    """
    if not documents:
        raise InvalidInput("there are no documents to ingest: give at least one")

    def plan(known: Sequence[DocumentRow], reader: Reader) -> _Plan:
        return _take_documents(documents, {row.item: row for row in known}, reader, report)

    return _sync(plan, folder, embedder, report, time.perf_counter(), 0)


def _sync(
    make_plan: Callable[[Sequence[DocumentRow], Reader], _Plan],
    folder: Path,
    embedder: Embedder,
    report: Report,
    began: float,
    wait: float,
) -> Summary:
    """Plan, embed what has no vector yet, and publish."""
    with writing(folder, wait):
        catalog = Catalog(catalog_path(folder), create=True)
        try:
            current = catalog.current_state_id()
            known = catalog.document_rows(current) if current else []
            with Parsers() as parsers:
                plan = make_plan(known, Reader(catalog, embedder, parsers))
            fresh = sorted(set(plan.rows) - {row.row for row in known})
            embedded = _embed(catalog, embedder, fresh, report)
            state_id = _publish_if_changed(folder, catalog, embedder, plan, known, report)
            for name, status in plan.statuses.items():
                catalog.set_source_status(name, status)
            chunks, tokens = catalog.counts(plan.rows)
            unlabelled = catalog.unlabelled(plan.rows)
        finally:
            catalog.close()
    if unlabelled:
        log.warning("%d documents carry no access label: only administrators read them", unlabelled)
    return Summary(
        new=plan.new,
        changed=plan.changed,
        renamed=plan.renamed,
        unchanged=plan.unchanged,
        removed=plan.removed,
        failed=tuple(plan.failed),
        skipped=plan.skipped,
        dropped=dict(plan.dropped),
        unlabelled=unlabelled,
        documents=len(plan.rows),
        chunks=chunks,
        tokens=tokens,
        embedded=embedded,
        seconds=time.perf_counter() - began,
        index_state=state_id,
    )


def _list(source: Source) -> Listing | SourceUnavailable:
    try:
        with span("ingest list", source=source.name):
            return source.list()
    except SourceUnavailable as error:
        log.warning("source %s keeps its last state: %s", source.name, error)
        return error


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sync:
    """One source's part of a sync: `known` are its documents in the current state, by item."""

    synced: Synced
    known: Mapping[str, DocumentRow]
    reader: Reader
    plan: _Plan
    report: Report

    @property
    def name(self) -> str:
        return self.synced.source.name

    def run(self, listing: Listing | SourceUnavailable) -> None:
        """Read what is new or changed, and say which rows make the next state."""
        if isinstance(listing, SourceUnavailable):
            self.plan.failed.append(Failure(self.name, str(listing)))
            for row in self.known.values():
                _keep(row, self.reader, self.plan)
            self._note(error=str(listing))
            return
        if not listing.items and not listing.skipped and not self.known and not self.name:
            raise InvalidInput(
                f"no documents under {', '.join(listing.roots or ())}: "
                "casebook reads .md, .txt, .rst, .adoc, .html, .pdf and .docx files"
            )
        failed = len(self.plan.failed)
        self.plan.skipped += listing.passed_over
        self.plan.failed += [Failure(each.item, each.reason) for each in listing.skipped]
        self._leave(listing)
        for position, item in enumerate(listing.items):
            self.report(Progress("reading", position, len(listing.items)))
            self._read(item, self.known.get(item.id))
        self.report(Progress("reading", len(listing.items), len(listing.items)))
        self._note(listing.revision, failed=len(self.plan.failed) - failed)

    def _leave(self, listing: Listing) -> None:
        """Drop what is gone, and tell what only changed its name."""
        listed = {item.id for item in listing.items}
        refused = {each.item for each in listing.skipped}
        arrived = Counter(item.revision for item in listing.items if item.id not in self.known)
        for item, row in self.known.items():
            if item in listed:
                continue
            if item in refused or not listing.covers(item):
                _keep(row, self.reader, self.plan)
                continue
            self.plan.removed += 1
            revision = row.source_digest.rpartition(":")[2]
            if arrived[revision]:
                arrived[revision] -= 1
                self.plan.renamed += 1
                self.plan.removed -= 1
                self.plan.new -= 1

    def _read(self, item: Item, before: DocumentRow | None) -> None:
        plan = self.plan
        if before and self._is_unchanged(item, before):
            plan.unchanged += 1
            plan.rows.append(before.row)
            return
        try:
            content = self.synced.source.read(item)
            row, dropped = self.reader.add(self.synced.source, item, content, self.synced.rules)
        except ParseError as error:
            log.warning("not ingested: %s", error)
            plan.failed.append(Failure(item.id, str(error)))
            if before:  # the last revision that could be read stays; the summary says so
                _keep(before, self.reader, plan)
            return
        plan.rows.append(row)
        plan.dropped += dropped
        plan.changed += bool(before)
        plan.new += not before

    def _is_unchanged(self, item: Item, before: DocumentRow) -> bool:
        return before.source_digest == self.reader.digest(
            item, self.synced.rules
        ) and self.reader.includes_unchanged(self.synced.source, before)

    def _note(self, revision: str | None = None, error: str | None = None, failed: int = 0) -> None:
        """What `GET /sources` says of this source."""
        before = self.reader.catalog.source_statuses().get(self.name, {})
        now = utc_now().isoformat(timespec="seconds")
        if error is not None:
            status = {**before, "error": error, "failed_at": now}
        else:
            status = {"synced_at": now, "revision": revision, "failed": failed, "error": None}
        self.plan.statuses[self.name] = status


def _keep_or_drop(row: DocumentRow, reader: Reader, plan: _Plan, drop: bool) -> None:
    if not drop:
        _keep(row, reader, plan)
        return
    plan.removed += 1
    plan.statuses[row.source_name] = None


def _keep(row: DocumentRow, reader: Reader, plan: _Plan) -> None:
    """A document that is not looked at now stays in the next state."""
    plan.rows.append(reader.again(row))


def _take_documents(
    documents: Sequence[Document],
    known: Mapping[str, DocumentRow],
    reader: Reader,
    report: Report,
) -> _Plan:
    """Store what is new or changed of some documents; what is not among them leaves."""
    plan = _Plan()
    for position, document in enumerate(documents):
        report(Progress("reading", position, len(documents)))
        before = known.get(document.source)
        item = Item(document.source, content_hash(*document.place, document.text))
        digest = reader.digest(item, AccessRules(document.access))
        if before and before.id == document.id and before.source_digest == digest:
            plan.unchanged += 1
            plan.rows.append(before.row)
            continue
        plan.rows.append(reader.store(document, item.id, digest))
        plan.changed += bool(before)
        plan.new += not before
    report(Progress("reading", len(documents), len(documents)))
    plan.removed = len(known.keys() - {document.source for document in documents})
    return plan


# --- embedding and publishing -----------------------------------------------------------------


def _embed(catalog: Catalog, embedder: Embedder, rows: Sequence[int], report: Report) -> int:
    """Embed the chunks that have no vector yet; what is done is kept if it is interrupted."""
    missing = catalog.missing_embeddings(chunk.embedding_key for chunk in catalog.chunk_rows(rows))
    texts = _texts(catalog, rows, missing) if missing else {}
    by_length = sorted(texts, key=lambda key: (len(texts[key]), key))
    for start in range(0, len(by_length), EMBED_AT_ONCE):
        report(Progress("embedding", start, len(by_length)))
        keys = by_length[start : start + EMBED_AT_ONCE]
        with span("ingest embed", chunks=len(keys)):
            catalog.add_embeddings(keys, embedder.embed([texts[key] for key in keys]))
    report(Progress("embedding", len(by_length), len(by_length)))
    return len(by_length)


def _texts(
    catalog: Catalog, rows: Sequence[int], wanted: Iterable[EmbeddingKey]
) -> dict[EmbeddingKey, str]:
    wanted = set(wanted)
    chunks = [chunk for chunk in catalog.chunk_rows(rows) if chunk.embedding_key in wanted]
    passages = catalog.passages([chunk.row for chunk in chunks])
    return {
        chunk.embedding_key: passage.contextual_text
        for chunk, passage in zip(chunks, passages, strict=True)
    }


def _publish_if_changed(
    folder: Path,
    catalog: Catalog,
    embedder: Embedder,
    plan: _Plan,
    known: Sequence[DocumentRow],
    report: Report,
) -> StateId | None:
    current = catalog.current_state()
    same = sorted(plan.rows) == sorted(row.row for row in known)
    if current and same and (current.segments or not known):
        return current.id
    if not current and not plan.rows:
        return None
    report(Progress("publishing", 0, 1))
    with span("ingest publish", documents=len(plan.rows)):
        state = publish(folder, catalog, embedder.name, embedder.dimension, plan.rows)
    report(Progress("publishing", 1, 1))
    return state.id

"""Sync: make the index say what the sources say now, doing only what changed.

The order keeps the promise of atomic states: documents, chunks and vectors are added to the
catalog first, where no reader looks yet; then one publish makes the new state current.
"""

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.catalog import Catalog, DocumentRow, utc_now
from index.embedder import Embedder, llm_tokens
from index.errors import InvalidInput, ParseError
from index.schema import (
    Chunk,
    Document,
    DocumentId,
    EmbeddingKey,
    Revision,
    StateId,
    content_hash,
    contextual_text,
)
from index.store import catalog_path, publish, writing
from ingest.chunk import TARGET_TOKENS, ChunkSizes, chunk
from ingest.files import Item, Listing, lies_under, list_files, read
from ingest.parsers import parse

log = logging.getLogger("casebook.ingest")

RECIPE = "2"
"""Raise it when parsing or chunking changes what comes out, and every document is read again."""

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
    """A source that could not be read, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """What a sync did. Counts of documents, then of what they hold, then what they cost."""

    new: int
    changed: int
    unchanged: int
    removed: int
    failed: tuple[Failure, ...]
    skipped: int
    dropped: Mapping[str, int]
    documents: int
    chunks: int
    tokens: int
    embedded: int
    seconds: float
    index_state: StateId | None


@dataclass
class _Plan:
    """What a sync has found so far: the rows of the next state and the counts."""

    rows: list[int] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


Report = Callable[[Progress], None]


def sync(
    paths: Sequence[Path],
    folder: Path,
    embedder: Embedder,
    *,
    base: Path,
    default_access: frozenset[str],
    report: Report,
) -> Summary:
    """Bring the index at `folder` up to date with the files under `paths`.

    Documents that came from elsewhere stay. Raises `InvalidInput` for a path that is absent or
    holds no document, `Busy` where another process writes.
    """
    listing = list_files(paths, base)

    def plan(known: Mapping[str, DocumentRow], catalog: Catalog) -> _Plan:
        if not listing.items and not any(
            lies_under(document.source, listing.roots) for document in known.values()
        ):
            raise InvalidInput(
                f"no documents under {', '.join(map(str, paths))}: "
                "casebook reads .md, .txt, .rst, .html, .pdf and .docx files"
            )
        return _read_sources(listing, known, _Reader(catalog, embedder, default_access), report)

    return _sync(plan, folder, embedder, report)


def sync_documents(
    documents: Sequence[Document], folder: Path, embedder: Embedder, *, report: Report
) -> Summary:
    """Make the index at `folder` hold these documents and no others, their texts as they are.

    Raises `InvalidInput` where there are none, `Busy` where another process writes.
    """
    if not documents:
        raise InvalidInput("there are no documents to ingest: give at least one")

    def plan(known: Mapping[str, DocumentRow], catalog: Catalog) -> _Plan:
        return _take_documents(
            documents, known, _Reader(catalog, embedder, frozenset({"public"})), report
        )

    return _sync(plan, folder, embedder, report)


def _sync(
    make_plan: Callable[[Mapping[str, DocumentRow], Catalog], _Plan],
    folder: Path,
    embedder: Embedder,
    report: Report,
) -> Summary:
    """Plan, embed what has no vector yet, and publish."""
    began = time.perf_counter()
    with writing(folder):
        catalog = Catalog(catalog_path(folder), create=True)
        try:
            known = _known(catalog)
            plan = make_plan(known, catalog)
            embedded = _embed(catalog, embedder, plan.rows, report)
            state_id = _publish_if_changed(folder, catalog, embedder, plan, known, report)
            chunks, tokens = catalog.counts(plan.rows)
        finally:
            catalog.close()
    return Summary(
        new=plan.new,
        changed=plan.changed,
        unchanged=plan.unchanged,
        removed=plan.removed,
        failed=tuple(plan.failed),
        skipped=plan.skipped,
        dropped=dict(plan.dropped),
        documents=len(plan.rows),
        chunks=chunks,
        tokens=tokens,
        embedded=embedded,
        seconds=time.perf_counter() - began,
        index_state=state_id,
    )


def _known(catalog: Catalog) -> dict[str, DocumentRow]:
    """The documents of the current state by source."""
    state_id = catalog.current_state_id()
    rows = catalog.document_rows(state_id) if state_id else []
    return {row.source: row for row in rows}


# --- reading ----------------------------------------------------------------------------------


class _Reader:
    """Turns files into documents and chunks in the catalog, by one recipe."""

    def __init__(self, catalog: Catalog, embedder: Embedder, default_access: frozenset[str]):
        self.catalog = catalog
        self.model = embedder.name
        self.default_access = default_access
        self.recipe = content_hash(
            RECIPE, embedder.name, str(TARGET_TOKENS), *sorted(default_access)
        )[:12]
        self.sizes = ChunkSizes(
            count=llm_tokens(),
            model_count=lambda text: embedder.count_tokens([text])[0],
            model_limit=embedder.max_tokens,
        )

    def digest(self, sha256: str) -> str:
        """What must be equal for a document to be unchanged: its bytes and how they are read."""
        return f"{self.recipe}:{sha256}"

    def add(
        self, item: Item, data: bytes, sha256: str, modified: datetime
    ) -> tuple[int, Counter[str]]:
        """Parse, chunk and store one file; returns its row and what the parser dropped."""
        parsed = parse(item.source, data)
        document = Document(
            id=document_id(item.source),
            title=parsed.title,
            text=parsed.text,
            source=item.source,
            kind=str(parsed.metadata.get("kind") or _kind(item.path)),
            revision=Revision(sha256[:16]),
            modified_at=_modified(parsed.metadata, modified),
            ingested_at=utc_now().isoformat(timespec="seconds"),
            access=_access(parsed.metadata, self.default_access, item.source),
            metadata=parsed.metadata,
        )
        return self.store(document, self.digest(sha256)), Counter(parsed.dropped)

    def store(self, document: Document, digest: str) -> int:
        """Chunk a document and write both to the catalog; returns its row."""
        chunks = chunk(document.place, document.text, self.sizes)
        keyed = [(piece, embedding_key(self.model, document, piece)) for piece in chunks]
        with self.catalog.transaction():
            return self.catalog.add_document(document, digest, keyed)

    def again(self, known: DocumentRow, state_id: StateId) -> int:
        """The row of a document that stays, chunked anew if it was read by another recipe."""
        recipe, _, sha256 = known.source_digest.partition(":")
        document = self.catalog.document(state_id, known.id)
        if recipe == self.recipe or document is None:
            return known.row
        return self.store(document, self.digest(sha256))


def _read_sources(
    listing: Listing, known: Mapping[str, DocumentRow], reader: _Reader, report: Report
) -> _Plan:
    """Read what is new or changed, and say which rows make the next state."""
    plan = _Plan(skipped=listing.skipped)
    state_id = reader.catalog.current_state_id()
    seen = set()
    for position, item in enumerate(listing.items):
        report(Progress("reading", position, len(listing.items)))
        seen.add(item.source)
        _read_one(item, known.get(item.source), reader, plan, state_id)
    report(Progress("reading", len(listing.items), len(listing.items)))
    for source, row in known.items():
        if source in seen:
            continue
        if lies_under(source, listing.roots):
            plan.removed += 1
        elif state_id:
            plan.rows.append(reader.again(row, state_id))
    return plan


def _read_one(
    item: Item,
    before: DocumentRow | None,
    reader: _Reader,
    plan: _Plan,
    state_id: StateId | None,
) -> None:
    try:
        data, sha256, modified = read(item)
        if before and before.source_digest == reader.digest(sha256):
            plan.unchanged += 1
            plan.rows.append(before.row)
            return
        row, dropped = reader.add(item, data, sha256, modified)
    except ParseError as error:
        log.warning("not ingested: %s", error)
        plan.failed.append(Failure(item.source, str(error)))
        if before and state_id:  # the last revision that could be read stays; the summary says so
            plan.rows.append(reader.again(before, state_id))
        return
    plan.rows.append(row)
    plan.dropped += dropped
    if before:
        plan.changed += 1
    else:
        plan.new += 1


def _take_documents(
    documents: Sequence[Document],
    known: Mapping[str, DocumentRow],
    reader: _Reader,
    report: Report,
) -> _Plan:
    """Store what is new or changed of some documents; what is not among them leaves."""
    plan = _Plan()
    for position, document in enumerate(documents):
        report(Progress("reading", position, len(documents)))
        before = known.get(document.source)
        digest = reader.digest(content_hash(*document.place, document.text))
        if before and before.id == document.id and before.source_digest == digest:
            plan.unchanged += 1
            plan.rows.append(before.row)
            continue
        plan.rows.append(reader.store(document, digest))
        plan.changed += bool(before)
        plan.new += not before
    report(Progress("reading", len(documents), len(documents)))
    plan.removed = len(known.keys() - {document.source for document in documents})
    return plan


def document_id(source: str) -> DocumentId:
    """A stable id that a person can read: the file's name and eight digits of its path's hash."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(source).stem.lower()).strip("-")[:60]
    return DocumentId(f"{name}-{content_hash(source)[:8]}".lstrip("-"))


def embedding_key(model: str, document: Document, piece: Chunk) -> EmbeddingKey:
    """The hash of what is embedded and by which model, so that equal text is embedded once."""
    body = document.text[piece.body_start : piece.end]
    return EmbeddingKey(
        content_hash(model, contextual_text(document.place, piece.heading_path, body))
    )


def _kind(path: Path) -> str:
    return "page" if path.suffix.lower() in (".html", ".htm") else "note"


def _modified(metadata: Mapping[str, Any], file_time: datetime) -> str:
    """When the source says it was changed, or else the file's own time."""
    for name in ("updated", "modified", "last_modified", "lastmod", "date"):
        try:
            stated = datetime.fromisoformat(str(metadata.get(name, "")))
        except ValueError:
            continue
        return (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).isoformat()
    return file_time.isoformat()


def _access(metadata: Mapping[str, Any], default: frozenset[str], source: str) -> frozenset[str]:
    """The labels in front matter; raises `ParseError` rather than guess who may read."""
    if "access" not in metadata:
        return default
    stated = metadata["access"]
    labels = [stated] if isinstance(stated, str) else stated
    if isinstance(labels, list) and all(isinstance(label, str) and label for label in labels):
        return frozenset(labels)
    raise ParseError(
        f"{source}: `access` in its front matter must be a label or a list of labels, "
        f"like [public], not {stated!r}"
    )


# --- embedding and publishing -----------------------------------------------------------------


def _embed(catalog: Catalog, embedder: Embedder, rows: Sequence[int], report: Report) -> int:
    """Embed the chunks that have no vector yet; what is done is kept if it is interrupted."""
    missing = catalog.missing_embeddings(chunk.embedding_key for chunk in catalog.chunk_rows(rows))
    texts = _texts(catalog, rows, missing) if missing else {}
    by_length = sorted(texts, key=lambda key: (len(texts[key]), key))
    for start in range(0, len(by_length), EMBED_AT_ONCE):
        report(Progress("embedding", start, len(by_length)))
        keys = by_length[start : start + EMBED_AT_ONCE]
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
    known: Mapping[str, DocumentRow],
    report: Report,
) -> StateId | None:
    current = catalog.current_state_id()
    if current and sorted(plan.rows) == sorted(row.row for row in known.values()):
        return current
    if not current and not plan.rows:
        return None
    report(Progress("publishing", 0, 1))
    state = publish(folder, catalog, embedder.name, embedder.dimension, plan.rows)
    report(Progress("publishing", 1, 1))
    return state.id

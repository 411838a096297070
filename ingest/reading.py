"""Reading: what a source gives becomes a document and its chunks in the catalog, by one recipe."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.catalog import Catalog, DocumentRow, utc_now
from index.embedder import Embedder, llm_tokens
from index.errors import ParseError
from index.schema import (
    Chunk,
    Document,
    DocumentId,
    EmbeddingKey,
    Revision,
    content_hash,
    contextual_text,
)
from ingest.access import AccessRules, stated_labels
from ingest.chunk import TARGET_TOKENS, ChunkSizes, chunk
from ingest.chunk_code import chunk_code
from ingest.parsers.parsed import Parsed
from ingest.parsers.sandbox import Parsers
from ingest.parsers.site import parse_page
from ingest.parsers.text import decode
from ingest.sources.source import Content, Item, Source

RECIPE = "5"
"""Raise it when parsing or chunking changes what comes out, and every document is read again."""


class Reader:
    """Turns what sources give into documents and chunks in the catalog. Files are parsed in a sandbox."""

    def __init__(self, catalog: Catalog, embedder: Embedder, parsers: Parsers) -> None:
        self.catalog = catalog
        self.parsers = parsers
        self.model = embedder.name
        self.recipe = content_hash(RECIPE, embedder.name, str(TARGET_TOKENS))[:12]
        self.sizes = ChunkSizes(
            count=llm_tokens(),
            model_count=lambda text: embedder.count_tokens([text])[0],
            model_limit=embedder.max_tokens,
        )

    def digest(self, item: Item, rules: AccessRules) -> str:
        """What must be equal for a document to be unchanged: how it is read, who may read it, and its
        content, last.
        """
        return f"{self.recipe}:{rules.digest(item.id)}:{item.revision}"

    def add(
        self, source: Source, item: Item, content: Content, rules: AccessRules
    ) -> tuple[int, Counter[str]]:
        """Parse, chunk and store one item; returns its row and what the parser dropped."""
        parsed, found = self._parsed(source, item, content)
        metadata = {**parsed.metadata, **content.metadata, **found}
        if "lines" in found and found["lines"] is None:
            metadata = {name: value for name, value in metadata.items() if name != "lines"}
        stated = stated_labels(parsed.metadata, item.id) if content.states_access else None
        labels = next(
            each for each in (stated, content.labels, rules.of(item.id)) if each is not None
        )
        document = Document(
            id=document_id(f"{source.name}/{item.id}" if source.name else item.id),
            title=parsed.title,
            text=parsed.text,
            source_name=source.name,
            source=content.uri,
            kind=str(metadata.get("kind") or content.kind),
            revision=Revision(content.revision),
            modified_at=_modified(parsed.metadata, content.modified_at),
            ingested_at=utc_now().isoformat(timespec="seconds"),
            access=labels,
            metadata=metadata,
        )
        row = self.store(document, item.id, self.digest(item, rules))
        return row, Counter(parsed.dropped)

    def _parsed(
        self, source: Source, item: Item, content: Content
    ) -> tuple[Parsed, dict[str, Any]]:
        """An item as markdown with its includes put in, and what that adds to its metadata."""
        if not isinstance(content.body, bytes):
            return content.body, {}
        suffix = str(content.metadata.get("parse_as", ""))
        name = item.id if item.id.endswith(suffix) else item.id + suffix
        parsed, expanded = parse_page(
            self.parsers.parse, name, content.body, lambda path: included_text(source, path)
        )
        if expanded is None or expanded.verbatim:
            return parsed, {}
        found: dict[str, Any] = {} if expanded.lines_kept else {"lines": None}
        if expanded.included:
            found["included"] = {
                path: content_hash(included_text(source, path) or "")[:16]
                for path in expanded.included
            }
        return parsed, found

    def includes_unchanged(self, source: Source, document: DocumentRow) -> bool:
        """Whether the files that a document brought in are still what they were."""
        included: Mapping[str, str] = document.metadata.get("included") or {}
        return all(
            content_hash(included_text(source, path) or "")[:16] == digest
            for path, digest in included.items()
        )

    def store(self, document: Document, item: str, digest: str) -> int:
        """Chunk a document and write both to the catalog; returns its row."""
        chunks = self._chunks(document)
        keyed = [(piece, embedding_key(self.model, document, piece)) for piece in chunks]
        with self.catalog.transaction():
            return self.catalog.add_document(document, item, digest, keyed)

    def _chunks(self, document: Document) -> list[Chunk]:
        language = document.metadata.get("language")
        if document.kind == "code" and isinstance(language, str):
            return chunk_code(
                document.place, document.text, language, self.sizes, self.parsers.outline
            )
        return chunk(document.place, document.text, self.sizes)

    def again(self, known: DocumentRow) -> int:
        """The row of a document that stays, chunked anew if it was read by another recipe."""
        recipe, _, rest = known.source_digest.partition(":")
        if recipe == self.recipe:
            return known.row
        state_id = self.catalog.current_state_id()
        document = self.catalog.document(state_id, known.id) if state_id else None
        if document is None:
            return known.row
        return self.store(document, known.item, f"{self.recipe}:{rest}")


def included_text(source: Source, path: str) -> str | None:
    """A file beside an item of a source, as text; None where there is none, or it is no text."""
    data = source.beside(path)
    try:
        return None if data is None else decode(path, data)
    except ParseError:
        return None


def document_id(path: str) -> DocumentId:
    """A stable id that a person can read: the file's name and eight digits of its path's hash."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-")[:60]
    return DocumentId(f"{name}-{content_hash(path)[:8]}".lstrip("-"))


def embedding_key(model: str, document: Document, piece: Chunk) -> EmbeddingKey:
    """The hash of what is embedded and by which model, so that equal text is embedded once."""
    body = document.text[piece.body_start : piece.end]
    return EmbeddingKey(
        content_hash(model, contextual_text(document.place, piece.heading_path, body))
    )


def _modified(stated: Mapping[str, Any], known: str | None) -> str | None:
    """When the document says it was changed, or else what its source knows."""
    for name in ("updated", "modified", "last_modified", "lastmod", "date"):
        try:
            time = datetime.fromisoformat(str(stated.get(name, "")))
        except ValueError:
            continue
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
    return known

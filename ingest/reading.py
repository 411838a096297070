"""Reading: what a source gives becomes a document and its chunks in the catalog, by one recipe."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.catalog import Catalog, DocumentRow, utc_now
from index.embedder import Embedder, llm_tokens
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
from ingest.access import AccessRules, stated_labels
from ingest.chunk import TARGET_TOKENS, ChunkSizes, chunk
from ingest.parsers import parse
from ingest.sources.source import Content, Item

RECIPE = "3"
"""Raise it when parsing or chunking changes what comes out, and every document is read again."""


class Reader:
    """Turns what sources give into documents and chunks in the catalog."""

    def __init__(self, catalog: Catalog, embedder: Embedder) -> None:
        self.catalog = catalog
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
        self, source: str, item: Item, content: Content, rules: AccessRules
    ) -> tuple[int, Counter[str]]:
        """Parse, chunk and store one item; returns its row and what the parser dropped."""
        parsed = parse(item.id, content.body) if isinstance(content.body, bytes) else content.body
        metadata = {**parsed.metadata, **content.metadata}
        stated = stated_labels(parsed.metadata, item.id)
        labels = next(
            each for each in (stated, content.labels, rules.of(item.id)) if each is not None
        )
        document = Document(
            id=document_id(f"{source}/{item.id}" if source else item.id),
            title=parsed.title,
            text=parsed.text,
            source_name=source,
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

    def store(self, document: Document, item: str, digest: str) -> int:
        """Chunk a document and write both to the catalog; returns its row."""
        chunks = chunk(document.place, document.text, self.sizes)
        keyed = [(piece, embedding_key(self.model, document, piece)) for piece in chunks]
        with self.catalog.transaction():
            return self.catalog.add_document(document, item, digest, keyed)

    def again(self, known: DocumentRow, state_id: StateId) -> int:
        """The row of a document that stays, chunked anew if it was read by another recipe."""
        recipe, _, rest = known.source_digest.partition(":")
        document = self.catalog.document(state_id, known.id)
        if recipe == self.recipe or document is None:
            return known.row
        return self.store(document, known.item, f"{self.recipe}:{rest}")


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

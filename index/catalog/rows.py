"""What the catalog's rows say, as values."""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.schema import Document, DocumentId, EmbeddingKey, Labels, Revision, StateId, content_hash


@dataclass(frozen=True)
class State:
    """A published index state: its embedding model, and the segments that are searched by name."""

    id: StateId
    created_at: str
    model: str
    dimension: int
    segments: tuple[str, ...]


@dataclass(frozen=True)
class SegmentRow:
    """Chunks that share their labels, searched as one: `chunk_rows`, `(n,) int64`, by position, and the
    SHA-256 of each file made from them. A state may hold only some of the chunks.
    """

    name: str
    labels: Labels
    chunk_rows: NDArray[np.int64]
    files: Mapping[str, str]


@dataclass(frozen=True)
class DocumentRow:
    """A document of a state without its text.

    `item` is what its source, called `source_name`, calls it; `digest` and `source_digest` are what a
    sync compares. `chunks` are the rows of its chunks, of `tokens` tokens together, and `seal` is what
    its own row is sealed with.
    """

    row: int
    id: DocumentId
    digest: str
    item: str
    source_digest: str
    title: str
    source_name: str
    source: str
    kind: str
    revision: Revision
    modified_at: str | None
    ingested_at: str
    access: Labels
    metadata: Mapping[str, Any]
    chunks: range
    tokens: int
    seal: int


@dataclass(frozen=True)
class ChunkRow:
    """A chunk as stored: its row, the access labels of its document and its vector's key."""

    row: int
    access: Labels
    embedding_key: EmbeddingKey


def document_digest(document: Document, source_digest: str) -> str:
    """What tells two rows of a document apart: all that a reader can see of it but times."""
    return content_hash(
        source_digest,
        document.title,
        document.text,
        document.source_name,
        document.source,
        document.kind,
        document.revision,
        json.dumps(sorted(document.access)),
        json.dumps(document.metadata, sort_keys=True),
    )


def packed(rows: Iterable[int]) -> bytes:
    """Row numbers as they are stored."""
    return np.fromiter(rows, dtype="<i8").tobytes()


def unpacked(stored: bytes) -> NDArray[np.int64]:
    """Row numbers as they were stored, `(n,) int64`."""
    return np.frombuffer(stored, dtype="<i8").astype(np.int64)


def digest_of(seals: Iterable[int]) -> int:
    """What a state notes of its documents' seals, in the order of their rows."""
    return zlib.crc32(packed(seals))


@lru_cache(maxsize=4096)
def labels_of(stored: str) -> Labels:
    """Labels as they are stored: a JSON list."""
    return frozenset(json.loads(stored))


def utc_now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)

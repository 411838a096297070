"""The catalog: every document, chunk and vector, in one SQLite file; the truth the rest derives from.

Rows of documents, chunks and embeddings never change once written, and a state is a list of
document rows. So a reader that began with one state reads the same rows while a writer adds
others, and the switch to a new state is one transaction.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.database import Database
from index.schema import (
    Chunk,
    Document,
    DocumentId,
    EmbeddingKey,
    Labels,
    Passage,
    Revision,
    StateId,
    content_hash,
)

KEPT_STATES = 2
KEPT_FOR = timedelta(minutes=10)
"""States a reader may still hold: longer than any request lasts."""

STAGED_FOR = timedelta(days=7)
"""How long what an interrupted sync has read and embedded waits for it to be taken up again."""

REMEMBERED = 256
"""Documents kept in memory: a question draws on a dozen or two."""


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
    sync compares.
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


@dataclass(frozen=True)
class ChunkRow:
    """A chunk as stored: its row, the access labels of its document and its vector's key."""

    row: int
    access: Labels
    embedding_key: EmbeddingKey


class Catalog:
    """The truth behind an index. Safe to share between threads.

    Raises `IndexUnavailable` where the file is damaged or of another format.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._db = Database(path, create=create)
        self._recent: dict[tuple[int, str], Document] = {}

    def close(self) -> None:
        """Close the file; the catalog can't be used after."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is written, or nothing is."""
        return self._db.transaction()

    # --- states ---------------------------------------------------------------------------------

    def current_state(self) -> State | None:
        """The state that new readers get, or None before the first publish."""
        rows = self._db.all("SELECT s.* FROM states s JOIN current_state c ON c.state_id = s.id")
        if not rows:
            return None
        (row,) = rows
        return State(
            StateId(row["id"]),
            row["created_at"],
            row["model"],
            row["dimension"],
            tuple(json.loads(row["segments"])),
        )

    def current_state_id(self) -> StateId | None:
        """Only the id: cheap enough to ask for on every request."""
        rows = self._db.all("SELECT state_id FROM current_state")
        return StateId(rows[0][0]) if rows else None

    def publish(
        self, state: State, document_rows: Iterable[int], fresh: Iterable[SegmentRow]
    ) -> None:
        """Make `state` the current one, with the segments that are new in it, in one transaction."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO states VALUES (?, ?, ?, ?, ?)",
                state.id,
                state.created_at,
                state.model,
                state.dimension,
                json.dumps(state.segments),
            )
            self._db.execute_many(
                "INSERT INTO state_documents VALUES (?, ?)",
                ((state.id, row) for row in document_rows),
            )
            for segment in fresh:
                self._write_segment(segment)
            self._db.execute("INSERT OR REPLACE INTO current_state VALUES (1, ?)", state.id)

    def drop_old_states(self, now: datetime) -> set[str]:
        """Forget states no reader can hold any more, with all that only they used.

        Returns the names of the segments that are kept.
        """
        newest_first = self._db.all(
            "SELECT id, created_at, segments FROM states ORDER BY created_at DESC"
        )
        oldest_kept = (now - KEPT_FOR).isoformat()
        kept = [
            row
            for position, row in enumerate(newest_first)
            if position < KEPT_STATES or row["created_at"] >= oldest_kept
        ]
        segments = {name for row in kept for name in json.loads(row["segments"])}
        with self.transaction():
            self._db.execute(
                "CREATE TEMP TABLE leaving AS SELECT document_row FROM state_documents "
                "WHERE state_id NOT IN (SELECT value FROM json_each(?))",
                json.dumps([row["id"] for row in kept]),
            )
            self._db.execute(
                "DELETE FROM states WHERE id NOT IN (SELECT value FROM json_each(?))",
                json.dumps([row["id"] for row in kept]),
            )
            self._db.execute(
                "DELETE FROM segments WHERE name NOT IN (SELECT value FROM json_each(?))",
                json.dumps(sorted(segments)),
            )
            self._db.execute(
                "DELETE FROM documents WHERE (row IN (SELECT document_row FROM leaving) "
                "OR ingested_at < ?) AND row NOT IN (SELECT document_row FROM state_documents)",
                (now - STAGED_FOR).isoformat(timespec="seconds"),
            )
            self._db.execute("DROP TABLE leaving")
            self._db.execute(
                "DELETE FROM embeddings WHERE key NOT IN (SELECT embedding_key FROM chunks)"
            )
        return segments

    # --- segments -------------------------------------------------------------------------------

    def segments(self, names: Iterable[str]) -> list[SegmentRow]:
        """Segments by name, in the order given."""
        rows = self._db.all(
            "SELECT * FROM segments WHERE name IN (SELECT value FROM json_each(?))",
            json.dumps(list(names)),
        )
        found = {row["name"]: self._segment(row) for row in rows}
        return [found[name] for name in names]

    def replace_segment(self, segment: SegmentRow) -> None:
        """Note what a segment is made of after its files were built again."""
        with self.transaction():
            self._write_segment(segment)

    def _write_segment(self, segment: SegmentRow) -> None:
        rows = segment.chunk_rows.astype("<i8").tobytes()
        self._db.execute(
            "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?)",
            segment.name,
            json.dumps(sorted(segment.labels)),
            rows,
            zlib.crc32(rows),
            json.dumps(dict(segment.files)),
        )

    def _segment(self, row: sqlite3.Row) -> SegmentRow:
        if zlib.crc32(row["chunk_rows"]) != row["crc32"]:
            raise self._db.damaged(f"the rows of segment {row['name']} are not what was written")
        return SegmentRow(
            row["name"],
            frozenset(json.loads(row["access"])),
            np.frombuffer(row["chunk_rows"], dtype="<i8").astype(np.int64),
            json.loads(row["files"]),
        )

    # --- sources --------------------------------------------------------------------------------

    def source_statuses(self) -> dict[str, Any]:
        """What is known of each source's last sync, by its name, as it was noted."""
        rows = self._db.all("SELECT name, status FROM sources ORDER BY name")
        return {row["name"]: json.loads(row["status"]) for row in rows}

    def set_source_status(self, name: str, status: Mapping[str, Any] | None) -> None:
        """Note how a source's last sync went; None forgets the source."""
        with self.transaction():
            if status is None:
                self._db.execute("DELETE FROM sources WHERE name = ?", name)
            else:
                self._db.execute(
                    "INSERT OR REPLACE INTO sources VALUES (?, ?)",
                    name,
                    json.dumps(status, sort_keys=True),
                )

    # --- documents and chunks -------------------------------------------------------------------

    def document_rows(self, state_id: StateId) -> list[DocumentRow]:
        """Every document of a state, without texts, by id."""
        rows = self._db.all(
            "SELECT d.row, d.id, d.digest, d.item, d.source_digest, d.title, d.source_name, d.source, "
            "d.kind, d.revision, d.modified_at, d.ingested_at, d.access, d.metadata "
            "FROM documents d JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? ORDER BY d.id",
            state_id,
        )
        return [
            DocumentRow(
                row=row["row"],
                id=DocumentId(row["id"]),
                digest=row["digest"],
                item=row["item"],
                source_digest=row["source_digest"],
                title=row["title"],
                source_name=row["source_name"],
                source=row["source"],
                kind=row["kind"],
                revision=Revision(row["revision"]),
                modified_at=row["modified_at"],
                ingested_at=row["ingested_at"],
                access=labels_of(row["access"]),
                metadata=json.loads(row["metadata"]),
            )
            for row in rows
        ]

    def add_document(
        self,
        document: Document,
        item: str,
        source_digest: str,
        chunks: Sequence[tuple[Chunk, EmbeddingKey]],
    ) -> int:
        """Write one document revision with its chunks; returns its row (the old one if known).

        `item` is what its source calls it; `source_digest` tells the bytes it was read from and the
        recipe it was chunked by. Call it inside a transaction.
        """
        digest = document_digest(document, source_digest)
        known = self._db.all(
            "SELECT row FROM documents WHERE id = ? AND digest = ?", document.id, digest
        )
        if known:
            return int(known[0][0])
        row = self._insert_document(document, item, source_digest, digest)
        self._db.execute_many(
            "INSERT INTO chunks (document_row, start, end, body_start, heading_path, tokens, "
            "embedding_key) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row,
                    chunk.start,
                    chunk.end,
                    chunk.body_start,
                    json.dumps(chunk.heading_path),
                    chunk.tokens,
                    key,
                )
                for chunk, key in chunks
            ),
        )
        return row

    def _insert_document(
        self, document: Document, item: str, source_digest: str, digest: str
    ) -> int:
        values = {
            "id": document.id,
            "digest": digest,
            "source_name": document.source_name,
            "item": item,
            "source_digest": source_digest,
            "title": document.title,
            "text": document.text,
            "text_sha256": content_hash(document.text),
            "source": document.source,
            "kind": document.kind,
            "revision": document.revision,
            "modified_at": document.modified_at,
            "ingested_at": document.ingested_at,
            "access": json.dumps(sorted(document.access)),
            "metadata": json.dumps(document.metadata, sort_keys=True),
        }
        names = ", ".join(values)
        slots = ", ".join("?" * len(values))
        cursor = self._db.execute(
            f"INSERT INTO documents ({names}) VALUES ({slots})", *values.values()
        )
        return int(cursor.lastrowid or 0)

    def documents(self, state_id: StateId) -> list[Document]:
        """Every document of a state, by id."""
        rows = self._db.all(
            "SELECT d.* FROM documents d JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? ORDER BY d.id",
            state_id,
        )
        return [self._document(row) for row in rows]

    def document(self, state_id: StateId, document_id: str) -> Document | None:
        """One document of a state by its id, or None."""
        rows = self._db.all(
            "SELECT d.* FROM documents d JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? AND d.id = ?",
            state_id,
            document_id,
        )
        return self._document(rows[0]) if rows else None

    def chunk_rows(self, document_rows: Sequence[int]) -> list[ChunkRow]:
        """The chunks of some documents, in the order of documents and then of their text."""
        rows = self._db.all(
            "SELECT c.row, d.access, c.embedding_key FROM chunks c "
            "JOIN documents d ON d.row = c.document_row "
            "WHERE d.row IN (SELECT value FROM json_each(?)) ORDER BY d.id, c.start",
            json.dumps(list(document_rows)),
        )
        return [ChunkRow(row[0], labels_of(row[1]), EmbeddingKey(row[2])) for row in rows]

    def embedding_keys(self, chunk_rows: Sequence[int]) -> list[EmbeddingKey]:
        """The key of each chunk's vector, in the order given."""
        rows = self._db.all(
            "SELECT row, embedding_key FROM chunks WHERE row IN (SELECT value FROM json_each(?))",
            json.dumps(list(chunk_rows)),
        )
        found = {row[0]: EmbeddingKey(row[1]) for row in rows}
        return [found[row] for row in chunk_rows]

    def searched_rows(self, state_id: StateId) -> NDArray[np.int64]:
        """The chunk rows of a state, `(n,) int64`, ascending."""
        rows = self._db.all(
            "SELECT c.row FROM chunks c JOIN state_documents s ON s.document_row = c.document_row "
            "WHERE s.state_id = ? ORDER BY c.row",
            state_id,
        )
        return np.array([row[0] for row in rows], dtype=np.int64)

    def passages(self, chunk_rows: Sequence[int]) -> list[Passage]:
        """The passages behind chunk rows, in the order given."""
        wanted = json.dumps([int(row) for row in chunk_rows])
        chunks = self._db.all(
            "SELECT * FROM chunks WHERE row IN (SELECT value FROM json_each(?))", wanted
        )
        documents = self._documents(sorted({chunk["document_row"] for chunk in chunks}))
        found = {row["row"]: _passage(row, documents[row["document_row"]]) for row in chunks}
        return [found[int(row)] for row in chunk_rows]

    def _documents(self, rows: Sequence[int]) -> dict[int, Document]:
        """Documents by row; those read lately are remembered, because a text costs a checksum.

        A row may be given to another document once its own is gone, but with another digest.
        """
        digests = {
            row["row"]: (row["row"], row["digest"])
            for row in self._db.all(
                "SELECT row, digest FROM documents WHERE row IN (SELECT value FROM json_each(?))",
                json.dumps(list(rows)),
            )
        }
        with self._db.lock:
            known = {key: self._recent[key] for key in digests.values() if key in self._recent}
        missing = [row for row, key in digests.items() if key not in known]
        for row in self._db.all(
            "SELECT * FROM documents WHERE row IN (SELECT value FROM json_each(?))",
            json.dumps(missing),
        ):
            known[digests[row["row"]]] = self._document(row)
        with self._db.lock:
            kept = {key: each for key, each in self._recent.items() if key not in known} | known
            self._recent = dict(list(kept.items())[-REMEMBERED:])
        return {row: known[key] for row, key in digests.items()}

    def passages_of(self, state_id: StateId, document_id: str) -> list[Passage]:
        """All passages of one document of a state, in the order of its text."""
        rows = self._db.all(
            "SELECT c.row FROM chunks c JOIN documents d ON d.row = c.document_row "
            "JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? AND d.id = ? ORDER BY c.start",
            state_id,
            document_id,
        )
        return self.passages([row[0] for row in rows])

    def rows_of(self, document_ids: Iterable[str]) -> frozenset[int]:
        """The chunk rows of some documents, in any of their revisions."""
        rows = self._db.all(
            "SELECT c.row FROM chunks c JOIN documents d ON d.row = c.document_row "
            "WHERE d.id IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(document_ids)),
        )
        return frozenset(row[0] for row in rows)

    def counts(self, document_rows: Sequence[int]) -> tuple[int, int]:
        """`(chunks, tokens)` over some documents."""
        (row,) = self._db.all(
            "SELECT count(*), coalesce(sum(tokens), 0) FROM chunks "
            "WHERE document_row IN (SELECT value FROM json_each(?))",
            json.dumps(list(document_rows)),
        )
        return row[0], row[1]

    def unlabelled(self, document_rows: Sequence[int]) -> int:
        """How many of some documents carry no access label."""
        (row,) = self._db.all(
            "SELECT count(*) FROM documents WHERE access = '[]' "
            "AND row IN (SELECT value FROM json_each(?))",
            json.dumps(list(document_rows)),
        )
        return int(row[0])

    def _document(self, row: sqlite3.Row) -> Document:
        if content_hash(row["text"]) != row["text_sha256"]:
            raise self._db.damaged(f"the text of {row['source']} is not what was written")
        return Document(
            id=DocumentId(row["id"]),
            title=row["title"],
            text=row["text"],
            source_name=row["source_name"],
            source=row["source"],
            kind=row["kind"],
            revision=Revision(row["revision"]),
            modified_at=row["modified_at"],
            ingested_at=row["ingested_at"],
            access=labels_of(row["access"]),
            metadata=json.loads(row["metadata"]),
        )

    # --- embeddings -----------------------------------------------------------------------------

    def missing_embeddings(self, keys: Iterable[EmbeddingKey]) -> set[EmbeddingKey]:
        """Those of the keys that have no vector yet."""
        rows = self._db.all(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT key FROM embeddings)",
            json.dumps(list(keys)),
        )
        return {EmbeddingKey(row[0]) for row in rows}

    def add_embeddings(self, keys: Sequence[EmbeddingKey], vectors: NDArray[np.float32]) -> None:
        """Store `(n, dim) float32` vectors under their keys."""
        blobs = [np.ascontiguousarray(vector, dtype="<f4").tobytes() for vector in vectors]
        with self.transaction():
            self._db.execute_many(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)",
                [(key, blob, zlib.crc32(blob)) for key, blob in zip(keys, blobs, strict=True)],
            )

    def vectors(self, keys: Sequence[EmbeddingKey], dimension: int) -> NDArray[np.float32]:
        """`(len(keys), dimension) float32`, in the order of the keys."""
        found: dict[str, Any] = {}
        rows = self._db.all(
            "SELECT key, vector, crc32 FROM embeddings "
            "WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(list(keys)),
        )
        for row in rows:
            if zlib.crc32(row["vector"]) != row["crc32"]:
                raise self._db.damaged("a stored vector is not what was written")
            found[row["key"]] = np.frombuffer(row["vector"], dtype="<f4")
        matrix = np.empty((len(keys), dimension), dtype=np.float32)
        for position, key in enumerate(keys):
            matrix[position] = found[key]
        return matrix


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


@lru_cache(maxsize=4096)
def labels_of(stored: str) -> Labels:
    """Labels as they are stored: a JSON list."""
    return frozenset(json.loads(stored))


def utc_now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)


def _passage(row: sqlite3.Row, document: Document) -> Passage:
    chunk = Chunk(
        start=row["start"],
        end=row["end"],
        body_start=row["body_start"],
        heading_path=tuple(json.loads(row["heading_path"])),
        tokens=row["tokens"],
    )
    return Passage(row["row"], document, chunk)

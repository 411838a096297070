"""The catalog: every document, chunk and vector, in one SQLite file; the truth the rest derives from.

Rows of documents, chunks and embeddings never change once written, and a state is a list of
document rows. So a reader that began with one state reads the same rows while a writer adds
others, and the switch to a new state is one transaction.
"""

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexUnavailable
from index.schema import (
    Chunk,
    Document,
    DocumentId,
    EmbeddingKey,
    Passage,
    Revision,
    StateId,
    content_hash,
)

FORMAT = 1
KEPT_STATES = 2
KEPT_FOR = timedelta(minutes=10)
"""States a reader may still hold: longer than any request lasts."""

REMEMBERED = 256
"""Documents kept in memory: a question draws on a dozen or two."""

SCHEMA = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, digest TEXT NOT NULL, source_digest TEXT NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, text_sha256 TEXT NOT NULL, source TEXT NOT NULL,
    kind TEXT NOT NULL, revision TEXT NOT NULL, modified_at TEXT, ingested_at TEXT NOT NULL,
    access TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (id, digest));
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY, document_row INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    start INTEGER NOT NULL, end INTEGER NOT NULL, body_start INTEGER NOT NULL,
    heading_path TEXT NOT NULL, tokens INTEGER NOT NULL, embedding_key TEXT NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document_row);
CREATE INDEX chunks_by_embedding ON chunks (embedding_key);
CREATE TABLE embeddings (key TEXT PRIMARY KEY, vector BLOB NOT NULL, crc32 INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE states (
    id TEXT PRIMARY KEY, created_at TEXT NOT NULL, model TEXT NOT NULL, dimension INTEGER NOT NULL,
    files TEXT NOT NULL);
CREATE TABLE state_documents (
    state_id TEXT NOT NULL REFERENCES states ON DELETE CASCADE,
    document_row INTEGER NOT NULL REFERENCES documents, PRIMARY KEY (state_id, document_row))
    WITHOUT ROWID;
CREATE INDEX states_of_document ON state_documents (document_row);
CREATE TABLE current_state (only INTEGER PRIMARY KEY CHECK (only = 1), state_id TEXT NOT NULL);
"""


@dataclass(frozen=True)
class State:
    """A published index state: its embedding model and the SHA-256 of each derived file."""

    id: StateId
    created_at: str
    model: str
    dimension: int
    files: dict[str, str]


@dataclass(frozen=True)
class DocumentRow:
    """What a sync compares: a document of a state without its text."""

    row: int
    id: DocumentId
    digest: str
    source: str
    source_digest: str


@dataclass(frozen=True)
class ChunkRow:
    """A chunk as stored: its row, the access labels of its document and its vector's key."""

    row: int
    access: frozenset[str]
    embedding_key: EmbeddingKey


class Catalog:
    """The SQLite file behind an index. Safe to share between threads.

    Raises `IndexUnavailable` where the file is damaged or of another format.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._recent: dict[tuple[int, str], Document] = {}
        if not create and not path.exists():
            raise IndexUnavailable(f"no index at {path.parent}: run `casebook ingest` to build one")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise self._damaged(error) from error

    def _open(self) -> None:
        self._db.row_factory = sqlite3.Row
        # WAL lets readers go on while a writer publishes; FULL makes the publish survive power loss.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA busy_timeout = 10000")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            with self.transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {FORMAT}")
        elif found != FORMAT:
            raise IndexUnavailable(
                f"{self.path} has format {found}, this version reads {FORMAT}: "
                "move it away and run `casebook ingest`"
            )
        elif (verdict := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _damaged(self, error: object) -> IndexUnavailable:
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only, out of space
            return IndexUnavailable(
                f"the catalog {self.path} can't be used now ({error}): try again"
            )
        return IndexUnavailable(
            f"the catalog {self.path} is damaged ({error}): "
            "move it away and run `casebook ingest` to build it again"
        )

    def close(self) -> None:
        """Close the file; the catalog can't be used after."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _all(self, sql: str, *arguments: object) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(sql, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from error

    # --- states ---------------------------------------------------------------------------------

    def current_state(self) -> State | None:
        """The state that new readers get, or None before the first publish."""
        rows = self._all("SELECT s.* FROM states s JOIN current_state c ON c.state_id = s.id")
        if not rows:
            return None
        (row,) = rows
        return State(
            StateId(row["id"]),
            row["created_at"],
            row["model"],
            row["dimension"],
            json.loads(row["files"]),
        )

    def current_state_id(self) -> StateId | None:
        """Only the id: cheap enough to ask for on every request."""
        rows = self._all("SELECT state_id FROM current_state")
        return StateId(rows[0][0]) if rows else None

    def publish(self, state: State, document_rows: Iterable[int]) -> None:
        """Make `state` the current one, in one transaction."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO states VALUES (?, ?, ?, ?, ?)",
                (
                    state.id,
                    state.created_at,
                    state.model,
                    state.dimension,
                    json.dumps(state.files),
                ),
            )
            self._db.executemany(
                "INSERT INTO state_documents VALUES (?, ?)",
                ((state.id, row) for row in document_rows),
            )
            self._db.execute("INSERT OR REPLACE INTO current_state VALUES (1, ?)", (state.id,))

    def set_files(self, state_id: StateId, files: dict[str, str]) -> None:
        """Note the SHA-256 of derived files that were built again."""
        with self.transaction():
            self._db.execute(
                "UPDATE states SET files = ? WHERE id = ?", (json.dumps(files), state_id)
            )

    def drop_old_states(self, now: datetime) -> list[StateId]:
        """Forget states no reader can hold any more, with the rows that only they used.

        Returns the ids of the states that are kept.
        """
        newest_first = self._all("SELECT id, created_at FROM states ORDER BY created_at DESC")
        oldest_kept = (now - KEPT_FOR).isoformat()
        kept = [
            StateId(row["id"])
            for position, row in enumerate(newest_first)
            if position < KEPT_STATES or row["created_at"] >= oldest_kept
        ]
        with self.transaction():
            for row in newest_first:
                if row["id"] not in kept:
                    self._db.execute("DELETE FROM states WHERE id = ?", (row["id"],))
            self._db.execute(
                "DELETE FROM documents WHERE row NOT IN (SELECT document_row FROM state_documents)"
            )
            self._db.execute(
                "DELETE FROM embeddings WHERE key NOT IN (SELECT embedding_key FROM chunks)"
            )
        return kept

    # --- documents and chunks -------------------------------------------------------------------

    def document_rows(self, state_id: StateId) -> list[DocumentRow]:
        """Every document of a state, without texts, by id."""
        rows = self._all(
            "SELECT d.row, d.id, d.digest, d.source, d.source_digest FROM documents d "
            "JOIN state_documents s ON s.document_row = d.row WHERE s.state_id = ? ORDER BY d.id",
            state_id,
        )
        return [
            DocumentRow(
                row["row"],
                DocumentId(row["id"]),
                row["digest"],
                row["source"],
                row["source_digest"],
            )
            for row in rows
        ]

    def add_document(
        self,
        document: Document,
        source_digest: str,
        chunks: Sequence[tuple[Chunk, EmbeddingKey]],
    ) -> int:
        """Write one document revision with its chunks; returns its row (the old one if known).

        `source_digest` tells the bytes it was read from and the recipe it was chunked by.
        """
        digest = document_digest(document, source_digest)
        known = self._all(
            "SELECT row FROM documents WHERE id = ? AND digest = ?", document.id, digest
        )
        if known:
            return int(known[0][0])
        row = self._insert_document(document, source_digest, digest)
        with self._lock:
            self._db.executemany(
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

    def _insert_document(self, document: Document, source_digest: str, digest: str) -> int:
        values = {
            "id": document.id,
            "digest": digest,
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
        slots = ", ".join(f":{name}" for name in values)
        with self._lock:
            cursor = self._db.execute(f"INSERT INTO documents ({names}) VALUES ({slots})", values)
        return int(cursor.lastrowid or 0)

    def documents(self, state_id: StateId) -> list[Document]:
        """Every document of a state, by id."""
        rows = self._all(
            "SELECT d.* FROM documents d JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? ORDER BY d.id",
            state_id,
        )
        return [self._document(row) for row in rows]

    def document(self, state_id: StateId, document_id: str) -> Document | None:
        """One document of a state by its id, or None."""
        rows = self._all(
            "SELECT d.* FROM documents d JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? AND d.id = ?",
            state_id,
            document_id,
        )
        return self._document(rows[0]) if rows else None

    def chunk_rows(self, document_rows: Sequence[int]) -> list[ChunkRow]:
        """The chunks of some documents, in the order of documents and then of their text."""
        rows = self._all(
            "SELECT c.row, d.access, c.embedding_key FROM chunks c "
            "JOIN documents d ON d.row = c.document_row "
            "WHERE d.row IN (SELECT value FROM json_each(?)) ORDER BY d.id, c.start",
            json.dumps(list(document_rows)),
        )
        return [
            ChunkRow(row[0], frozenset(json.loads(row[1])), EmbeddingKey(row[2])) for row in rows
        ]

    def passages(self, chunk_rows: Sequence[int]) -> list[Passage]:
        """The passages behind chunk rows, in the order given."""
        wanted = json.dumps([int(row) for row in chunk_rows])
        chunks = self._all(
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
            for row in self._all(
                "SELECT row, digest FROM documents WHERE row IN (SELECT value FROM json_each(?))",
                json.dumps(list(rows)),
            )
        }
        with self._lock:
            known = {key: self._recent[key] for key in digests.values() if key in self._recent}
        missing = [row for row, key in digests.items() if key not in known]
        for row in self._all(
            "SELECT * FROM documents WHERE row IN (SELECT value FROM json_each(?))",
            json.dumps(missing),
        ):
            known[digests[row["row"]]] = self._document(row)
        with self._lock:
            kept = {key: each for key, each in self._recent.items() if key not in known} | known
            self._recent = dict(list(kept.items())[-REMEMBERED:])
        return {row: known[key] for row, key in digests.items()}

    def passages_of(self, state_id: StateId, document_id: str) -> list[Passage]:
        """All passages of one document of a state, in the order of its text."""
        rows = self._all(
            "SELECT c.row FROM chunks c JOIN documents d ON d.row = c.document_row "
            "JOIN state_documents s ON s.document_row = d.row "
            "WHERE s.state_id = ? AND d.id = ? ORDER BY c.start",
            state_id,
            document_id,
        )
        return self.passages([row[0] for row in rows])

    def rows_of(self, document_ids: Iterable[str]) -> frozenset[int]:
        """The chunk rows of some documents, in any of their revisions."""
        rows = self._all(
            "SELECT c.row FROM chunks c JOIN documents d ON d.row = c.document_row "
            "WHERE d.id IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(document_ids)),
        )
        return frozenset(row[0] for row in rows)

    def counts(self, document_rows: Sequence[int]) -> tuple[int, int]:
        """`(chunks, tokens)` over some documents."""
        (row,) = self._all(
            "SELECT count(*), coalesce(sum(tokens), 0) FROM chunks "
            "WHERE document_row IN (SELECT value FROM json_each(?))",
            json.dumps(list(document_rows)),
        )
        return row[0], row[1]

    def _document(self, row: sqlite3.Row) -> Document:
        if content_hash(row["text"]) != row["text_sha256"]:
            raise self._damaged(f"the text of {row['source']} is not what was written")
        return Document(
            id=DocumentId(row["id"]),
            title=row["title"],
            text=row["text"],
            source=row["source"],
            kind=row["kind"],
            revision=Revision(row["revision"]),
            modified_at=row["modified_at"],
            ingested_at=row["ingested_at"],
            access=frozenset(json.loads(row["access"])),
            metadata=json.loads(row["metadata"]),
        )

    # --- embeddings -----------------------------------------------------------------------------

    def missing_embeddings(self, keys: Iterable[EmbeddingKey]) -> set[EmbeddingKey]:
        """Those of the keys that have no vector yet."""
        rows = self._all(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT key FROM embeddings)",
            json.dumps(list(keys)),
        )
        return {EmbeddingKey(row[0]) for row in rows}

    def add_embeddings(self, keys: Sequence[EmbeddingKey], vectors: NDArray[np.float32]) -> None:
        """Store `(n, dim) float32` vectors under their keys."""
        blobs = [np.ascontiguousarray(vector, dtype="<f4").tobytes() for vector in vectors]
        with self.transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)",
                [(key, blob, zlib.crc32(blob)) for key, blob in zip(keys, blobs, strict=True)],
            )

    def vectors(self, keys: Sequence[EmbeddingKey], dimension: int) -> NDArray[np.float32]:
        """`(len(keys), dimension) float32`, in the order of the keys."""
        found: dict[str, Any] = {}
        rows = self._all(
            "SELECT key, vector, crc32 FROM embeddings "
            "WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(list(keys)),
        )
        for row in rows:
            if zlib.crc32(row["vector"]) != row["crc32"]:
                raise self._damaged("a stored vector is not what was written")
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
        document.source,
        document.kind,
        document.revision,
        json.dumps(sorted(document.access)),
        json.dumps(document.metadata, sort_keys=True),
    )


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

"""The SQLite file of the catalog: its tables, its transactions, and what is done on damage."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from index.errors import IndexUnavailable

FORMAT = 2

TABLES = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, digest TEXT NOT NULL,
    source_name TEXT NOT NULL DEFAULT '', item TEXT NOT NULL, source_digest TEXT NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, text_sha256 TEXT NOT NULL, source TEXT NOT NULL,
    kind TEXT NOT NULL, revision TEXT NOT NULL, modified_at TEXT, ingested_at TEXT NOT NULL,
    access TEXT NOT NULL, metadata TEXT NOT NULL, UNIQUE (id, digest));
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    document_row INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    start INTEGER NOT NULL, end INTEGER NOT NULL, body_start INTEGER NOT NULL,
    heading_path TEXT NOT NULL, tokens INTEGER NOT NULL, embedding_key TEXT NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document_row);
CREATE INDEX chunks_by_embedding ON chunks (embedding_key);
CREATE TABLE embeddings (key TEXT PRIMARY KEY, vector BLOB NOT NULL, crc32 INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE states (
    id TEXT PRIMARY KEY, created_at TEXT NOT NULL, model TEXT NOT NULL, dimension INTEGER NOT NULL,
    segments TEXT NOT NULL);
CREATE TABLE state_documents (
    state_id TEXT NOT NULL REFERENCES states ON DELETE CASCADE,
    document_row INTEGER NOT NULL REFERENCES documents, PRIMARY KEY (state_id, document_row))
    WITHOUT ROWID;
CREATE INDEX states_of_document ON state_documents (document_row);
CREATE TABLE current_state (only INTEGER PRIMARY KEY CHECK (only = 1), state_id TEXT NOT NULL);
CREATE TABLE segments (
    name TEXT PRIMARY KEY, access TEXT NOT NULL, chunk_rows BLOB NOT NULL, crc32 INTEGER NOT NULL,
    files TEXT NOT NULL);
CREATE TABLE sources (name TEXT PRIMARY KEY, status TEXT NOT NULL);
"""
"""Rows are never numbered anew (AUTOINCREMENT): a segment may hold the number of a chunk that is gone."""

FROM_1 = """
ALTER TABLE documents RENAME TO documents_1;
ALTER TABLE chunks RENAME TO chunks_1;
DROP INDEX chunks_of_document; DROP INDEX chunks_by_embedding; DROP INDEX states_of_document;
ALTER TABLE embeddings RENAME TO embeddings_1;
DROP TABLE state_documents; DROP TABLE states; DROP TABLE current_state;
"""
"""Format 1 kept one set of files a state, and rows that could be numbered anew."""

KEPT_OF_1 = """
INSERT INTO documents SELECT row, id, digest, '', source, source_digest, title, text, text_sha256,
    source, kind, revision, modified_at, ingested_at, access, metadata FROM documents_1
    WHERE row IN (SELECT document_row FROM kept_1);
INSERT INTO chunks SELECT * FROM chunks_1 WHERE document_row IN (SELECT row FROM documents);
INSERT INTO embeddings SELECT * FROM embeddings_1;
INSERT INTO states SELECT id, created_at, model, dimension, '[]' FROM state_1;
INSERT INTO state_documents SELECT state_1.id, kept_1.document_row FROM kept_1, state_1;
INSERT INTO current_state SELECT 1, id FROM state_1;
DROP TABLE documents_1; DROP TABLE chunks_1; DROP TABLE embeddings_1;
DROP TABLE kept_1; DROP TABLE state_1;
"""


class Database:
    """One SQLite file, shared between threads; raises `IndexUnavailable` where it is damaged or of
    a format that this version does not read.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        self.lock = threading.RLock()
        if not create and not path.exists():
            raise IndexUnavailable(f"no index at {path.parent}: run `casebook ingest` to build one")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._open(create)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self.damaged(error) from error

    def _open(self, create: bool) -> None:
        self._connection.row_factory = sqlite3.Row
        # WAL lets readers go on while a writer publishes; FULL makes the publish survive power loss.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            self._connection.execute(f"PRAGMA {pragma}")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            with self.transaction():
                self._run(TABLES, f"PRAGMA user_version = {FORMAT}")
        elif found == 1 and create:
            self._from_format_1()
        elif found != FORMAT:
            raise IndexUnavailable(
                f"{self.path} has format {found}, this version reads {FORMAT}: "
                + (
                    "run `casebook ingest`, which brings it up to date without embedding it again"
                    if found == 1
                    else "move it away and run `casebook ingest`"
                )
            )
        elif (verdict := self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)
        self._connection.execute("PRAGMA foreign_keys = ON")

    def _from_format_1(self) -> None:
        """Keep the documents, chunks and vectors of the current state; its files are made anew."""
        with self.transaction():
            self._run(
                "CREATE TABLE state_1 AS SELECT s.* FROM states s JOIN current_state c "
                "ON c.state_id = s.id",
                "CREATE TABLE kept_1 AS SELECT document_row FROM state_documents "
                "WHERE state_id IN (SELECT id FROM state_1)",
                FROM_1,
                TABLES,
                KEPT_OF_1,
                f"PRAGMA user_version = {FORMAT}",
            )

    def _run(self, *scripts: str) -> None:
        for script in scripts:
            for statement in script.split(";"):
                self._connection.execute(statement)

    def damaged(self, error: object) -> IndexUnavailable:
        """The error that tells a person what to do about a fault in the file."""
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only, out of space
            return IndexUnavailable(
                f"the catalog {self.path} can't be used now ({error}): try again"
            )
        return IndexUnavailable(
            f"the catalog {self.path} is damaged ({error}): "
            "move it away and run `casebook ingest` to build it again"
        )

    def close(self) -> None:
        """Close the file; it can't be used after."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:  # an interruption, too, must leave nothing half written
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, sql: str, *arguments: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self.lock:
            try:
                return self._connection.execute(sql, arguments).fetchall()
            except sqlite3.DatabaseError as error:
                raise self.damaged(error) from error

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        """Change something; call it inside a transaction."""
        with self.lock:
            return self._connection.execute(sql, arguments)

    def execute_many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Change many things alike; call it inside a transaction."""
        with self.lock:
            self._connection.executemany(sql, rows)

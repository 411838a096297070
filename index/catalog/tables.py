"""The tables of the catalog, format 3."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache

FORMAT = 3

DOCUMENT_TABLES = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, digest TEXT NOT NULL, source_name TEXT NOT NULL,
    item TEXT NOT NULL, source_digest TEXT NOT NULL, title TEXT NOT NULL, text_sha256 TEXT NOT NULL,
    source TEXT NOT NULL, kind TEXT NOT NULL, revision TEXT NOT NULL, modified_at TEXT,
    ingested_at TEXT NOT NULL, access TEXT NOT NULL, metadata TEXT NOT NULL,
    first_chunk INTEGER NOT NULL, chunk_count INTEGER NOT NULL, tokens INTEGER NOT NULL,
    seal INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (id, digest));
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY, document_row INTEGER NOT NULL, start INTEGER NOT NULL,
    "end" INTEGER NOT NULL, body_start INTEGER NOT NULL, heading_path TEXT NOT NULL,
    tokens INTEGER NOT NULL, embedding_key TEXT NOT NULL, seal INTEGER NOT NULL);
CREATE INDEX chunks_by_embedding ON chunks (embedding_key);
CREATE TABLE embeddings (key TEXT PRIMARY KEY, vector BLOB NOT NULL, seal INTEGER NOT NULL)
    WITHOUT ROWID;
"""

TABLES = f"""
{DOCUMENT_TABLES.strip()}
CREATE TABLE states (
    id TEXT PRIMARY KEY, created_at TEXT NOT NULL, model TEXT NOT NULL, dimension INTEGER NOT NULL,
    segments TEXT NOT NULL, digest INTEGER NOT NULL, document_rows BLOB NOT NULL,
    seal INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    name TEXT PRIMARY KEY, access TEXT NOT NULL, files TEXT NOT NULL, chunk_rows BLOB NOT NULL,
    seal INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, seal INTEGER NOT NULL)
    WITHOUT ROWID;
"""
"""What a reader needs is found by number, never by an index: an entry that is lost from an index is
missed without a word. A document names its chunks, `chunk_count` from `first_chunk` on, a state its
documents, and the facts, one of each name, the numbers given last, so that none is given again: a
segment may hold the number of a chunk that is gone.
"""


@dataclass(frozen=True)
class Table:
    """A table's name, the columns that its seal covers, key first, and the bytes it covers besides.

    `aside` is a text with a digest of its own among the columns, so that rows are read without it.
    """

    name: str
    columns: tuple[str, ...]
    blob: str | None = None
    aside: str | None = None


DOCUMENTS = Table(
    "documents",
    tuple(
        "row id digest source_name item source_digest title text_sha256 source kind revision "
        "modified_at ingested_at access metadata first_chunk chunk_count tokens".split()
    ),
    aside="text",
)
CHUNKS = Table(
    "chunks",
    tuple("row document_row start end body_start heading_path tokens embedding_key".split()),
)
EMBEDDINGS = Table("embeddings", ("key",), "vector")
STATES = Table(
    "states",
    ("id", "created_at", "model", "dimension", "segments", "digest"),
    "document_rows",
)
SEGMENTS = Table("segments", ("name", "access", "files"), "chunk_rows")
FACTS = Table("facts", ("name", "value"))

ALL = (DOCUMENTS, CHUNKS, EMBEDDINGS, STATES, SEGMENTS, FACTS)


def statements(script: str) -> Iterator[str]:
    """The statements of a script, which has no semicolon elsewhere."""
    return (statement for statement in map(str.strip, script.split(";")) if statement)


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """What a file says its tables and indexes are, apart from SQLite's own."""
    return [
        tuple(row)
        for row in connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' "
            "ORDER BY name"
        )
    ]


@cache
def expected_schema() -> list[tuple[str, ...]]:
    """What a file of this format says."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements(TABLES):
            connection.execute(statement)
        return schema_of(connection)

"""Catalogs of former formats, brought up to date in one transaction; nothing is embedded again.

Format 1 kept one set of files a state; only its current state is taken over, and its files are made
anew. Formats 1 and 2 had checksums for texts, vectors and the rows of segments alone: what has one is
checked on the way.
"""

import json
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from index.catalog.rows import digest_of, packed
from index.catalog.tables import CHUNKS, DOCUMENTS, EMBEDDINGS, SEGMENTS, STATES
from index.schema import content_hash

if TYPE_CHECKING:
    from index.catalog.database import Database

FORMER = (1, 2)

OLD = ("documents", "chunks", "embeddings", "states", "state_documents", "current_state")
OLD_OF_2 = ("segments", "sources")

DOCUMENTS_OF = {
    1: "SELECT *, source AS item, '' AS source_name FROM old_documents WHERE row IN (SELECT "
    "document_row FROM old_state_documents WHERE state_id IN (SELECT state_id FROM old_current_state))",
    2: "SELECT * FROM old_documents",
}
STATES_OF = {
    1: "SELECT *, '[]' AS segments FROM old_states WHERE id IN (SELECT state_id FROM old_current_state)",
    2: "SELECT * FROM old_states",
}
INDEXES = ("chunks_of_document", "chunks_by_embedding", "states_of_document")


def migrate(database: "Database", found: int) -> None:
    """Bring a catalog of format `found` up to date; raises `IndexUnavailable` where it is damaged."""
    tables = (*OLD, *(OLD_OF_2 if found == 2 else ()))
    if faults := database.check():
        raise database.damaged(faults[0])
    with database.transaction():
        if database.format() != found:  # another process has done so meanwhile
            return
        for table in tables:
            database.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
        for index in INDEXES:
            database.execute(f"DROP INDEX {index}")
        database.make_tables()
        seals = _take_documents(database, found)
        _take_states(database, found, seals)
        if found == 2:
            _take_segments_and_sources(database)
        for table in reversed(tables):  # those that refer to others first
            database.execute(f"DROP TABLE old_{table}")


def _take_documents(database: "Database", found: int) -> dict[int, int]:
    """Take over documents, chunks and vectors; returns the seals of documents by row."""
    last = 0
    for row in database.all(f"SELECT row FROM ({DOCUMENTS_OF[found]}) ORDER BY row"):
        (document,) = database.all(f"SELECT * FROM ({DOCUMENTS_OF[found]}) WHERE row = ?", row[0])
        chunks = database.all(
            "SELECT * FROM old_chunks WHERE document_row = ? ORDER BY row", row[0]
        )
        rows = [chunk["row"] for chunk in chunks]
        first = rows[0] if rows else 0
        text = document["text"]
        if content_hash(text) != document["text_sha256"]:
            raise database.damaged(f"the text of {document['source']} is not what was written")
        if rows != list(range(first, first + len(rows))):
            raise database.damaged(f"chunks of {document['source']} are missing")
        last = max(last, first + len(rows) - 1)
        counted = {
            "first_chunk": first,
            "chunk_count": len(rows),
            "tokens": sum(chunk["tokens"] for chunk in chunks),
        }
        known = dict(document) | counted
        database.insert(DOCUMENTS, [[*(known[name] for name in DOCUMENTS.columns), text]])
        database.insert(CHUNKS, ([chunk[name] for name in CHUNKS.columns] for chunk in chunks))
    database.insert(EMBEDDINGS, _vectors(database))
    seals = {row[0]: row[1] for row in database.all("SELECT row, seal FROM documents")}
    given = _given(database)
    database.set_fact(
        "numbers",
        {
            "documents": max(0, given.get("old_documents", 0), *seals),
            "chunks": max(last, given.get("old_chunks", 0)),
        },
    )
    return seals


def _given(database: "Database") -> dict[str, int]:
    """The numbers given last, by table, where the file has noted them."""
    if not database.all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
        return {}
    return {row[0]: row[1] for row in database.all("SELECT name, seq FROM sqlite_sequence")}


def _vectors(database: "Database") -> Iterator[tuple[str, bytes]]:
    for (key,) in database.all("SELECT key FROM old_embeddings"):
        (row,) = database.all("SELECT vector, crc32 FROM old_embeddings WHERE key = ?", key)
        if zlib.crc32(row["vector"]) != row["crc32"]:
            raise database.damaged("a stored vector is not what was written")
        yield key, row["vector"]


def _take_states(database: "Database", found: int, seals: dict[int, int]) -> None:
    for state in database.all(STATES_OF[found]):
        rows = sorted(
            row[0]
            for row in database.all(
                "SELECT document_row FROM old_state_documents WHERE state_id = ?", state["id"]
            )
        )
        if not seals.keys() >= set(rows):
            raise database.damaged(f"documents of its state {state['id']} are missing")
        known = dict(state) | {"digest": digest_of(seals[row] for row in rows)}
        database.insert(STATES, [[*(known[name] for name in STATES.columns), packed(rows)]])
    current = database.all("SELECT state_id FROM old_current_state")
    if current:
        database.set_fact("current", {"state": current[0][0], "number": 1, "left": {}})


def _take_segments_and_sources(database: "Database") -> None:
    for row in database.all("SELECT * FROM old_segments"):
        if zlib.crc32(row["chunk_rows"]) != row["crc32"]:
            raise database.damaged(f"the rows of segment {row['name']} are not what was written")
        database.insert(SEGMENTS, [[row["name"], row["access"], row["files"], row["chunk_rows"]]])
    sources = database.all("SELECT name, status FROM old_sources")
    database.set_fact("sources", {row["name"]: json.loads(row["status"]) for row in sources})

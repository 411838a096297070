"""Everything read and compared: what `casebook index verify` says of a catalog."""

import json
from collections.abc import Iterator, Sequence

from index.catalog.database import Database
from index.catalog.rows import digest_of, unpacked
from index.catalog.tables import ALL
from index.catalog.witness import read_witness, witness_path
from index.errors import IndexUnavailable
from index.schema import content_hash

SHOWN = 5
"""Rows that a message names; a page that is lost may hold a hundred."""


def check_catalog(database: Database) -> list[str]:
    """What is damaged, in words; empty when the catalog is whole."""
    found: list[str] = []
    for step in (_pages, _rows, _texts, _states, _chunks, _embeddings, _witness):
        try:
            found += step(database)
        except IndexUnavailable as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _pages(database: Database) -> Iterator[str]:
    for fault in database.check():
        yield str(database.damaged(fault))


def _rows(database: Database) -> Iterator[str]:
    for table in ALL:
        try:
            rows = database.broken(table)
        except IndexUnavailable as error:
            yield str(error)
        else:
            yield from _told(database, rows, f"{table.name} are not what was written")


def _texts(database: Database) -> Iterator[str]:
    rows = [row[0] for row in database.all("SELECT row FROM documents")]
    wrong = []
    for row in rows:
        for text, digest in database.all(
            "SELECT text, text_sha256 FROM documents WHERE row = ?", row
        ):
            if content_hash(str(text)) != digest:
                wrong.append(row)
    yield from _told(database, wrong, "texts are not what was written")


def _states(database: Database) -> Iterator[str]:
    seals = dict(map(tuple, database.all("SELECT row, seal FROM documents")))
    states = database.all("SELECT id, segments, digest, document_rows FROM states")
    segments = {row[0] for row in database.all("SELECT name FROM segments")}
    for state in states:
        rows = unpacked(state["document_rows"]).tolist()
        lost = [row for row in rows if row not in seals]
        yield from _told(database, lost, f"documents of state {state['id']} are missing")
        if not lost and digest_of(seals[row] for row in rows) != state["digest"]:
            yield str(
                database.damaged(f"the documents of state {state['id']} are not what they were")
            )
        gone = [name for name in json.loads(state["segments"]) if name not in segments]
        yield from _told(database, gone, f"segments of state {state['id']} are missing")
    current = database.fact("current")["state"]
    if current and current not in {state["id"] for state in states}:
        yield str(database.damaged(f"its state {current} is missing"))
    for name in ("identity", "numbers", "sources"):
        database.fact(name)


def _chunks(database: Database) -> Iterator[str]:
    owners = dict(map(tuple, database.all("SELECT row, document_row FROM chunks")))
    for row, first, count in database.all("SELECT row, first_chunk, chunk_count FROM documents"):
        lost = [each for each in range(first, first + count) if owners.get(each) != row]
        yield from _told(database, lost, f"chunks of document {row} are missing")


def _embeddings(database: Database) -> Iterator[str]:
    held: set[int] = set()  # what is staged may have no vectors yet
    for (rows,) in database.all("SELECT document_rows FROM states"):
        held.update(unpacked(rows).tolist())
    lost = database.all(
        "SELECT document_row, embedding_key FROM chunks NOT INDEXED "
        "WHERE embedding_key NOT IN (SELECT key FROM embeddings)"
    )
    keys = dict.fromkeys(key for row, key in lost if row in held)
    yield from _told(database, list(keys), "vectors are missing")


def _witness(database: Database) -> Iterator[str]:
    place = witness_path(database.path)
    if place.exists() and read_witness(database.path) is None:
        yield f"{place} is not what was written: the next publish writes it anew"
    database.verify_witness()


def _told(database: Database, rows: Sequence[object], what: str) -> Iterator[str]:
    if rows:
        named = ", ".join(map(str, rows[:SHOWN]))
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        yield str(database.damaged(f"{len(rows)} {what}: {named}{more}"))

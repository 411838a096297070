"""Catalogs as former versions wrote them: brought up to date by an ingestion, refused with the remedy
otherwise. `tests/data/formats/make.py` tells how they were made.
"""

import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.catalog import Catalog
from index.catalog.tables import FORMAT
from index.errors import IndexUnavailable
from index.reader import IndexReader
from index.retriever import retrieve
from index.store import OpenState, catalog_path, open_current, publish
from tests.conftest import ROOT

FORMATS = ROOT / "tests" / "data" / "formats"
FORMER = (1, 2)

KILLED = """
import os, signal, sys
from pathlib import Path
from index.catalog import Catalog, migration
migration._take_states = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Catalog(Path(sys.argv[1]), create=True)
"""


def laid_out(folder: Path, number: int) -> Path:
    path = catalog_path(folder)
    path.write_bytes(gzip.decompress((FORMATS / f"format{number}.sqlite.gz").read_bytes()))
    return path


def golden(number: int) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FORMATS / f"format{number}.json").read_text("utf-8"))
    return read


def vector(key: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    found = np.random.default_rng(sum(key.encode())).standard_normal(8).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found), dtype=np.float32)


def told(catalog: Catalog, state: OpenState) -> dict[str, Any]:
    documents = [
        [
            each.id, each.title, each.text, each.source, each.kind, each.revision, each.modified_at,
            each.ingested_at, sorted(each.access), dict(each.metadata),
        ]
        for each in catalog.documents(state.state.id)
    ]  # fmt: skip
    passages = [
        [
            passage.document.id, passage.chunk.start, passage.chunk.end,
            list(passage.chunk.heading_path), passage.chunk.tokens, passage.text,
        ]
        for document in documents
        for passage in catalog.passages_of(state.state.id, document[0])
    ]  # fmt: skip
    found = retrieve("how often is the drill", vector("ask"), state.segments, catalog, 10)
    hits = [[each.passage.text, round(each.scores["fused"], 4)] for each in found]
    return {"documents": documents, "passages": passages, "hits": hits}


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("number", FORMER)
def test_a_catalog_of_a_former_format_is_brought_up_to_date_with_the_same_quotes(
    tmp_path: Path, number: int
) -> None:
    laid_out(tmp_path, number)
    catalog = Catalog(catalog_path(tmp_path), create=True)
    state = catalog.current_state()
    assert state
    rows = [row.row for row in catalog.document_rows(state.id)]
    if number == 1:  # had one set of files a state: they are made anew
        with pytest.raises(IndexUnavailable, match="casebook ingest"):
            open_current(tmp_path, catalog)
        publish(tmp_path, catalog, "model", 8, rows)
    keys = [chunk.embedding_key for chunk in catalog.chunk_rows(rows)]
    assert not catalog.missing_embeddings(keys)
    assert np.array_equal(catalog.vectors(keys, 8), np.stack([vector(key) for key in keys]))
    assert told(catalog, open_current(tmp_path, catalog)) == golden(number)
    assert catalog.check() == []
    assert user_version(catalog_path(tmp_path)) == FORMAT
    catalog.close()
    reader = IndexReader(tmp_path)
    assert told(reader.catalog, reader.current()) == golden(number)


def test_what_format_2_knew_besides_documents_is_kept(tmp_path: Path) -> None:
    path = laid_out(tmp_path, 2)
    with closing(sqlite3.connect(path)) as database:
        before = [
            row[0] for row in database.execute("SELECT id FROM states ORDER BY created_at DESC")
        ]
        last = dict(database.execute("SELECT name, seq FROM sqlite_sequence"))
    catalog = Catalog(path, create=True)
    assert [state.id for state in catalog.states()] == before
    assert catalog.source_statuses()["docs"]["state"] == "done"
    assert catalog._db.fact("numbers") == {"documents": last["documents"], "chunks": last["chunks"]}
    _, older = catalog.states()
    catalog.make_current(older.id)
    assert any("Gone after" in each.text for each in catalog.documents(older.id))


@pytest.mark.parametrize("number", FORMER)
def test_a_former_format_is_refused_with_the_remedy_by_a_reader_which_changes_nothing(
    tmp_path: Path, number: int
) -> None:
    path = laid_out(tmp_path, number)
    with pytest.raises(IndexUnavailable, match=rf"format {number}.*casebook ingest"):
        IndexReader(tmp_path).current()
    assert user_version(path) == number


@pytest.mark.parametrize("create", [False, True])
def test_a_format_of_the_future_is_refused_with_the_remedy(tmp_path: Path, create: bool) -> None:
    path = catalog_path(tmp_path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 4")
    with pytest.raises(IndexUnavailable, match=r"format 4.*the version of Casebook that wrote it"):
        Catalog(path, create=create)


@pytest.mark.parametrize("number", FORMER)
def test_a_migration_that_is_killed_leaves_the_former_format(tmp_path: Path, number: int) -> None:
    path = laid_out(tmp_path, number)
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert user_version(path) == number
    catalog = Catalog(path, create=True)
    state = catalog.current_state()
    assert state
    assert [document.id for document in catalog.documents(state.id)] == [
        each[0] for each in golden(number)["documents"]
    ]


def outcome(path: Path, expected: dict[str, Any]) -> str:
    """What comes of opening a catalog that may be damaged, as an ingestion does."""
    try:
        catalog = Catalog(path, create=True)
        state = catalog.current_state()
        texts = [each.text for each in catalog.documents(state.id)] if state else []
    except IndexUnavailable as error:
        return "refused" if path.name in str(error) else "refused without a name"
    return "read" if texts == [each[2] for each in expected["documents"]] else "wrong"


@pytest.mark.parametrize("number", FORMER)
def test_a_damaged_catalog_of_a_former_format_is_never_brought_up_to_date_wrongly(
    tmp_path: Path, number: int
) -> None:
    """Bits flipped all over: what has a checksum is refused, and nothing but that is raised."""
    whole = laid_out(tmp_path, number).read_bytes()
    random = np.random.default_rng(number)
    outcomes = Counter[str]()
    for attempt in range(60):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        damaged = bytearray(whole)
        damaged[int(random.integers(len(whole)))] ^= 1 << int(random.integers(8))
        catalog_path(folder).write_bytes(damaged)
        outcomes[outcome(catalog_path(folder), golden(number))] += 1
        shutil.rmtree(folder)
    assert outcomes.keys() == {"read", "refused"}, outcomes

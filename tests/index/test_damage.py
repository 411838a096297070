"""Damage to any file of an index: it changes no answer, or it is repaired, or refused by name.

`pytest -rP tests/index/test_damage.py` shows what came of the damages.
"""

import json
import logging
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from index.catalog import Catalog
from index.catalog.tables import ALL
from index.errors import IndexUnavailable
from index.reader import IndexReader
from index.retriever import retrieve
from index.schema import Chunk, Document, DocumentId, EmbeddingKey, Revision
from index.store import catalog_path, publish

DAMAGES = 275
DIMENSION = 16
DOCUMENTS = 60
WORDS = "restore drill quarter freeze owner budget node cluster backup page alert rota".split()
QUERIES = ("restore drill", "who is the owner", "budget of the cluster")

FILES = (
    "catalog.sqlite",
    "catalog.sqlite-wal",
    "catalog.sqlite-shm",
    "catalog.sqlite-witness",
    "segments/0/vectors.faiss",
    "segments/0/lexical.npz",
    "segments/1/vectors.faiss",
    "segments/1/lexical.npz",
)

Bytes = Callable[[bytes, np.random.Generator], bytes]


# --- an index and what it says ----------------------------------------------------------------


def vector(key: str) -> NDArray[np.float32]:
    found = np.random.default_rng(list(key.encode())).standard_normal(DIMENSION)
    return np.asarray(found / np.linalg.norm(found), dtype=np.float32)


def add_page(catalog: Catalog, number: int, edition: str) -> int:
    random = np.random.default_rng(number)
    parts = [f"## Part {n}\n\n{' '.join(random.choice(WORDS, 30))} {edition}.\n" for n in range(4)]
    text = "".join(parts)
    ends = np.cumsum([len(part) for part in parts]).tolist()
    document = Document(
        DocumentId(f"page-{number}"),
        f"Seite {number} – größer",
        text,
        f"docs/page{number}.md",
        "page",
        Revision(edition),
        "2026-11-20T00:00:00+00:00" if number % 2 else None,
        "2026-11-24T10:00:00+00:00",
        frozenset({"public"} if number % 3 else {"team", "platform"}),
        "docs",
        {"project": "velero", "number": number},
    )
    chunks = [
        (
            Chunk(start, end, start, (document.title, f"Part {n}"), 31),
            EmbeddingKey(text[start:end]),
        )
        for n, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    keys = [key for _, key in chunks]
    catalog.add_embeddings(keys, np.stack([vector(key) for key in keys]))
    with catalog.transaction():
        return catalog.add_document(document, document.source, f"recipe:{edition}", chunks)


def build(folder: Path, edition: str) -> Iterator[Path]:
    """An index of two publishes: first as it is on disk after each of them, closed, and then with the
    second still in the log.
    """
    open_folder, closed_folder = folder / "open", folder / "closed"
    with closing(Catalog(catalog_path(open_folder), create=True)) as catalog:
        rows = [add_page(catalog, number, edition) for number in range(DOCUMENTS)]
        publish(open_folder, catalog, "model", DIMENSION, rows)
        catalog.set_source_status("docs", {"state": "done", "documents": DOCUMENTS})
    shutil.copytree(open_folder, folder / "first")
    yield folder / "first"
    catalog = Catalog(catalog_path(open_folder), create=True)
    rows[:3] = [add_page(catalog, number, f"{edition} again") for number in range(3)]
    publish(open_folder, catalog, "model", DIMENSION, rows)
    catalog.set_source_status("docs", {"state": "done", "documents": DOCUMENTS, "changed": 3})
    shutil.copytree(open_folder, folder / "logged")
    yield folder / "logged"
    catalog.close()
    shutil.copytree(open_folder, closed_folder)
    yield closed_folder


def told(reader: IndexReader) -> str:
    """All that a reader is told, as text."""
    state = reader.current()
    catalog = reader.catalog
    documents = catalog.documents(state.state.id)
    hits = [
        [hit.passage.row, hit.passage.text, hit.passage.document.title, hit.scores, hit.ranks]
        for shelves in (state.segments, state.readable(lambda labels: "public" in labels))
        for query in QUERIES
        for hit in retrieve(query, vector(query), shelves, catalog, 8)
    ]
    filtered = retrieve(
        QUERIES[0], vector(QUERIES[0]), state.segments, catalog, 5, frozenset({"page-1", "page-2"})
    )
    one = [catalog.document(state.state.id, each.id) for each in documents[::7]]
    passages = [catalog.passages_of(state.state.id, each.id) for each in documents[::20]]
    passages.append(catalog.passages(catalog.searched_rows(state.state.id).tolist()))
    return repr(
        (
            state.state,
            [(sorted(row.access), row.title, row.digest, row.source) for row in state.documents],
            [(each, sorted(each.access), sorted(each.metadata.items())) for each in documents],
            hits,
            [each.passage.row for each in filtered],
            [each and (each.id, each.text) for each in one],
            [(each.chunk, each.text) for found in passages for each in found],
            json.dumps(catalog.source_statuses()),
        )
    )


@dataclass(frozen=True)
class Made:
    """An index in three conditions, another of the same kind, and what the first says."""

    first: Path
    logged: Path
    closed: Path
    other: Path
    other_logged: Path
    golden: str

    def whole(self, name: str) -> Path:
        """The condition in which a file matters."""
        return self.logged if name.endswith(("-wal", "-shm")) else self.closed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("damage")
    first, logged, closed = build(base / "one", "one")
    _, other_logged, other = build(base / "two", "two")
    golden = []
    for folder in (logged, closed):
        copied = shutil.copytree(folder, base / f"read-{folder.name}")
        reader = IndexReader(copied)
        golden.append(told(reader))
        assert reader.current().repaired == ()
        assert reader.catalog.check() == []
        reader.close()
    assert golden[0] == golden[1]
    assert (logged / "catalog.sqlite-wal").stat().st_size > 50_000
    return Made(first, logged, closed, other, other_logged, golden[0])


# --- damages ----------------------------------------------------------------------------------


def flip(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def truncate(data: bytes, random: np.random.Generator) -> bytes:
    return data[: int(random.integers(len(data)))]


def zero(size: int) -> Bytes:
    def zeroed(data: bytes, random: np.random.Generator) -> bytes:
        at = int(random.integers(-(-len(data) // size))) * size
        return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]

    return zeroed


def emptied(data: bytes, random: np.random.Generator) -> bytes:
    return b""


KINDS: dict[str, tuple[int, Bytes]] = {
    "flipped": (150, flip),
    "truncated": (39, truncate),
    "zeroed 512": (40, zero(512)),
    "zeroed 4096": (40, zero(4096)),
    "emptied": (1, emptied),
}


def real_name(folder: Path, name: str) -> Path:
    """A file by its name in `FILES`, where segments are numbered by their labels."""
    if not name.startswith("segments"):
        return folder / name
    _, number, file = name.split("/")
    return sorted((folder / "segments").iterdir(), key=lambda each: each.name)[int(number)] / file


def swaps(made: Made, name: str) -> list[bytes]:
    """Files of the same kind: of another index, of before, and beside it."""
    folders = [made.other_logged if name.endswith(("-wal", "-shm")) else made.other, made.first]
    found = [real_name(folder, name) for folder in folders]
    if name.startswith("segments"):
        found.append(real_name(made.closed, name.translate(str.maketrans("01", "10"))))
    else:
        found.append(made.closed / "catalog.sqlite")
        found.append(made.other / "catalog.sqlite")
    whole = real_name(made.whole(name), name).read_bytes()
    others = [path.read_bytes() for path in found if path.exists()]
    return [other for other in others if other != whole]


def damages(made: Made, name: str) -> Iterator[tuple[str, bytes | None]]:
    """275 damages of a file, each with its kind; None deletes it."""
    data = real_name(made.whole(name), name).read_bytes()
    random = np.random.default_rng(list(name.encode()))
    exchanged = swaps(made, name)
    yield "deleted", None
    yield from (("swapped", other) for other in exchanged)
    for kind, (count, damage) in KINDS.items():
        yield from ((kind, damage(data, random)) for _ in range(count))
    rest = DAMAGES - 1 - len(exchanged) - sum(count for count, _ in KINDS.values())
    yield from (("flipped", flip(data, random)) for _ in range(rest))


def put(path: Path, data: bytes | None) -> None:
    path.unlink() if data is None else path.write_bytes(data)


# --- what comes of them -----------------------------------------------------------------------


def outcome(folder: Path, damaged: Path, golden: str) -> str:
    """What comes of reading a damaged index; any other error than a refusal is one of the test."""
    reader = IndexReader(folder)
    try:
        said = told(reader)
        repaired = reader.current().repaired
    except IndexUnavailable as error:
        named = damaged.name in str(error) or str(catalog_path(folder)) in str(error)
        gone = not catalog_path(folder).exists() and str(folder) in str(error)
        return "refused" if named or gone else f"refused without a name: {error}"
    finally:
        reader.close()
    if said != golden:
        return "a wrong answer"
    if not repaired:
        return "harmless"
    return "repaired" if repaired == (str(damaged),) else f"repaired another: {repaired}"


def check_finds_it(folder: Path) -> bool:
    """Whether the catalog's own check, too, finds what was refused."""
    if not catalog_path(folder).exists():
        return True
    try:
        with closing(Catalog(catalog_path(folder))) as catalog:
            return bool(catalog.check())
    except IndexUnavailable:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_harmless_or_repaired_or_refused_by_name(
    made: Made, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "casebook.index")
    table = Counter[tuple[str, str]]()
    for number, (kind, data) in enumerate(damages(made, name)):
        folder = shutil.copytree(made.whole(name), tmp_path / str(number))
        put(real_name(folder, name), data)
        came = outcome(folder, real_name(folder, name), made.golden)
        if came == "refused" and not check_finds_it(folder):
            came = "refused, but not found by check"
        table[kind, came] += 1
        shutil.rmtree(folder)
    print(f"{name}: {table.total()} damages")
    for (kind, came), count in sorted(table.items()):
        print(f"  {kind:12} {came:10} {count:4}")
    assert table.total() == DAMAGES
    assert {came for _, came in table} <= {"harmless", "repaired", "refused"}
    if name.startswith("segments"):  # every byte of these counts
        changed = sum(count for (_, came), count in table.items() if came == "repaired")
        assert changed > 0.9 * DAMAGES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["catalog.sqlite", "catalog.sqlite-wal"])
def test_damage_under_an_open_reader_changes_no_answer(
    made: Made, name: str, tmp_path: Path
) -> None:
    """The file is changed in place, before and after the reader has read all that there is."""
    table = Counter[str]()
    random = np.random.default_rng(7)
    for number in range(80):
        folder = shutil.copytree(made.whole(name), tmp_path / str(number))
        reader = IndexReader(folder)
        reader.current()
        reader.catalog._db.execute("PRAGMA cache_size = 1")  # so that pages are read anew
        if number % 2:
            told(reader)
        with (folder / name).open("r+b") as file:
            size = (folder / name).stat().st_size
            data = (folder / name).read_bytes()
            damaged = (flip, zero(4096))[number % 4 // 2](data, random)
            file.write(damaged)
            assert len(damaged) == size
        try:
            table["same" if told(reader) == made.golden else "a wrong answer"] += 1
        except IndexUnavailable as error:
            table["refused" if "catalog.sqlite" in str(error) else f"no name: {error}"] += 1
        reader.close()
        shutil.rmtree(folder)
    print(f"{name} under an open reader: {dict(table)}")
    assert table.keys() <= {"same", "refused"}


def test_a_catalog_of_which_the_last_publish_is_lost_is_refused(made: Made, tmp_path: Path) -> None:
    folder = shutil.copytree(made.logged, tmp_path / "index")
    (folder / "catalog.sqlite-wal").unlink()
    with pytest.raises(IndexUnavailable, match=r"published last is lost.*casebook index restore"):
        IndexReader(folder).current()


def test_an_older_catalog_and_that_of_another_index_are_refused(made: Made, tmp_path: Path) -> None:
    for number, (source, said) in enumerate([(made.first, "lost"), (made.other, "not the one")]):
        folder = shutil.copytree(made.closed, tmp_path / str(number))
        shutil.copy(source / "catalog.sqlite", folder)
        with pytest.raises(IndexUnavailable, match=rf"catalog\.sqlite.*{said}"):
            IndexReader(folder).current()


def test_what_was_moved_away_is_built_again(made: Made, tmp_path: Path) -> None:
    folder = shutil.copytree(made.closed, tmp_path / "index")
    catalog_path(folder).rename(tmp_path / "away.sqlite")
    with closing(Catalog(catalog_path(folder), create=True)) as catalog:
        publish(folder, catalog, "model", DIMENSION, [add_page(catalog, 1, "anew")])
    assert len(IndexReader(folder).current().documents) == 1


# --- row by row -------------------------------------------------------------------------------

CHANGED = """CASE typeof({0}) WHEN 'integer' THEN {0} + 1000000 WHEN 'text' THEN {0} || ' '
    WHEN 'blob' THEN zeroblob(length({0})) ELSE 'something' END"""

FIELDS = [
    (table.name, column)
    for table in ALL
    for column in (*table.columns, "seal", *filter(None, [table.blob, table.aside]))
]


def changed_by(made: Made, folder: Path, sql: str) -> tuple[str, list[str]]:
    """What comes of a change that SQLite finds nothing wrong with, and what the check says of it."""
    shutil.copytree(made.closed, folder)
    with closing(sqlite3.connect(catalog_path(folder))) as database, database:
        assert database.execute(sql).rowcount > 0
    came = outcome(folder, catalog_path(folder), made.golden)
    try:
        with closing(Catalog(catalog_path(folder))) as catalog:
            return came, catalog.check()
    except IndexUnavailable as error:
        return came, [str(error)]


@pytest.mark.parametrize(("table", "column"), FIELDS)
def test_every_field_of_every_row_is_sealed(
    made: Made, tmp_path: Path, table: str, column: str
) -> None:
    name = f'"{column}"'
    sql = f"UPDATE {table} SET {name} = {CHANGED.format(name)}"
    came, found = changed_by(made, tmp_path / "index", sql)
    assert found
    # Vectors are read where a segment is built, and not for an answer.
    assert came == ("harmless" if table == "embeddings" else "refused")


@pytest.mark.parametrize(
    ("table", "which"),
    [
        ("documents", "id = 'page-9'"),
        ("chunks", "row = (SELECT first_chunk + 1 FROM documents WHERE id = 'page-10')"),
        ("embeddings", "key = (SELECT max(key) FROM embeddings)"),
        ("states", "id = (SELECT value ->> 'state' FROM facts WHERE name = 'current')"),
        ("segments", "name = (SELECT max(name) FROM segments)"),
        *[("facts", f"name = '{name}'") for name in ("identity", "current", "sources", "numbers")],
    ],
)
def test_a_row_that_is_lost_is_missed(made: Made, tmp_path: Path, table: str, which: str) -> None:
    came, found = changed_by(made, tmp_path / "index", f"DELETE FROM {table} WHERE {which}")
    assert found
    unread = table == "embeddings" or "numbers" in which
    assert came == ("harmless" if unread else "refused")

"""The index on disk: atomic states, damage found and repaired, readers that keep their state."""

import json
import threading
from pathlib import Path

import pytest

from assistant.access.caller import LOCAL, anonymous
from index.catalog import Catalog
from index.catalog.tables import DOCUMENTS
from index.errors import Busy, IndexUnavailable, StorageFailed
from index.reader import IndexReader
from index.schema import content_hash
from index.store import catalog_path, open_current, publish, writing
from tests.conftest import READER, World
from tests.index.sealing import Row, rewrite


def state_files(world: World) -> list[Path]:
    state = IndexReader(world.index).current().state
    return sorted(
        path for name in state.segments for path in (world.index / "segments" / name).iterdir()
    )


@pytest.fixture
def filled(world: World) -> World:
    world.write("restore.md", "# Restore\n\nRun the restore drill every quarter.\n")
    world.write(
        "secret.md", "---\naccess: [platform]\n---\n# Secret\n\nOnly for the platform team.\n"
    )
    world.ingest()
    return world


def test_no_index_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="casebook ingest"):
        IndexReader(tmp_path / "nowhere").current()


def test_empty_index_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Catalog(catalog_path(tmp_path), create=True).close()
    with pytest.raises(IndexUnavailable, match=r"empty.*casebook ingest"):
        IndexReader(tmp_path).current()


def test_catalog_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    catalog_path(tmp_path).write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(IndexUnavailable, match=r"catalog\.sqlite.*damaged"):
        IndexReader(tmp_path).current()


def test_flipped_bit_in_a_stored_text_is_refused_by_name(filled: World) -> None:
    catalog = Catalog(catalog_path(filled.index))
    state = catalog.current_state_id()
    assert state
    with catalog.transaction():
        catalog._db.execute("UPDATE documents SET text = replace(text, 'quarter', 'century')")
    with pytest.raises(IndexUnavailable, match=r"restore\.md is not what was written"):
        catalog.documents(state)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "swap"])
def test_damaged_derived_file_is_named_and_rebuilt(filled: World, damage: str) -> None:
    answer = filled.ask("How often is the restore drill run?").answer
    for path in state_files(filled):
        whole = path.read_bytes()
        middle = len(whole) // 2
        damaged = {
            "flip": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "truncate": whole[:middle],
            "swap": b"another file altogether",
        }
        path.unlink() if damage == "delete" else path.write_bytes(damaged[damage])

        repaired = IndexReader(filled.index).current().repaired

        assert repaired == (str(path),)
        assert path.read_bytes() == whole
        assert filled.ask("How often is the restore drill run?").answer == answer


def test_only_shelves_with_the_callers_labels_are_readable(filled: World) -> None:
    state = IndexReader(filled.index).current()
    assert [each.labels for each in state.readable(READER.may_read)] == [{"public"}]
    assert len(state.readable(anonymous({"public", "platform"}).may_read)) == 2
    assert state.readable(anonymous(()).may_read) == ()
    assert len(state.readable(LOCAL.may_read)) == 2


def test_second_writer_is_told_to_wait(filled: World) -> None:
    with writing(filled.index), pytest.raises(Busy, match="another ingestion"):
        filled.ingest()


def test_reader_keeps_its_state_while_a_new_one_is_published(filled: World) -> None:
    reader = IndexReader(filled.index)
    before = reader.current()
    filled.write("restore.md", "# Restore\n\nRun the restore drill every week.\n")
    filled.ingest()

    rows = before.readable(READER.may_read)[0].rows
    assert "every quarter" in reader.catalog.passages(rows)[0].text
    assert reader.current().state.id != before.state.id


def test_interrupted_publish_leaves_the_old_state(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = IndexReader(filled.index).current().state.id

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    filled.write("restore.md", "# Restore\n\nRun the restore drill every week.\n")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(StorageFailed, match="No space"):
            filled.ingest()

    assert IndexReader(filled.index).current().state.id == before
    assert "every quarter" in filled.ask("How often is the restore drill run?").answer
    filled.ingest()
    assert "every week" in filled.ask("How often is the restore drill run?").answer


def test_readers_never_see_half_a_state_while_states_are_published(filled: World) -> None:
    """Every text read belongs to the state it was read from, through forty publishes."""
    catalog = Catalog(catalog_path(filled.index))
    dimension = filled.embedder.dimension
    first = catalog.current_state_id()
    filled.write("restore.md", "# Restore\n\nRun the restore drill every week.\n")
    filled.ingest()
    second = catalog.current_state_id()
    assert first is not None
    assert second is not None
    rows = [[row.row for row in catalog.document_rows(state)] for state in (first, second)]
    stop, seen, wrong = threading.Event(), set(), []

    def read() -> None:
        reader = IndexReader(filled.index)
        while not stop.is_set():
            state = reader.current()
            texts = {d.text for d in reader.catalog.documents(state.state.id)}
            chunks = {
                p.document.text for s in state.segments for p in reader.catalog.passages(s.rows)
            }
            seen.add(frozenset(texts))
            if texts != chunks:
                wrong.append((texts, chunks))

    threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        publish(filled.index, catalog, filled.embedder.name, dimension, rows[turn % 2])
    stop.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(seen) == 2


def test_nothing_on_disk_is_pickled(filled: World) -> None:
    for path in state_files(filled):
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.suffix in {".faiss", ".npz"}
    catalog = Catalog(catalog_path(filled.index))
    assert open_current(filled.index, catalog).repaired == ()


def test_a_row_that_another_document_was_given_is_read_anew(filled: World) -> None:
    catalog = Catalog(catalog_path(filled.index))
    state = catalog.current_state_id()
    assert state
    before = {document.row: document for document in catalog.document_rows(state)}
    (chunk, *_) = catalog.chunk_rows(list(before))
    assert "quarter" in catalog.passages([chunk.row])[0].text

    def change(row: Row) -> Row:
        text = row["text"].replace("quarter", "century")
        return row | {"text": text, "text_sha256": content_hash(text)}

    rewrite(catalog, DOCUMENTS, change)
    assert "century" in catalog.passages([chunk.row])[0].text


def test_a_transaction_that_failed_leaves_nothing_and_the_catalog_goes_on(filled: World) -> None:
    catalog = Catalog(catalog_path(filled.index))
    before = catalog.source_statuses()

    def cut_off() -> None:
        with catalog.transaction():
            catalog._db.set_fact("sources", {"notes": {}})
            raise StorageFailed("cut off")

    with pytest.raises(StorageFailed, match="cut off"):
        cut_off()
    assert catalog.source_statuses() == before
    catalog.set_source_status("notes", {"error": None})
    assert "notes" in catalog.source_statuses()

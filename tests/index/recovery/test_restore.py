"""Restoring: nothing is changed before everything is there and checked, and then all at once."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from index import reader as reader_module
from index.catalog import Catalog
from index.errors import Busy, CasebookError, InvalidInput, StorageFailed
from index.reader import IndexReader
from index.recovery import catalogs
from index.recovery.errors import Refused, SnapshotDamaged, SnapshotsUnavailable
from index.recovery.inventory import chosen
from index.recovery.restore import plan_restore, restore, restore_elsewhere
from index.recovery.settings import SnapshotSettings
from index.recovery.storage import FolderStorage, open_storage
from index.recovery.verify import verify_index
from index.store import OpenState, catalog_path, writing
from tests.conftest import World
from tests.index.recovery.kept import (
    NOON,
    Kept,
    bring_back,
    flip,
    golden,
    open_reader,
    quiet,
    s3_server,
    snapshot,
    tree,
)


@pytest.fixture
def folder(kept: Kept, tmp_path: Path) -> Path:
    return kept.copy(tmp_path / "index")


@pytest.mark.parametrize("turn", range(20))
def test_dry_run_changes_no_byte_and_no_time(kept: Kept, folder: Path, turn: int) -> None:
    """At rest, with a log that a writer left behind, served by a reader, restored once, damaged, and gone."""
    kind = turn % 6
    held = None
    if kind in (1, 2):
        held = Catalog(catalog_path(folder))
        held.set_source_status("a", {"turn": turn})
    if kind == 1:
        assert held is not None
        left = folder.parent / "left"
        shutil.copytree(folder, left)  # as after a crash: with the log, nobody has it open
        held.close()
        folder = left
    if kind == 3:
        bring_back(folder, kept.storage, kept.manifest)
    if kind == 4:
        catalog_path(folder).write_bytes(b"not a database" * 1000)
    if kind == 5:
        shutil.rmtree(folder)
    before = tree(folder.parent)
    store = tree(kept.store)
    plan = plan_restore(folder, kept.storage, kept.manifest)
    assert plan.state_after == kept.manifest.state
    assert plan.bytes_read == kept.manifest.stored_size
    if kind == 4:
        assert "damaged" in (plan.trouble_before or "")
    assert tree(folder.parent) == before
    assert tree(kept.store) == store
    if held is not None:
        held.close()


@pytest.mark.parametrize("turn", range(20))
def test_whole_restore_answers_as_the_snapshot_did(kept: Kept, folder: Path, turn: int) -> None:
    """Over an index at rest, one restored before, a damaged one, and none at all."""
    kind = turn % 4
    if kind == 1:
        bring_back(folder, kept.storage, kept.manifest)
    if kind == 2:
        flip(catalog_path(folder), turn / 20)
    if kind == 3:
        shutil.rmtree(folder)
    bring_back(folder, kept.storage, kept.manifest)
    assert verify_index(folder).findings == ()  # first: a reader would mend what is missing
    assert kept.answers(folder) == kept.kept
    assert catalogs.leftovers(folder) == []
    assert not list(folder.glob("catalog.sqlite-*"))  # a log that another catalog could take up


def test_restored_index_is_ingested_into_and_kept_like_any_other(world: World) -> None:
    page = "# Restore\n\nRun the restore drill every {}.\n"
    world.write("restore.md", page.format("quarter"))
    world.ingest()
    storage = FolderStorage(world.base / "store")
    made = snapshot(world.index, storage)
    world.write("restore.md", page.format("week"))
    world.ingest()
    bring_back(world.index, storage, made)
    assert "every quarter" in world.ask("How often is the restore drill run?").answer
    assert world.ingest().changed == 1
    assert "every week" in world.ask("How often is the restore drill run?").answer
    again = snapshot(world.index, storage, now=NOON.replace(hour=13))
    bring_back(world.index, storage, again)
    assert "every week" in world.ask("How often is the restore drill run?").answer
    assert verify_index(world.index).findings == ()


def test_nothing_of_former_restores_piles_up(kept: Kept, folder: Path) -> None:
    for _ in range(4):
        bring_back(folder, kept.storage, kept.manifest)
    assert len(list(catalogs.home(folder).iterdir())) == 2
    assert not list(folder.glob("*.tmp"))


# --- readers ----------------------------------------------------------------------------------


def test_open_reader_goes_over_to_what_was_restored(kept: Kept, folder: Path) -> None:
    with open_reader(folder) as reader:
        assert golden(reader, kept.queries) == kept.former
        bring_back(folder, kept.storage, kept.manifest)
        assert golden(reader, kept.queries) == kept.kept


def test_request_that_began_before_a_restore_ends_with_what_it_began_with(
    kept: Kept, folder: Path
) -> None:
    with open_reader(folder) as reader:
        began = reader.current()
        rows = [row for segment in began.segments for row in segment.rows.tolist()]
        before = reader.catalog.passages(rows)
        bring_back(folder, kept.storage, kept.manifest)
        other: list[object] = []
        thread = threading.Thread(target=lambda: other.append(reader.current().state.id))
        thread.start()
        thread.join()
        assert other == [kept.manifest.state]
        assert reader.catalog.passages(rows) == before
        assert reader.current().state.id == kept.manifest.state
        assert reader.catalog.current_state_id() == kept.manifest.state


def test_readers_see_one_index_or_the_other_through_many_restores(
    kept: Kept, folder: Path, tmp_path: Path
) -> None:
    after = snapshot(folder, FolderStorage(tmp_path / "store"))
    stop, seen = threading.Event(), set()
    wrong: list[object] = []

    def read() -> None:
        reader = IndexReader(folder)
        while not stop.is_set():
            try:
                found = golden(reader, kept.queries)
            except CasebookError as error:
                wrong.append(str(error))
                continue
            seen.add(found)
            if found not in (kept.former, kept.kept):
                wrong.append(found)
        reader.close()

    threads = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        bring_back(folder, kept.storage, kept.manifest)
        bring_back(folder, FolderStorage(tmp_path / "store"), after)
    stop.set()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
    assert len(seen) == 2


def test_index_exchanged_while_a_reader_opens_it_is_opened_again(
    kept: Kept, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far a catalog had come is noted beside it: the other one's note is not taken for damage."""
    later = FolderStorage(tmp_path / "store")
    made = snapshot(folder, later)
    bring_back(folder, kept.storage, kept.manifest)
    turns = []
    opening = reader_module.open_current

    def slow(place: Path, *given: Any) -> OpenState:
        turns.append(place)
        if len(turns) == 1:
            bring_back(folder, later, made)
        return opening(place, *given)

    monkeypatch.setattr(reader_module, "open_current", slow)
    with open_reader(folder) as reader:
        assert reader.current().state.id == made.state
    assert len(turns) == 2


# --- broken in the middle ---------------------------------------------------------------------


class _Failing(FolderStorage):
    """A store that goes away after so many bytes."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self._after = after

    def read(self, name: str) -> Iterator[bytes]:
        data = b"".join(super().read(name))
        yield data[: self._after]
        raise SnapshotsUnavailable(f"can't read {name}: the store is away")


@pytest.mark.parametrize("turn", range(20))
def test_restore_broken_by_its_store_leaves_the_former_index(
    kept: Kept, folder: Path, tmp_path: Path, turn: int
) -> None:
    """A bit flipped, a file cut off, another snapshot's file, or a store that goes away, at twenty places."""
    store = tmp_path / "store"
    shutil.copytree(kept.store, store)
    stored = store / kept.manifest.id / "catalog.sqlite.gz"
    share, kind = (turn + 0.5) / 20, turn % 4
    storage = FolderStorage(store)
    if kind == 0:
        flip(stored, share)
    elif kind == 1:
        stored.write_bytes(stored.read_bytes()[: int(share * stored.stat().st_size)])
    elif kind == 2:
        other = snapshot(folder, storage)
        shutil.copyfile(store / other.id / stored.name, stored)
    else:
        storage = _Failing(store, int(share * kept.manifest.stored_size))
    before = tree(folder)
    with pytest.raises((SnapshotDamaged, SnapshotsUnavailable), match=kept.manifest.id):
        bring_back(folder, storage, kept.manifest)
    after = tree(folder)
    ignored = {".", "catalogs", "write.lock"}
    assert {n: t for n, t in after.items() if n not in ignored} == {
        n: t for n, t in before.items() if n not in ignored
    }
    assert kept.answers(folder) == kept.former
    bring_back(folder, kept.storage, kept.manifest)
    assert kept.answers(folder) == kept.kept


def test_bucket_whose_server_dies_leaves_the_former_index(
    kept: Kept, folder: Path, credentials: None
) -> None:
    """The server is killed when the first piece has come, before anything is asked, and after a listing."""
    with s3_server() as (address, process):
        settings = SnapshotSettings(
            to="s3://backups", endpoint=address, region="r", allow_http=True
        )
        storage = open_storage(settings)
        made = snapshot(folder, storage)
        assert chosen(storage, None) == made
        bring_back(folder, storage, made)
        assert kept.answers(folder) == kept.former
        plan = plan_restore(folder, storage, made)
        process.kill()
        with pytest.raises(SnapshotsUnavailable, match="s3://backups"):
            restore(folder, storage, made, plan, quiet)
    assert kept.answers(folder) == kept.former


def test_restore_that_would_not_fit_is_refused_before_it_begins(
    kept: Kept, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(
        "index.recovery.restore.shutil.disk_usage", lambda path: usage._replace(free=1000)
    )
    before = tree(folder)
    with pytest.raises(StorageFailed, match=r"needs [\d,]+ bytes.*1,000 are free: free space"):
        bring_back(folder, kept.storage, kept.manifest)
    assert tree(folder) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where one can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        done = None
    if done is None or done.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield place
    subprocess.run(["umount", "-l", place], check=False)


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0, 1.5, 2.0])
def test_disk_that_fills_up_meanwhile_leaves_the_former_index(
    kept: Kept, small_disk: Path, share: float
) -> None:
    """Filled up to a share of the catalog's size: a restore takes more than twice that."""
    folder = kept.copy(small_disk / "index")
    plan = plan_restore(folder, kept.storage, kept.manifest)
    with open_reader(folder) as reader:
        assert golden(reader, kept.queries) == kept.former
        free = shutil.disk_usage(small_disk).free
        left = int(share * kept.manifest.size)
        (small_disk / "others").write_bytes(b"x" * (free - left))
        with pytest.raises(StorageFailed, match=r"No space left on device: free space"):
            restore(folder, kept.storage, kept.manifest, plan, quiet)
        assert golden(reader, kept.queries) == kept.former
        (small_disk / "others").unlink()
        bring_back(folder, kept.storage, kept.manifest)
        assert golden(reader, kept.queries) == kept.kept


def test_restore_waits_for_nobody_and_says_who_writes(kept: Kept, folder: Path) -> None:
    plan = plan_restore(folder, kept.storage, kept.manifest)
    with writing(folder), pytest.raises(Busy):
        restore(folder, kept.storage, kept.manifest, plan, quiet)


def test_index_that_went_on_since_the_plan_is_not_replaced(kept: Kept, folder: Path) -> None:
    plan = plan_restore(folder, kept.storage, kept.manifest)
    bring_back(folder, kept.storage, kept.manifest)
    with pytest.raises(Refused, match="new plan"):
        restore(folder, kept.storage, kept.manifest, plan, quiet)


# --- elsewhere --------------------------------------------------------------------------------


def test_test_restore_leaves_what_serves_alone(kept: Kept, folder: Path, tmp_path: Path) -> None:
    before = tree(folder)
    restore_elsewhere(tmp_path / "exercise", kept.storage, kept.manifest, quiet)
    assert tree(folder) == before
    assert kept.answers(tmp_path / "exercise") == kept.kept
    assert verify_index(tmp_path / "exercise").findings == ()


def test_test_restore_goes_into_no_folder_that_holds_something(
    kept: Kept, folder: Path, tmp_path: Path
) -> None:
    before = tree(folder)
    with pytest.raises(InvalidInput, match="not empty"):
        restore_elsewhere(folder, kept.storage, kept.manifest, quiet)
    assert tree(folder) == before
    store = tmp_path / "store"
    shutil.copytree(kept.store, store)
    flip(store / kept.manifest.id / "catalog.sqlite.gz")
    with pytest.raises(SnapshotDamaged):
        restore_elsewhere(tmp_path / "new", FolderStorage(store), kept.manifest, quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "store"]


def test_catalog_in_the_snapshot_that_is_not_the_one_it_names_is_refused(
    kept: Kept, folder: Path, tmp_path: Path
) -> None:
    """Every byte as written, and yet of another state than the manifest says."""
    wrong = kept.manifest.model_copy(update={"state": "20200101T000000Z-00000000"})
    with pytest.raises(SnapshotDamaged, match="its state is"):
        bring_back(folder, kept.storage, wrong)
    fewer = kept.manifest.model_copy(update={"documents": 3})
    with pytest.raises(SnapshotDamaged, match="another number of documents"):
        bring_back(folder, kept.storage, fewer)
    assert kept.answers(folder) == kept.former


def test_private_copy_is_of_the_log_as_well(kept: Kept, folder: Path) -> None:
    with closing(Catalog(catalog_path(folder))) as catalog:
        catalog.set_source_status("late", {"in": "the log"})
        with catalogs.private_copy(folder) as copy:
            assert copy.source_statuses()["late"] == {"in": "the log"}

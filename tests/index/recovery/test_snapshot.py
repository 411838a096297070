"""Snapshots: consistent, whole before they are named, and kept for as long as the settings say."""

import json
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from index.catalog import Catalog
from index.errors import IndexUnavailable, NotFound, StorageFailed
from index.recovery.errors import SnapshotDamaged, SnapshotsUnavailable
from index.recovery.inventory import chosen, listed
from index.recovery.manifest import Manifest
from index.recovery.snapshot import plan_snapshot, take_snapshot
from index.recovery.storage import FolderStorage, Storage
from index.recovery.verify import verify_snapshot
from index.store import catalog_path, publish, writing
from tests.index.recovery.kept import (
    AN_HOUR,
    NOON,
    Kept,
    bring_back,
    flip,
    quiet,
    snapshot,
)


def test_snapshot_says_what_it_holds(kept: Kept, storage: Storage, tmp_path: Path) -> None:
    made = snapshot(kept.copy(tmp_path / "index"), storage)
    (found,) = listed(storage)
    assert found.manifest == made
    with closing(Catalog(catalog_path(kept.folder))) as catalog:
        state = catalog.current_state()
    assert state is not None
    assert (made.state, made.model, made.dimension) == (state.id, state.model, state.dimension)
    assert (made.documents, made.chunks) == (14, 14)
    assert made.created_at == NOON
    assert [(file.name, file.stored_as) for file in made.files] == [
        ("catalog.sqlite", "catalog.sqlite.gz")
    ]
    assert verify_snapshot(storage, made, quiet).findings == ()
    assert not list((tmp_path / "index").glob("snapshot-*"))


def test_snapshot_taken_while_others_publish_is_of_one_moment(kept: Kept, tmp_path: Path) -> None:
    """Ten snapshots through some hundred publishes: each is whole and of a state that was published."""
    folder, storage = kept.copy(tmp_path / "index"), FolderStorage(tmp_path / "store")
    with closing(Catalog(catalog_path(folder))) as catalog:
        state = catalog.current_state()
        assert state is not None
        rows = [row.row for row in catalog.document_rows(state.id)]
    published, stop = {state.id}, threading.Event()

    def write() -> None:
        with closing(Catalog(catalog_path(folder), create=True)) as catalog:
            turn = 0
            while not stop.is_set():
                turn += 1
                with writing(folder):
                    now = publish(folder, catalog, state.model, state.dimension, rows[turn % 3 :])
                published.add(now.id)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [snapshot(folder, storage, keep=10, now=NOON + n * AN_HOUR) for n in range(10)]
    finally:
        stop.set()
        writer.join()
    assert {each.state for each in made} <= published
    for each in made:
        bring_back(tmp_path / each.id, storage, each)


def test_newest_are_kept_and_no_others(kept: Kept, storage: Storage, tmp_path: Path) -> None:
    folder = kept.copy(tmp_path / "index")
    made = [snapshot(folder, storage, keep=3, now=NOON + n * AN_HOUR).id for n in range(5)]
    assert [each.id for each in listed(storage)] == made[:1:-1]
    assert len(storage.sizes()) == 6


def test_plan_names_what_will_be_deleted(kept: Kept, storage: Storage, tmp_path: Path) -> None:
    folder = kept.copy(tmp_path / "index")
    first = snapshot(folder, storage)
    storage.write("20260301T110000Z-00000000/catalog.sqlite.gz", b"half")
    plan = plan_snapshot(folder, storage, 1, NOON + timedelta(days=2))
    assert (plan.drops, plan.sweeps) == ((first.id,), ("20260301T110000Z-00000000",))
    take_snapshot(folder, storage, plan, quiet)
    assert {name.partition("/")[0] for name in storage.sizes()} == {plan.id}


def test_snapshot_that_was_cut_off_is_never_offered_and_swept_after_a_day(
    kept: Kept, storage: Storage, tmp_path: Path
) -> None:
    folder = kept.copy(tmp_path / "index")
    cut_off = "20260301T130000Z-0123abcd"
    storage.write(f"{cut_off}/catalog.sqlite.gz", b"half of it")
    with pytest.raises(NotFound, match="casebook index snapshot"):
        chosen(storage, None)
    with pytest.raises(SnapshotDamaged, match="incomplete"):
        chosen(storage, cut_off)
    whole = snapshot(folder, storage)
    assert chosen(storage, None) == whole
    assert [each.trouble for each in listed(storage)] == ["incomplete", None]
    assert plan_snapshot(folder, storage, 7, NOON + 20 * AN_HOUR).sweeps == ()
    assert plan_snapshot(folder, storage, 7, NOON + 26 * AN_HOUR).sweeps == (cut_off,)


def test_damaged_snapshot_never_drives_out_one_that_is_whole(kept: Kept, tmp_path: Path) -> None:
    folder, storage = kept.copy(tmp_path / "index"), FolderStorage(tmp_path / "store")
    whole = snapshot(folder, storage)
    later = [snapshot(folder, storage, now=NOON + n * AN_HOUR) for n in (1, 2)]
    for each in later:
        (storage.folder / each.id / "catalog.sqlite.gz").unlink()
    plan = plan_snapshot(folder, storage, 2, NOON + 3 * AN_HOUR)
    assert plan.drops == ()
    assert chosen(storage, None) == whole


class _CutOff(FolderStorage):
    """A store that goes away after it has deleted one name."""

    def delete(self, names: Iterable[str]) -> None:
        super().delete([next(iter(names))])
        raise SnapshotsUnavailable("away")


def test_deletion_that_is_cut_off_leaves_something_incomplete(kept: Kept, tmp_path: Path) -> None:
    folder, storage = kept.copy(tmp_path / "index"), _CutOff(tmp_path / "store")
    first = snapshot(folder, storage)
    with pytest.raises(SnapshotsUnavailable):
        snapshot(folder, storage, keep=1, now=NOON + AN_HOUR)
    newest, older = listed(storage)
    assert newest.manifest is not None
    assert (older.id, older.trouble) == (first.id, "incomplete")


def test_what_others_keep_in_the_same_place_is_left_alone(
    kept: Kept, storage: Storage, tmp_path: Path
) -> None:
    storage.write("other/20200101T000000Z-00000000", b"theirs")
    folder = kept.copy(tmp_path / "index")
    for number in range(2):
        snapshot(folder, storage, keep=1, now=NOON + timedelta(days=number))
    assert "other/20200101T000000Z-00000000" in storage.sizes()


def test_every_flipped_bit_in_a_stored_file_is_found_without_restoring(
    kept: Kept, tmp_path: Path
) -> None:
    storage = FolderStorage(tmp_path / "store")
    made = snapshot(kept.copy(tmp_path / "index"), storage)
    stored = storage.folder / made.id / "catalog.sqlite.gz"
    whole = stored.read_bytes()
    for share in range(41):
        flip(stored, share / 40)
        (finding,) = verify_snapshot(storage, made, quiet).findings
        assert made.id in finding
        stored.write_bytes(whole)
    assert verify_snapshot(storage, made, quiet).findings == ()


def test_no_flipped_bit_in_a_manifest_goes_unseen(kept: Kept) -> None:
    data = kept.manifest.to_bytes()
    assert Manifest.from_bytes(data, kept.manifest.id) == kept.manifest
    for at in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 7
        try:
            found = Manifest.from_bytes(bytes(damaged), kept.manifest.id)
        except SnapshotDamaged:
            continue
        assert found == kept.manifest  # one kind of white space for another
    for cut in (0, 1, len(data) // 2):
        with pytest.raises(SnapshotDamaged, match="not what was written"):
            Manifest.from_bytes(data[:cut], kept.manifest.id)


def test_manifest_of_a_later_format_names_the_version_that_reads_it(kept: Kept) -> None:
    data = kept.manifest.model_copy(update={"format": 9, "casebook": "7.1"}).to_bytes()
    with pytest.raises(SnapshotDamaged, match=r"format 9.*7\.1"):
        Manifest.from_bytes(data, kept.manifest.id)


def test_manifest_under_another_name_is_refused(kept: Kept) -> None:
    with pytest.raises(SnapshotDamaged):
        Manifest.from_bytes(kept.manifest.to_bytes(), "20260301T120000Z-00000000")


def test_damaged_index_is_not_stored(kept: Kept, tmp_path: Path) -> None:
    folder, storage = kept.copy(tmp_path / "index"), FolderStorage(tmp_path / "store")
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute("UPDATE documents SET text = replace(text, 'quarter', 'century')")
    with pytest.raises(IndexUnavailable, match=r"no snapshot is taken.*restore"):
        snapshot(folder, storage)
    assert storage.sizes() == {}


def test_index_with_nothing_in_it_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="casebook ingest"):
        snapshot(tmp_path / "index", FolderStorage(tmp_path / "store"))
    Catalog(catalog_path(tmp_path / "empty"), create=True).close()
    with pytest.raises(IndexUnavailable, match="casebook ingest"):
        snapshot(tmp_path / "empty", FolderStorage(tmp_path / "store"))


class _Broken(FolderStorage):
    """A store that keeps other bytes than it was given, or goes away, at its n-th write."""

    def __init__(self, folder: Path, at: int, away: bool) -> None:
        super().__init__(folder)
        self._left, self._away = at, away

    def write(self, name: str, content: Path | bytes) -> None:
        self._left -= 1
        if self._left == 0 and self._away:
            raise SnapshotsUnavailable("away")
        super().write(name, content)
        if self._left == 0:
            flip(self.folder / name)


@pytest.mark.parametrize(("at", "away"), [(1, True), (2, True), (1, False)])
def test_snapshot_that_a_store_does_not_take_is_not_named_and_deletes_nothing(
    kept: Kept, tmp_path: Path, at: int, away: bool
) -> None:
    folder, storage = kept.copy(tmp_path / "index"), FolderStorage(tmp_path / "store")
    before = snapshot(folder, storage)
    broken = _Broken(storage.folder, at, away)
    with pytest.raises((SnapshotsUnavailable, SnapshotDamaged)):
        snapshot(folder, broken, keep=1, now=NOON + AN_HOUR)
    assert [each.manifest for each in listed(storage) if each.manifest] == [before]
    assert not list(folder.glob("snapshot-*"))


def test_full_disk_under_the_snapshots_is_named(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    folder = kept.copy(tmp_path / "index")
    monkeypatch.setattr("index.recovery.storage.os.fsync", full)
    with pytest.raises(StorageFailed, match="No space left on device: free space"):
        snapshot(folder, FolderStorage(tmp_path / "store"))
    assert listed(FolderStorage(tmp_path / "store")) == []


def test_listing_is_newest_first(kept: Kept, tmp_path: Path) -> None:
    folder, storage = kept.copy(tmp_path / "index"), FolderStorage(tmp_path / "store")
    made = [snapshot(folder, storage, now=NOON + n * AN_HOUR).id for n in (2, 0, 1)]
    assert [each.id for each in listed(storage)] == sorted(made, reverse=True)
    assert json.loads((storage.folder / made[0] / "manifest.json").read_text())["format"] == 1

"""What there is in a store of snapshots, and which of it is no longer kept."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from index.errors import NotFound
from index.recovery import manifest as manifests
from index.recovery.errors import SnapshotDamaged
from index.recovery.manifest import ID, Manifest
from index.recovery.storage import Storage

ABANDONED_AFTER = timedelta(days=1)
"""What is incomplete for longer is of a snapshot that was cut off: none takes a day."""


@dataclass(frozen=True)
class Listed:
    """A snapshot in the store. `trouble` says why it can't be restored; `manifest` is there otherwise."""

    id: str
    made_at: datetime
    stored_size: int
    names: tuple[str, ...]
    manifest: Manifest | None
    trouble: str | None = None


def listed(storage: Storage) -> list[Listed]:
    """Every snapshot in the store, newest first, also those that can't be restored."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, size in storage.sizes().items():
        snapshot_id, _, file = name.partition("/")
        if ID.fullmatch(snapshot_id) and file:
            found[snapshot_id][file] = size
    return [_looked_at(storage, each, found[each]) for each in sorted(found, reverse=True)]


def _looked_at(storage: Storage, snapshot_id: str, sizes: Mapping[str, int]) -> Listed:
    manifest, trouble = None, None
    if manifests.NAME not in sizes:
        trouble = "incomplete"
    else:
        try:
            data = b"".join(storage.read(f"{snapshot_id}/{manifests.NAME}"))
            manifest = Manifest.from_bytes(data, snapshot_id)
        except SnapshotDamaged as error:
            trouble = str(error).partition(": ")[0]
    for file in manifest.files if manifest else ():
        if sizes.get(file.stored_as) != file.stored_size:
            manifest, trouble = None, f"{file.stored_as} is missing or cut off"
    made_at = datetime.strptime(snapshot_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Listed(
        snapshot_id, made_at, sum(sizes.values()), tuple(sorted(sizes)), manifest, trouble
    )


def chosen(storage: Storage, snapshot_id: str | None) -> Manifest:
    """The manifest of a snapshot, or of the newest whole one; raises `NotFound`, `SnapshotDamaged`."""
    for each in listed(storage):
        if each.id == snapshot_id and each.manifest is None:
            raise SnapshotDamaged(
                f"snapshot {each.id} can't be used: {each.trouble}; choose another "
                "(`casebook index snapshots` lists them)"
            )
        if each.manifest is not None and snapshot_id in (None, each.id):
            return each.manifest
    what = f"snapshot {snapshot_id}" if snapshot_id else "whole snapshot"
    raise NotFound(
        f"no {what} in {storage.where}: `casebook index snapshots` lists those there are, "
        "`casebook index snapshot` takes one"
    )


def to_delete(
    found: Sequence[Listed], keep: int, now: datetime
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which snapshots go once there is one more: `(too old, incomplete)`.

    Whole ones alone count as kept, so what is damaged never drives out what is not; what has a manifest
    and is damaged goes when it is older than all that are kept.
    """
    whole = [each.id for each in found if each.manifest]
    kept = whole[: keep - 1]
    sweeps = tuple(
        each.id
        for each in found
        if not each.manifest
        and now - each.made_at > ABANDONED_AFTER
        and (manifests.NAME not in each.names or all(each.id < newer for newer in kept))
    )
    return tuple(whole[keep - 1 :]), sweeps


def delete(storage: Storage, snapshot_ids: set[str]) -> None:
    """Delete snapshots, the manifest of each first: what is cut off here is incomplete, never damaged."""
    for each in listed(storage) if snapshot_ids else ():
        if each.id in snapshot_ids:
            names = sorted(each.names, key=lambda name: name != manifests.NAME)
            storage.delete(f"{each.id}/{name}" for name in names)

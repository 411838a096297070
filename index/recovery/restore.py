"""Restoring: a snapshot is brought whole and checked beside the index, and only then exchanged for it."""

import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from index.catalog import Catalog, SegmentRow, State
from index.errors import CasebookError, IndexUnavailable, InvalidInput, StorageFailed
from index.files import on_disk, read_files, segment_folder
from index.recovery import catalogs
from index.recovery.catalogs import Origin
from index.recovery.disk import sync_folder
from index.recovery.errors import Refused, SnapshotDamaged
from index.recovery.manifest import Manifest
from index.recovery.storage import Storage
from index.recovery.verify import Report, cause, check_restored, contents, counts
from index.store import catalog_path, rebuild, verify_files, writing

DERIVED = 0.4
"""What is derived from a catalog takes at most this share of its size (measured: docs/recovery.md)."""


@dataclass(frozen=True)
class Standing:
    """What serves now; `trouble` says why it can't be told."""

    state: str | None
    documents: int
    chunks: int
    size: int
    trouble: str | None = None


@dataclass(frozen=True)
class RestorePlan:
    """What a restore will do: from which state to which, what is read and written, in bytes, what is set
    aside and what is removed for good.
    """

    snapshot: str
    source: str
    target: str
    state_before: str | None
    trouble_before: str | None
    state_after: str
    documents_before: int
    documents_after: int
    chunks_after: int
    bytes_read: int
    bytes_needed: int
    bytes_free: int
    sets_aside: str
    removes: tuple[str, ...]


def standing(folder: Path) -> Standing:
    """What serves now, read without leaving a trace."""
    path = catalog_path(folder)
    if not path.exists():
        return Standing(None, 0, 0, 0)
    size = path.stat().st_size
    try:
        with catalogs.private_copy(folder) as catalog:
            state = catalog.current_state()
            documents, chunks = counts(catalog, state) if state else (0, 0)
    except CasebookError as error:
        return Standing(None, 0, 0, size, cause(error))
    return Standing(state.id if state else None, documents, chunks, size)


def plan_restore(folder: Path, storage: Storage, manifest: Manifest) -> RestorePlan:
    """What restoring a snapshot would do; changes nothing."""
    before = standing(folder)
    plain = catalog_path(folder).exists() and catalogs.serving(folder) is None
    needed = int(manifest.size * (1 + DERIVED)) + (before.size if plain else 0)
    return RestorePlan(
        snapshot=manifest.id,
        source=storage.where,
        target=str(folder),
        state_before=before.state,
        trouble_before=before.trouble,
        state_after=manifest.state,
        documents_before=before.documents,
        documents_after=manifest.documents,
        chunks_after=manifest.chunks,
        bytes_read=manifest.stored_size,
        bytes_needed=needed,
        bytes_free=_free(folder),
        sets_aside=catalogs.serving(folder) or ("the catalog that serves now" if plain else ""),
        removes=_removes(folder),
    )


def _removes(folder: Path) -> tuple[str, ...]:
    came = catalogs.origin(folder)
    former = [came.former] if came and came.former else []
    return tuple(f"catalogs/{name}" for name in [*catalogs.leftovers(folder), *former])


def _free(folder: Path) -> int:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def restore(
    folder: Path, storage: Storage, manifest: Manifest, plan: RestorePlan, report: Report
) -> str | None:
    """Bring a snapshot beside the index, check every byte, and let it serve; returns the state that served.

    Until the last rename the former index serves on, whatever happens; it can be gone back to by
    `rollback` until the next restore. Ingestions wait meanwhile: what they wrote would be lost.
    """
    if plan.bytes_needed > plan.bytes_free:
        raise StorageFailed(
            f"a restore needs {plan.bytes_needed:,} bytes at {folder}, {plan.bytes_free:,} are free: "
            "free space on that disk, then try again; nothing was changed"
        )
    with writing(folder):
        before = standing(folder)
        _check_unchanged(plan, before)
        catalogs.sweep(folder)
        name = f"{manifest.id}-{uuid.uuid4().hex[:8]}"
        unfinished = catalogs.UNFINISHED + name
        staged = catalogs.home(folder, unfinished)
        try:
            segments = bring(staged, storage, manifest, report)
            _place_segments(staged, folder, segments)
            former = catalogs.set_aside(folder)
            catalogs.settle(folder, unfinished, name)
        except BaseException:  # an interruption, too, must leave no half of a snapshot
            shutil.rmtree(staged, ignore_errors=True)
            raise
        came = Origin(snapshot=manifest.id, state=manifest.state, former=former)
        catalogs.switch(folder, name, came)
        catalogs.sweep(folder)  # the index that an earlier restore had set aside
    return before.state


def _check_unchanged(plan: RestorePlan, now: Standing) -> None:
    """Raises where another state serves than the plan was made for, which nobody has seen the loss of."""
    if now.state == plan.state_before:
        return
    if now.trouble:
        raise IndexUnavailable(f"nothing was changed, as {now.trouble}: look at a new plan")
    raise Refused(
        f"the index is at state {now.state} now, the plan was made at {plan.state_before}: "
        "look at a new plan"
    )


def bring(staged: Path, storage: Storage, manifest: Manifest, report: Report) -> list[SegmentRow]:
    """An index of a snapshot in a new folder, with all that is derived, every byte checked.

    Raises `SnapshotDamaged`, `SnapshotsUnavailable`, `StorageFailed`.
    """
    with on_disk(staged):
        staged.mkdir(parents=True)
    path = catalog_path(staged)
    for file in manifest.files:
        if file.name != path.name:
            raise SnapshotDamaged(f"snapshot {manifest.id} holds {file.name}, which no index has")
        _fetch(staged / file.name, contents(storage, manifest, file, report))
    report("checking", 0, 1)
    with closing(Catalog(path, create=True)) as catalog:  # which brings a former format up to date
        check_restored(catalog, manifest)
        report("checking", 1, 1)
        report("building", 0, 1)
        state = catalog.current_state()
        assert state is not None  # it was compared with the manifest
        segments = _build(staged, catalog, state)
        report("building", 1, 1)
    return segments


def _fetch(path: Path, pieces: Iterable[bytes]) -> None:
    with on_disk(path), path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _build(folder: Path, catalog: Catalog, state: State) -> list[SegmentRow]:
    rebuild(folder, catalog, state)
    if damaged := verify_files(folder, catalog, state):
        raise StorageFailed(f"{damaged[0]} could not be written whole: check that disk")
    return catalog.segments(state.segments)


def _place_segments(staged: Path, folder: Path, segments: Sequence[SegmentRow]) -> None:
    """Put what is derived where the catalog will look for it; those that are there whole stay."""
    with on_disk(folder):
        (folder / "segments").mkdir(exist_ok=True)
    for segment in segments:
        here, there = segment_folder(staged, segment.name), segment_folder(folder, segment.name)
        if not read_files(there, segment.files)[1]:
            continue
        with on_disk(there):
            there.mkdir(exist_ok=True)
            for name in segment.files:
                (here / name).replace(there / name)
        sync_folder(there)
    sync_folder(folder / "segments")
    shutil.rmtree(staged / "segments", ignore_errors=True)


def restore_elsewhere(to: Path, storage: Storage, manifest: Manifest, report: Report) -> None:
    """Restore into a new folder that serves nothing: the exercise before an incident."""
    if to.exists() and any(to.iterdir()):
        raise InvalidInput(f"{to} is not empty: name a folder that is, or none yet")
    to_be = to.with_name(f"{to.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        bring(to_be, storage, manifest, report)
        with on_disk(to):
            to_be.rename(to)
    except BaseException:  # an interruption, too, must leave nothing behind
        shutil.rmtree(to_be, ignore_errors=True)
        raise

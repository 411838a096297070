"""Snapshots: a consistent copy of the catalog in a place of its own, and how long they are kept.

Only the catalog is stored. What is derived from it is built again in a restore, without embedding:
docs/recovery.md has what that costs and saves.
"""

import gzip
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from index.catalog import Catalog
from index.catalog.tables import FORMAT as INDEX_FORMAT
from index.errors import IndexUnavailable
from index.files import on_disk
from index.recovery import manifest as manifests
from index.recovery.inventory import ABANDONED_AFTER, delete, listed, to_delete
from index.recovery.manifest import Manifest, StoredFile, file_digest
from index.recovery.storage import Storage
from index.recovery.verify import Report, contents, counts
from index.store import catalog_path

LEVEL = 1
"""Of gzip: docs/recovery.md has sizes and times of the levels."""

UNFINISHED = "snapshot-"
COPIED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class SnapshotPlan:
    """What a snapshot will do: of which state, where to, how many bytes are read, and what is deleted
    after as too old (`drops`) or incomplete (`sweeps`).
    """

    id: str
    to: str
    state: str
    documents: int
    chunks: int
    bytes_read: int
    keep: int
    drops: tuple[str, ...]
    sweeps: tuple[str, ...]


def plan_snapshot(folder: Path, storage: Storage, keep: int, now: datetime) -> SnapshotPlan:
    """What taking a snapshot now would do; raises `IndexUnavailable` where there is nothing to keep."""
    path = catalog_path(folder)
    with closing(Catalog(path)) as catalog:
        state = catalog.current_state()
        if state is None:
            raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
        documents, chunks = counts(catalog, state)
    drops, sweeps = to_delete(listed(storage), keep, now)
    return SnapshotPlan(
        id=f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}",
        to=storage.where,
        state=state.id,
        documents=documents,
        chunks=chunks,
        bytes_read=path.stat().st_size,
        keep=keep,
        drops=drops,
        sweeps=sweeps,
    )


def take_snapshot(folder: Path, storage: Storage, plan: SnapshotPlan, report: Report) -> Manifest:
    """Copy, check, store, read back, and only then name what was stored; then delete what the plan says.

    Writers go on meanwhile. Raises `IndexUnavailable` for a catalog that is damaged: storing it
    would drive out snapshots that are not.
    """
    with _scratch(folder, plan.id) as scratch:
        copy = scratch / catalog_path(folder).name
        report("copying", 0, 1)
        with closing(Catalog(catalog_path(folder))) as catalog:
            catalog.copy_to(copy)
        report("copying", 1, 1)
        manifest = _described(copy, plan.id, report)
        for file in manifest.files:
            report("storing", 0, file.stored_size)
            storage.write(f"{plan.id}/{file.stored_as}", scratch / file.stored_as)
            report("storing", file.stored_size, file.stored_size)
            for _ in contents(storage, manifest, file, report):
                pass
    storage.write(f"{plan.id}/{manifests.NAME}", manifest.to_bytes())
    delete(storage, {*plan.drops, *plan.sweeps})
    return manifest


@contextmanager
def _scratch(folder: Path, snapshot_id: str) -> Iterator[Path]:
    """A folder on the disk of the index, as that has the room; those of snapshots cut off are removed."""
    for old in folder.glob(f"{UNFINISHED}*"):
        begun = datetime.fromtimestamp(old.stat().st_mtime, UTC)
        if datetime.now(UTC) - begun > ABANDONED_AFTER:
            shutil.rmtree(old, ignore_errors=True)
    scratch = folder / f"{UNFINISHED}{snapshot_id}"
    with on_disk(scratch):
        scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _described(copy: Path, snapshot_id: str, report: Report) -> Manifest:
    """The manifest of a copy that is whole, which is packed beside it."""
    with closing(Catalog(copy)) as catalog:
        if findings := catalog.check():
            raise IndexUnavailable(
                f"no snapshot is taken of what is damaged ({findings[0]}); "
                "`casebook index repair` or `restore` comes first"
            )
        state = catalog.current_state()
        assert state is not None  # the plan saw one, and states don't go
        documents, chunks = counts(catalog, state)
    return Manifest(
        format=manifests.FORMAT,
        id=snapshot_id,
        casebook=version("casebook"),
        index_format=INDEX_FORMAT,
        state=state.id,
        created_at=datetime.strptime(snapshot_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        model=state.model,
        dimension=state.dimension,
        documents=documents,
        chunks=chunks,
        files=(_packed(copy, report),),
    )


def _packed(path: Path, report: Report) -> StoredFile:
    packed = path.with_name(f"{path.name}.gz")
    size = path.stat().st_size
    with (
        on_disk(packed),
        path.open("rb") as source,
        gzip.GzipFile(packed, "wb", LEVEL, mtime=0) as target,
    ):
        _copy(source, target, size, report)
    return StoredFile(
        name=path.name,
        size=size,
        sha256=file_digest(path),
        stored_as=packed.name,
        stored_size=packed.stat().st_size,
        stored_sha256=file_digest(packed),
    )


def _copy(source: BinaryIO, target: gzip.GzipFile, size: int, report: Report) -> None:
    done = 0
    while piece := source.read(COPIED_AT_ONCE):
        target.write(piece)
        done += len(piece)
        report("packing", done, size)

"""Publishing: the segments of a new state are written, then one transaction makes it the current one."""

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from index.catalog import Catalog, ChunkRow, SegmentRow, State, utc_now
from index.errors import Busy, CasebookError, StorageFailed
from index.files import on_disk, sweep
from index.schema import Labels, StateId
from index.segments import write_segment

log = logging.getLogger("casebook.index")

ABSORBED = 2
"""A new segment takes in those of less than twice its size, so sizes at least double and a shelf of a
hundred thousand chunks has at most some dozen."""

MOST_GONE = 0.3
"""Share of a segment's chunks that may be gone before it is written anew."""


@contextmanager
def writing(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold the index for writing; raises `Busy` where another does for more than `wait` seconds.

    The system lets go of the lock when its holder ends, however it ends.
    """
    place = folder / "write.lock"
    lock = FileLock(place, timeout=wait)
    with on_disk(place):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise Busy(f"another ingestion is writing to {folder}: wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def publish(
    folder: Path, catalog: Catalog, model: str, dimension: int, document_rows: Sequence[int]
) -> State:
    """Write the segments that a new state of these documents needs and make it the current one.

    Raises `StorageFailed`, and leaves the state that was, where the disk does not take it. Call it
    while `writing`.
    """
    _sweep_unused(folder, catalog)  # first, as a disk may be full of what was cut off before
    try:
        state, fresh = _written(folder, catalog, model, dimension, document_rows)
        catalog.publish(state, document_rows, fresh)
    except BaseException:
        with suppress(CasebookError):
            _sweep_unused(folder, catalog)
        raise
    try:
        catalog.drop_old_states(utc_now())
        _sweep_unused(folder, catalog)
    except StorageFailed as error:  # the new state is there: the next publish tidies up
        log.warning("published, but old states are not dropped yet: %s", error)
    shutil.rmtree(folder / "states", ignore_errors=True)  # of format 1
    return state


def _written(
    folder: Path, catalog: Catalog, model: str, dimension: int, document_rows: Sequence[int]
) -> tuple[State, list[SegmentRow]]:
    """A new state, and those of its segments that had to be written."""
    now = utc_now()
    current = catalog.current_state()
    before = catalog.segments(current.segments) if current else []
    kept, fresh = [], []
    for labels, chunks in _shelves(catalog, document_rows).items():
        of_shelf = [segment for segment in before if segment.labels == labels]
        stays, left = _plan(of_shelf, [chunk.row for chunk in chunks])
        kept += stays
        if left:
            fresh.append(write_segment(folder, catalog, labels, left, dimension))
    state = State(
        StateId(f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"),
        now.isoformat(),
        model,
        dimension,
        (*kept, *(segment.name for segment in fresh)),
    )
    return state, fresh


def _shelves(catalog: Catalog, document_rows: Sequence[int]) -> dict[Labels, list[ChunkRow]]:
    """The chunks of some documents by their labels, in the order of labels, documents and texts."""
    shelves: dict[Labels, list[ChunkRow]] = {}
    for chunk in catalog.chunk_rows(document_rows):
        shelves.setdefault(chunk.access, []).append(chunk)
    return {labels: shelves[labels] for labels in sorted(shelves, key=sorted)}


def _plan(before: Sequence[SegmentRow], rows: list[int]) -> tuple[list[str], list[int]]:
    """Which segments of a shelf stay as they are, and the rows, in order, of one that is new."""
    wanted = np.array(rows, dtype=np.int64)
    alive = [np.isin(segment.chunk_rows, wanted) for segment in before]
    left = set(rows).difference(*(segment.chunk_rows.tolist() for segment in before))
    stays = []
    for segment, held in sorted(
        zip(before, alive, strict=True), key=lambda pair: (pair[1].sum(), pair[0].name)
    ):
        size, count = len(held), int(held.sum())
        if count == 0:
            continue
        if count < ABSORBED * len(left) or size - count > MOST_GONE * size:
            left.update(segment.chunk_rows[held].tolist())
        else:
            stays.append(segment.name)
    return stays, [row for row in rows if row in left]


def _sweep_unused(folder: Path, catalog: Catalog) -> None:
    sweep(folder, {name for state in catalog.states() for name in state.segments})

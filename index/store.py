"""The index on disk: a catalog, and for each segment a folder of files derived from it.

    index/catalog.sqlite                 the truth, and which state is current
    index/segments/<name>/vectors.faiss  vectors of a segment
    index/segments/<name>/lexical.npz    its lexical postings

A shelf, all chunks that share one set of labels, is one segment or several: what is new goes into a
small one, so a change to one page does not write the others again, and small ones are merged as
they add up (O'Neil et al., *The log-structured merge-tree*, 1996). What is deleted stays in its
segment and is passed over, as if it had never been there.

Files are written and synced before the catalog names the state that uses them, in one transaction,
so at any moment there is the old state or the new one. The catalog keeps the SHA-256 of each file:
a file is checked before it is loaded, and built again from the catalog where it is not whole.
"""

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from index import lexical, vectors
from index.catalog import Catalog, ChunkRow, DocumentRow, SegmentRow, State, utc_now
from index.errors import Busy, IndexUnavailable
from index.lexical import LexicalShelf
from index.schema import Labels, StateId, content_hash

log = logging.getLogger("casebook.index")


VECTORS = "vectors.faiss"
LEXICAL = "lexical.npz"

ABSORBED = 2
"""A new segment takes in those of less than twice its size, so sizes at least double and a shelf of a
hundred thousand chunks has at most some dozen."""

MOST_GONE = 0.3
"""Share of a segment's chunks that may be gone before it is written anew."""

MayRead = Callable[[Labels], bool]
"""Whether a caller may read what carries these labels."""


@dataclass(frozen=True)
class Segment:
    """Chunks that share one set of labels; position `i` in its files is chunk `rows[i]`.

    Positions in `gone`, `(m,) int64`, are of chunks that the state does not hold any more.
    """

    name: str
    labels: Labels
    rows: NDArray[np.int64]
    faiss: Any
    lexical: LexicalShelf
    gone: NDArray[np.int64]

    @property
    def chunk_count(self) -> int:
        """Chunks that are searched."""
        return len(self.rows) - len(self.gone)


@dataclass(frozen=True)
class OpenState:
    """A state in memory. `repaired` names the files that were damaged and built again."""

    state: State
    segments: tuple[Segment, ...]
    documents: tuple[DocumentRow, ...]
    repaired: tuple[str, ...] = ()

    def readable(self, may_read: MayRead) -> tuple[Segment, ...]:
        """The segments that a caller may read."""
        return tuple(segment for segment in self.segments if may_read(segment.labels))

    @cached_property
    def _views(self) -> dict[frozenset[Labels], str]:
        return {}

    def view_id(self, may_read: MayRead) -> str:
        """What tells two states apart for a caller: a hash of all that it may read, so that a change to
        what is hidden from it shows nowhere.
        """
        shelves = {document.access for document in self.documents}
        readable = frozenset(labels for labels in shelves if may_read(labels))
        if readable not in self._views:
            self._views[readable] = content_hash(
                *(
                    part
                    for document in self.documents
                    if document.access in readable
                    for part in (document.id, document.digest)
                )
            )[:16]
        return self._views[readable]


def catalog_path(folder: Path) -> Path:
    """Where the catalog of an index folder lies."""
    return folder / "catalog.sqlite"


@contextmanager
def writing(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold the index for writing; raises `Busy` where another does for more than `wait` seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "write.lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"another ingestion is writing to {folder}: wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


# --- publishing -------------------------------------------------------------------------------


def publish(
    folder: Path, catalog: Catalog, model: str, dimension: int, document_rows: Sequence[int]
) -> State:
    """Write the segments that a new state of these documents needs and make it the current one."""
    now = utc_now()
    current = catalog.current_state()
    before = catalog.segments(current.segments) if current else []
    kept, fresh = [], []
    for labels, chunks in _shelves(catalog, document_rows).items():
        of_shelf = [segment for segment in before if segment.labels == labels]
        stays, left = _plan(of_shelf, [chunk.row for chunk in chunks])
        kept += stays
        if left:
            fresh.append(_write_segment(folder, catalog, labels, left, dimension))
    state = State(
        StateId(f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"),
        now.isoformat(),
        model,
        dimension,
        (*kept, *(segment.name for segment in fresh)),
    )
    catalog.publish(state, document_rows, fresh)
    used = catalog.drop_old_states(now)
    for leftover in (folder / "segments").iterdir():
        if leftover.name not in used:
            shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder / "states", ignore_errors=True)  # of format 1
    return state


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


def _write_segment(
    folder: Path, catalog: Catalog, labels: Labels, rows: Sequence[int], dimension: int
) -> SegmentRow:
    name = uuid.uuid4().hex[:16]
    files = _derive(catalog, rows, dimension)
    _write_files(folder / "segments" / name, files)
    return SegmentRow(name, labels, np.array(rows, dtype=np.int64), _digests(files))


def _derive(catalog: Catalog, rows: Sequence[int], dimension: int) -> dict[str, bytes]:
    """The files of a segment of these chunks as bytes, by name."""
    matrix = catalog.vectors(catalog.embedding_keys(rows), dimension)
    return {
        VECTORS: vectors.to_bytes(vectors.build(matrix)),
        LEXICAL: lexical.to_bytes(lexical.build_shelf(_texts(catalog, rows))),
    }


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: _sha256(data) for name, data in files.items()}


def _texts(catalog: Catalog, rows: Sequence[int]) -> list[str]:
    return [passage.contextual_text for passage in catalog.passages(rows)]


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write and sync each file, then the folders that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        unfinished = folder / f"{name}.tmp"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / name)
    for parent in (folder, folder.parent, folder.parent.parent):
        _sync_folder(parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems can't open a folder, and need not
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- opening ----------------------------------------------------------------------------------


def open_current(
    folder: Path, catalog: Catalog, known: Mapping[str, Segment] | None = None
) -> OpenState:
    """Load the current state, every byte checked; raises `IndexUnavailable` where there is none.

    Segments in `known`, by name, are taken as they are.
    """
    state = catalog.current_state()
    rows = catalog.searched_rows(state.id) if state else np.empty(0, dtype=np.int64)
    if state is None or (rows.size and not state.segments):  # the latter came from format 1
        raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
    repaired: list[str] = []
    segments = []
    for row in catalog.segments(state.segments):
        segment = _still_good(known or {}, row, rows)
        segments.append(
            _searched(segment or _load(folder, catalog, state, row, rows, repaired), rows)
        )
    return OpenState(
        state, tuple(segments), tuple(catalog.document_rows(state.id)), tuple(repaired)
    )


def _still_good(
    known: Mapping[str, Segment], row: SegmentRow, rows: NDArray[np.int64]
) -> Segment | None:
    """The segment as it is in memory, unless a chunk that was gone from it has come back, as happens
    when an edit is undone.
    """
    segment = known.get(row.name)
    if segment is None or np.isin(segment.rows[segment.gone], rows).any():
        return None
    return segment


def _searched(segment: Segment, rows: NDArray[np.int64]) -> Segment:
    """A segment with what the state does not hold passed over."""
    gone = np.flatnonzero(~np.isin(segment.rows, rows))
    if np.array_equal(gone, segment.gone):
        return segment
    return replace(segment, gone=gone, lexical=segment.lexical.without(gone))


def _load(
    folder: Path,
    catalog: Catalog,
    state: State,
    row: SegmentRow,
    rows: NDArray[np.int64],
    repaired: list[str],
) -> Segment:
    """A segment from its files, or from the catalog where they are not what was written."""
    place = folder / "segments" / row.name
    files, damaged = _read_files(place, row)
    if damaged:
        log.warning("damaged index files, built again from the catalog: %s", ", ".join(damaged))
        repaired += damaged
        held = row.chunk_rows[np.isin(row.chunk_rows, rows)]
        files = _derive(catalog, held.tolist(), state.dimension)
        row = replace(row, chunk_rows=held, files=_digests(files))
        _replace_files(place, catalog, files, row)
    return Segment(
        name=row.name,
        labels=row.labels,
        rows=row.chunk_rows,
        faiss=vectors.from_bytes(files[VECTORS]),
        lexical=lexical.from_bytes(files[LEXICAL]),
        gone=np.empty(0, dtype=np.int64),
    )


def _read_files(folder: Path, row: SegmentRow) -> tuple[dict[str, bytes], list[str]]:
    """The files of a segment, and the names of those that are missing or not what was written."""
    files: dict[str, bytes] = {}
    damaged = []
    for name, digest in row.files.items():
        try:
            data = (folder / name).read_bytes()
        except OSError:
            data = b""
        if _sha256(data) == digest:
            files[name] = data
        else:
            damaged.append(str(folder / name))
    return files, damaged


def _replace_files(
    folder: Path, catalog: Catalog, files: Mapping[str, bytes], row: SegmentRow
) -> None:
    """Put repaired files in place where that can be done; answers do not wait for it."""
    try:
        _write_files(folder, files)
    except OSError as error:
        log.warning("the repaired files could not be written to %s: %s", folder, error)
        return
    # What is gone is left out; and another version of FAISS or NumPy may write other bytes.
    catalog.replace_segment(row)

"""Segments: files derived from the catalog, for chunks that share their labels and are searched as one."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import lexical, vectors
from index.catalog import Catalog, SegmentRow, State
from index.errors import StorageFailed
from index.files import read_files, segment_folder, sha256, write_files
from index.lexical import LexicalShelf
from index.schema import Labels

log = logging.getLogger("casebook.index")

VECTORS = "vectors.faiss"
LEXICAL = "lexical.npz"


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

    def within(self, rows: NDArray[np.int64]) -> "Segment":
        """The segment with what is not among a state's rows passed over."""
        gone = np.flatnonzero(~np.isin(self.rows, rows))
        if np.array_equal(gone, self.gone):
            return self
        return replace(self, gone=gone, lexical=self.lexical.without(gone))


def write_segment(
    folder: Path, catalog: Catalog, labels: Labels, rows: Sequence[int], dimension: int
) -> SegmentRow:
    """Write the files of a new segment of these chunks; raises `StorageFailed`."""
    name = uuid.uuid4().hex[:16]
    files = _derive(catalog, rows, dimension)
    write_files(segment_folder(folder, name), files)
    return SegmentRow(name, labels, np.array(rows, dtype=np.int64), _digests(files))


def load_segment(
    folder: Path, catalog: Catalog, state: State, row: SegmentRow
) -> tuple[Segment, list[str]]:
    """A segment from its files, or from the catalog where they are not what was written; and which
    of them were not.
    """
    files, damaged = read_files(segment_folder(folder, row.name), row.files)
    if damaged:
        log.warning("damaged index files, built again from the catalog: %s", ", ".join(damaged))
        row, files = _derived_again(catalog, state, row)
        try:
            _put_in_place(folder, catalog, row, files)
        except StorageFailed as error:  # an answer does not wait for the disk
            log.warning("the repaired files are not kept: %s", error)
    segment = Segment(
        name=row.name,
        labels=row.labels,
        rows=row.chunk_rows,
        faiss=vectors.from_bytes(files[VECTORS]),
        lexical=lexical.from_bytes(files[LEXICAL]),
        gone=np.empty(0, dtype=np.int64),
    )
    return segment, damaged


def verify_files(folder: Path, catalog: Catalog, state: State) -> list[str]:
    """The files of a state that are missing or not what was written."""
    return [
        path
        for row in catalog.segments(state.segments)
        for path in read_files(segment_folder(folder, row.name), row.files)[1]
    ]


def rebuild(folder: Path, catalog: Catalog, state: State) -> list[str]:
    """Build those files of a state anew and return them; raises `StorageFailed`."""
    built = []
    for row in catalog.segments(state.segments):
        damaged = read_files(segment_folder(folder, row.name), row.files)[1]
        if damaged:
            _put_in_place(folder, catalog, *_derived_again(catalog, state, row))
            built += damaged
    return built


def _derive(catalog: Catalog, rows: Sequence[int], dimension: int) -> dict[str, bytes]:
    """The files of a segment of these chunks as bytes, by name."""
    matrix = catalog.vectors(catalog.embedding_keys(rows), dimension)
    texts = [passage.contextual_text for passage in catalog.passages(rows)]
    return {
        VECTORS: vectors.to_bytes(vectors.build(matrix)),
        LEXICAL: lexical.to_bytes(lexical.build_shelf(texts)),
    }


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(data) for name, data in files.items()}


def _derived_again(
    catalog: Catalog, state: State, row: SegmentRow
) -> tuple[SegmentRow, dict[str, bytes]]:
    """A segment and its files from what the catalog still holds of it, for any state that uses it."""
    held = row.chunk_rows[np.isin(row.chunk_rows, _rows_of(catalog, state, row.name))]
    files = _derive(catalog, held.tolist(), state.dimension)
    # What is gone is left out; and another version of FAISS or NumPy may write other bytes.
    return replace(row, chunk_rows=held, files=_digests(files)), files


def _rows_of(catalog: Catalog, state: State, name: str) -> NDArray[np.int64]:
    """The chunks of all states that use a segment: one that is older may be made current again."""
    states = {each.id for each in catalog.states() if name in each.segments} | {state.id}
    return np.unique(np.concatenate([catalog.searched_rows(each) for each in states]))


def _put_in_place(
    folder: Path, catalog: Catalog, row: SegmentRow, files: Mapping[str, bytes]
) -> None:
    write_files(segment_folder(folder, row.name), files)
    catalog.replace_segment(row)

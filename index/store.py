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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalog import Catalog, DocumentRow, SegmentRow, State
from index.errors import IndexUnavailable
from index.publishing import publish, writing
from index.schema import Labels, content_hash
from index.segments import Segment, load_segment, rebuild, verify_files

__all__ = [
    "MayRead",
    "OpenState",
    "Segment",
    "catalog_path",
    "open_current",
    "publish",
    "rebuild",
    "verify_files",
    "writing",
]

MayRead = Callable[[Labels], bool]
"""Whether a caller may read what carries these labels."""


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
        if segment is None:
            segment, damaged = load_segment(folder, catalog, state, row)
            repaired += damaged
        segments.append(segment.within(rows))
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

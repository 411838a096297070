"""The index on disk: a catalog, and for each state a folder of files derived from it.

    index/catalog.sqlite                 the truth, and which state is current
    index/states/<id>/shelf-0.faiss      vectors of the first shelf
    index/states/<id>/shelf-0.npz        its lexical postings
    index/states/<id>/shelves.json       which chunks and labels each shelf holds

A state's files are written and synced before the catalog names the state, in one transaction, so
at any moment there is the old state or the new one. The catalog keeps the SHA-256 of each file:
a file is checked before it is loaded, and built again from the catalog where it is not whole.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from index import lexical, vectors
from index.catalog import Catalog, ChunkRow, State, utc_now
from index.errors import Busy, IndexUnavailable
from index.lexical import LexicalShelf
from index.schema import Labels, StateId

log = logging.getLogger("casebook.index")


@dataclass(frozen=True)
class Shelf:
    """All chunks that share one set of labels; position `i` in its files is chunk `rows[i]`."""

    labels: Labels
    rows: NDArray[np.int64]
    faiss: Any
    lexical: LexicalShelf


@dataclass(frozen=True)
class OpenState:
    """A state in memory. `repaired` names the files that were damaged and built again."""

    state: State
    shelves: tuple[Shelf, ...]
    repaired: tuple[str, ...] = ()

    def readable(self, labels: Labels) -> tuple[Shelf, ...]:
        """The shelves that a caller with these labels may read."""
        return tuple(shelf for shelf in self.shelves if shelf.labels & labels)


def catalog_path(folder: Path) -> Path:
    """Where the catalog of an index folder lies."""
    return folder / "catalog.sqlite"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the index for writing; raises `Busy` where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "write.lock", timeout=0)
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
    """Write the files of a new state of these documents and make it the current one."""
    now = utc_now()
    files = _derive(catalog, document_rows, dimension)
    digests = {name: _sha256(data) for name, data in files.items()}
    state_id = StateId(f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}")
    _write_files(folder / "states" / state_id, files)
    state = State(state_id, now.isoformat(), model, dimension, digests)
    catalog.publish(state, document_rows)
    kept = catalog.drop_old_states(now)
    for leftover in (folder / "states").iterdir():
        if leftover.name not in kept:
            shutil.rmtree(leftover, ignore_errors=True)
    return state


def _derive(catalog: Catalog, document_rows: Sequence[int], dimension: int) -> dict[str, bytes]:
    """The files of a state as bytes, by name."""
    by_labels: dict[Labels, list[ChunkRow]] = {}
    for chunk in catalog.chunk_rows(document_rows):
        by_labels.setdefault(chunk.access, []).append(chunk)
    files: dict[str, bytes] = {}
    shelves = []
    for number, labels in enumerate(sorted(by_labels, key=sorted)):
        chunks = by_labels[labels]
        rows = [chunk.row for chunk in chunks]
        matrix = catalog.vectors([chunk.embedding_key for chunk in chunks], dimension)
        files[f"shelf-{number}.faiss"] = vectors.to_bytes(vectors.build(matrix))
        files[f"shelf-{number}.npz"] = lexical.to_bytes(lexical.build_shelf(_texts(catalog, rows)))
        shelves.append({"labels": sorted(labels), "rows": rows})
    files["shelves.json"] = json.dumps(shelves).encode()
    return files


def _texts(catalog: Catalog, rows: Sequence[int]) -> list[str]:
    return [passage.contextual_text for passage in catalog.passages(rows)]


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
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


def open_current(folder: Path, catalog: Catalog) -> OpenState:
    """Load the current state, every byte checked; raises `IndexUnavailable` where there is none."""
    state = catalog.current_state()
    if state is None:
        raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
    files, damaged = _read_files(folder / "states" / state.id, state)
    if damaged:
        log.warning("damaged index files, built again from the catalog: %s", ", ".join(damaged))
        rows = [document.row for document in catalog.document_rows(state.id)]
        files = _derive(catalog, rows, state.dimension)
        _replace_files(folder / "states" / state.id, catalog, files, state)
    shelves = tuple(
        Shelf(
            labels=frozenset(shelf["labels"]),
            rows=np.array(shelf["rows"], dtype=np.int64),
            faiss=vectors.from_bytes(files[f"shelf-{number}.faiss"]),
            lexical=lexical.from_bytes(files[f"shelf-{number}.npz"]),
        )
        for number, shelf in enumerate(json.loads(files["shelves.json"]))
    )
    return OpenState(state, shelves, tuple(damaged))


def _read_files(folder: Path, state: State) -> tuple[dict[str, bytes], list[str]]:
    """The files of a state, and the names of those that are missing or not what was written."""
    files: dict[str, bytes] = {}
    damaged = []
    for name, digest in state.files.items():
        try:
            data = (folder / name).read_bytes()
        except OSError:
            data = b""
        if _sha256(data) == digest:
            files[name] = data
        else:
            damaged.append(str(folder / name))
    return files, damaged


def _replace_files(folder: Path, catalog: Catalog, files: dict[str, bytes], state: State) -> None:
    """Put repaired files in place where that can be done; answers do not wait for it."""
    try:
        _write_files(folder, files)
    except OSError as error:
        log.warning("the repaired files could not be written to %s: %s", folder, error)
        return
    # Another version of FAISS or NumPy may write other bytes for the same content.
    catalog.set_files(state.id, {name: _sha256(data) for name, data in files.items()})

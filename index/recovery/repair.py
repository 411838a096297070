"""Repair, within bounds: what can be made again from the documents is, and the documents are left alone.

Derived files are built again from the catalog; a damaged vector is embedded again from its text, by
the model it came from and no other. A damaged document is refused by name: only its source or a
snapshot has it.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.catalog import Catalog, State
from index.catalog.database import Database
from index.catalog.tables import EMBEDDINGS
from index.errors import IndexUnavailable
from index.recovery import catalogs
from index.recovery.errors import Refused
from index.recovery.verify import Report
from index.schema import EmbeddingKey, content_hash
from index.store import catalog_path, rebuild, verify_files, writing

AT_ONCE = 256


class Embeds(Protocol):
    """What a repair asks of an embedder."""

    name: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`(n, dim) float32`, unit rows."""


@dataclass(frozen=True)
class RepairPlan:
    """What a repair will do: the derived files that it builds, how many vectors it embeds again and by which
    model, and what it will not touch, with the remedy.
    """

    target: str
    state: str
    model: str
    builds: tuple[str, ...]
    embeds: tuple[str, ...]
    refuses: tuple[str, ...]


def plan_repair(folder: Path) -> RepairPlan:
    """What a repair would do; changes nothing. Raises `IndexUnavailable` where the file is past repair."""
    with catalogs.private_copy(folder) as catalog:
        state = _current(folder, catalog)
        embeds = _damaged_vectors(catalog, state)
        refuses = _damaged_documents(catalog, state)
        if not embeds and not refuses:
            refuses = tuple(catalog.check())
        builds = verify_files(folder, catalog, state)
    return RepairPlan(str(folder), state.id, state.model, tuple(builds), embeds, refuses)


def _current(folder: Path, catalog: Catalog) -> State:
    state = catalog.current_state()
    if state is None:
        raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
    return state


def _damaged_vectors(catalog: Catalog, state: State) -> tuple[str, ...]:
    keys = list(dict.fromkeys(catalog.embedding_keys(catalog.searched_rows(state.id).tolist())))
    pieces = [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]
    return tuple(
        key
        for piece in pieces
        if not _readable(catalog, state, piece)
        for key in piece
        if not _readable(catalog, state, [key])
    )


def _readable(catalog: Catalog, state: State, keys: Sequence[EmbeddingKey]) -> bool:
    try:
        catalog.vectors(keys, state.dimension)
    except IndexUnavailable:
        return False
    return True


def _damaged_documents(catalog: Catalog, state: State) -> tuple[str, ...]:
    found = []
    for row in catalog.document_rows(state.id):
        try:
            catalog.document(state.id, row.id)
        except IndexUnavailable:
            found.append(
                f"the text of {row.source} is not what was written: restore a snapshot, or move the "
                "index away and ingest its source again"
            )
    return tuple(found)


def repair(folder: Path, plan: RepairPlan, embedder: Embeds | None, report: Report) -> list[str]:
    """Repair as planned and return what was mended, in words.

    Raises `Refused` before anything is touched where something is past repair, or where vectors are
    damaged and the embedder is not the one they came from.
    """
    if plan.refuses:
        raise Refused(
            f"nothing is repaired, as {len(plan.refuses)} damaged parts can't be: {plan.refuses[0]}"
        )
    if plan.embeds and (embedder is None or embedder.name != plan.model):
        raise Refused(
            f"{len(plan.embeds)} vectors are damaged and came from {plan.model!r}, not from "
            f"{embedder.name if embedder else 'the model'!r} of the settings: set `embedder` to it, or "
            "restore a snapshot"
        )
    with writing(folder), closing(Catalog(catalog_path(folder))) as catalog:
        state = _current(folder, catalog)
        if state.id != plan.state:
            raise Refused("the index has changed since the plan was made: look at a new plan")
        mended = []
        if embedder is not None:
            mended = _embed_again(catalog, folder, state, plan, embedder, report)
        return mended + [f"built {path}" for path in rebuild(folder, catalog, state)]


def _embed_again(
    catalog: Catalog, folder: Path, state: State, plan: RepairPlan, embedder: Embeds, report: Report
) -> list[str]:
    rows = catalog.searched_rows(state.id).tolist()
    row_of = dict(zip(catalog.embedding_keys(rows), rows, strict=True))
    for start in range(0, len(plan.embeds), AT_ONCE):
        keys = [EmbeddingKey(key) for key in plan.embeds[start : start + AT_ONCE]]
        passages = catalog.passages([row_of[key] for key in keys])
        texts = [passage.contextual_text for passage in passages]
        for key, text in zip(keys, texts, strict=True):
            if content_hash(state.model, text) != key:
                raise Refused(
                    f"no text belongs to the vector {key[:16]} any more: restore a snapshot"
                )
        vectors = embedder.embed(texts)
        _replace_vectors(catalog_path(folder), keys, vectors)
        report("embedding", start + len(keys), len(plan.embeds))
    return [f"embedded {key[:16]} again" for key in plan.embeds]


def _replace_vectors(
    path: Path, keys: Sequence[EmbeddingKey], vectors: NDArray[np.float32]
) -> None:
    """Rows of a catalog never change otherwise, so the catalog has no way to do this itself."""
    blobs = [np.ascontiguousarray(vector, dtype="<f4").tobytes() for vector in vectors]
    with closing(Database(path, create=False)) as database, database.transaction():
        database.insert(EMBEDDINGS, zip(keys, blobs, strict=True), "REPLACE")

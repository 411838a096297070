"""The vectors of the catalog, by the hash of the text that each stands for."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from index.catalog.database import Database
from index.catalog.tables import EMBEDDINGS
from index.schema import EmbeddingKey


class Embeddings:
    """The part of the catalog that holds vectors."""

    _db: Database

    def missing_embeddings(self, keys: Iterable[EmbeddingKey]) -> set[EmbeddingKey]:
        """Those of the keys that have no vector yet."""
        rows = self._db.all(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT key FROM embeddings)",
            json.dumps(list(keys)),
        )
        return {EmbeddingKey(row[0]) for row in rows}

    def add_embeddings(self, keys: Sequence[EmbeddingKey], vectors: NDArray[np.float32]) -> None:
        """Store `(n, dim) float32` vectors under their keys."""
        blobs = [np.ascontiguousarray(vector, dtype="<f4").tobytes() for vector in vectors]
        with self._db.transaction():
            self._db.insert(EMBEDDINGS, zip(keys, blobs, strict=True), "IGNORE")

    def vectors(self, keys: Sequence[EmbeddingKey], dimension: int) -> NDArray[np.float32]:
        """`(len(keys), dimension) float32`, in the order of the keys."""
        rows = self._db.sealed(
            EMBEDDINGS, "WHERE key IN (SELECT value FROM json_each(?))", json.dumps(list(keys))
        )
        found = {row["key"]: np.frombuffer(row["vector"], dtype="<f4") for row in rows}
        if lost := set(keys) - found.keys():
            raise self._db.damaged(f"{len(lost)} of its vectors are missing")
        matrix = np.empty((len(keys), dimension), dtype=np.float32)
        for position, key in enumerate(keys):
            matrix[position] = found[key]
        return matrix

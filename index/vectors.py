"""Dense search: the FAISS side of a shelf, exact while that is quick, else inverted lists of bytes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 20_000
"""Vectors up to which every one is compared: 3 ms on two cores, and nothing is lost. Above, rows are
kept as bytes (8-bit scalar quantisation) in inverted lists of which a search reads a part."""

LISTS_PER_ROOT = 4
"""Lists for each unit of the square root of the number of vectors, as FAISS's own guidelines have it."""

TRAINED_ON = 40
"""Vectors a list that k-means sees; FAISS warns under 39."""

READ = 0.12
"""Share of the lists that a search reads; `python -m benchmarks.scale` measures recall and time."""


def build(vectors: NDArray[np.float32]) -> Any:
    """A FAISS index over `(n, dim) float32` unit rows; row `i` has id `i`."""
    import faiss

    count, dimension = vectors.shape
    if count <= EXACT_UP_TO:
        index: Any = faiss.IndexFlatIP(dimension)
        index.add(vectors)
        return index
    lists = int(LISTS_PER_ROOT * math.sqrt(count))
    # The lists are found by comparing all their centroids: some thousands, so exactly.
    centroids = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFScalarQuantizer(
        centroids, dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.nprobe = max(1, round(READ * lists))
    step = max(1, count // (TRAINED_ON * lists))
    index.train(np.ascontiguousarray(vectors[::step]))
    index.add(vectors)
    index.make_direct_map(True)  # so that single rows can be read: 8 bytes each
    return index


def search(
    index: Any, query: NDArray[np.float32], k: int, gone: NDArray[np.int64] | None = None
) -> list[tuple[int, float]]:
    """The `k` nearest rows to one `(dim,)` unit vector, as `(row, cosine)`, best first.

    Rows in `gone` are passed over.
    """
    left = index.ntotal - (0 if gone is None else len(gone))
    k = min(k, left)
    if k <= 0:
        return []
    scores, rows = index.search(query.reshape(1, -1), k, params=_without(index, gone))
    found = zip(rows[0], scores[0], strict=True)
    return [(int(row), float(score)) for row, score in found if row >= 0]


def _without(index: Any, gone: NDArray[np.int64] | None) -> Any:
    """Parameters of a search that passes over some rows."""
    import faiss as untyped

    faiss: Any = untyped  # its stubs don't know that parameters are given by name
    if gone is None or not len(gone):
        return None
    selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(gone))
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    return faiss.SearchParameters(sel=selector)


def similarity(index: Any, query: NDArray[np.float32], rows: list[int]) -> NDArray[np.float32]:
    """The cosine of one `(dim,)` unit vector to some rows, `(len(rows),) float32`."""
    if not rows:
        return np.empty(0, dtype=np.float32)
    vectors = index.reconstruct_batch(np.array(rows, dtype=np.int64))
    return np.asarray(vectors @ query, dtype=np.float32)


def to_bytes(index: Any) -> bytes:
    """The index in FAISS's own file format; written by us, since `write_index` never fsyncs."""
    import faiss

    return bytes(faiss.serialize_index(index).tobytes())


def from_bytes(data: bytes) -> Any:
    """Read what `to_bytes` wrote; check the bytes first: FAISS loads flipped bits silently."""
    import faiss

    return faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))

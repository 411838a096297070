"""Dense search: the FAISS side of a shelf."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Unit rows, so inner product is cosine. Flat is exact, and on two cores searches 100,000
# vectors of 384 dimensions in about 10 ms; a larger corpus wants another index type here.


def build(vectors: NDArray[np.float32]) -> Any:
    """A FAISS index over `(n, dim) float32` unit rows; row `i` has id `i`."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def search(index: Any, query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """The `k` nearest rows to one `(dim,)` unit vector, as `(row, cosine)`, best first."""
    k = min(k, index.ntotal)
    if k == 0:
        return []
    scores, rows = index.search(query.reshape(1, -1), k)
    return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]


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

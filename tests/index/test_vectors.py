import numpy as np
import pytest
from numpy.typing import NDArray

from index import vectors


def crowded(count: int, dimension: int = 64) -> NDArray[np.float32]:
    """Unit rows around some hundred centres, as embeddings of real text crowd around subjects."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((200, dimension))
    rows = centres[random.integers(0, 200, count)] + 0.6 * random.standard_normal(
        (count, dimension)
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_a_small_shelf_is_searched_exactly() -> None:
    rows = crowded(500)
    found = vectors.search(vectors.build(rows), rows[3], 5)
    expected = np.argsort(-(rows @ rows[3]))[:5]
    assert [row for row, _ in found] == expected.tolist()


@pytest.mark.slow
def test_a_large_shelf_keeps_bytes_and_finds_nearly_all_of_the_nearest() -> None:
    rows = crowded(vectors.EXACT_UP_TO + 10_000)
    index = vectors.from_bytes(vectors.to_bytes(vectors.build(rows)))
    assert len(vectors.to_bytes(index)) / len(rows) < rows.shape[1] * 4 / 2
    kept = 0
    for question in rows[::300]:
        truth = set(np.argsort(-(rows @ question))[:10].tolist())
        kept += len(truth & {row for row, _ in vectors.search(index, question, 10)})
    assert kept / (10 * len(rows[::300])) > 0.95


@pytest.mark.slow
def test_a_large_shelf_still_tells_the_cosine_of_any_row() -> None:
    rows = crowded(vectors.EXACT_UP_TO + 1)
    index = vectors.build(rows)
    picked = [0, 19_999, 5]
    assert np.allclose(
        vectors.similarity(index, rows[1], picked), rows[picked] @ rows[1], atol=0.02
    )


def test_nothing_is_found_in_nothing() -> None:
    empty = np.empty((0, 8), dtype=np.float32)
    assert vectors.search(vectors.build(empty), np.ones(8, dtype=np.float32), 3) == []

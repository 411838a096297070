"""Hybrid retrieval: dense and lexical search over the shelves a caller may read, fused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index import vectors
from index.catalog import Catalog
from index.instruments import span
from index.lexical import K1 as BM25_K1
from index.lexical import bm25, idf, statistics
from index.schema import Passage
from index.store import Segment
from index.text import terms

DEPTH = 50
"""Candidates taken from each of the two searches before fusion, or more where more are wanted."""

LEXICAL_WEIGHT = 0.5
"""The share of BM25 in the fused score; see `docs/retrieval.md` for the values tried."""


@dataclass(frozen=True)
class Candidate:
    """A passage that a search found, with its rank and score at each stage (rank 1 is best)."""

    passage: Passage
    ranks: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    shelf: int
    position: int
    dense: float
    lexical: float

    @property
    def fused(self) -> float:
        return (1 - LEXICAL_WEIGHT) * self.dense + LEXICAL_WEIGHT * self.lexical


def retrieve(
    query: str,
    vector: NDArray[np.float32],
    shelves: Sequence[Segment],
    catalog: Catalog,
    k: int,
    only: frozenset[str] | None = None,
) -> list[Candidate]:
    """The `k` best passages of the shelves, by a convex combination of cosine and BM25.

    `vector` is the query's embedding. BM25 is divided by the most that any passage could reach
    for this query, so both parts lie on a scale of their own that does not depend on what else
    was found (Bruch, Gai and Ingber, *An Analysis of Fusion Functions for Hybrid Retrieval*, 2023).
    `only` restricts the search to the documents of these ids; the counts that BM25 weighs by stay
    those of the shelves.
    """
    with span("lexical"):
        lexical_scores = _lexical_scores(query, shelves)
    if only is None:
        depth = max(DEPTH, k)
        with span("dense"):
            chosen = _dense_positions(vector, shelves, depth)
        chosen |= _lexical_positions(lexical_scores, shelves, depth)
    else:
        chosen = _positions_of(catalog.rows_of(only), shelves)
    found = []
    for number, shelf in enumerate(shelves):
        positions = sorted(position for shelf_number, position in chosen if shelf_number == number)
        cosines = vectors.similarity(shelf.faiss, vector, positions)
        found += [
            _Found(number, position, float(cosine), float(lexical_scores[number][position]))
            for position, cosine in zip(positions, cosines, strict=True)
        ]
    return _candidates(found, shelves, catalog, k)


def _candidates(
    found: Sequence[_Found], shelves: Sequence[Segment], catalog: Catalog, k: int
) -> list[Candidate]:
    """The best `k` with their passages and ranks; ties go to the older row, so order is stable."""

    def row(item: _Found) -> int:
        return int(shelves[item.shelf].rows[item.position])

    ranks: dict[str, dict[int, int]] = {}
    for stage in ("dense", "lexical", "fused"):
        ordered = sorted(found, key=lambda item: (-getattr(item, stage), row(item)))
        ranks[stage] = {row(item): rank for rank, item in enumerate(ordered, 1)}
    best = sorted(found, key=lambda item: ranks["fused"][row(item)])[:k]
    passages = catalog.passages([row(item) for item in best])
    return [
        Candidate(
            passage,
            {stage: of[row(item)] for stage, of in ranks.items()},
            {"dense": item.dense, "lexical": item.lexical, "fused": item.fused},
        )
        for item, passage in zip(best, passages, strict=True)
    ]


def _positions_of(rows: frozenset[int], shelves: Sequence[Segment]) -> set[tuple[int, int]]:
    wanted = np.array(sorted(rows), dtype=np.int64)
    return {
        (number, int(position))
        for number, shelf in enumerate(shelves)
        for position in np.setdiff1d(np.flatnonzero(np.isin(shelf.rows, wanted)), shelf.gone)
    }


def _lexical_scores(query: str, shelves: Sequence[Segment]) -> list[NDArray[np.float32]]:
    """BM25 of every chunk as a share of the most that the query's terms could give."""
    query_terms = terms(query)
    lexical_shelves = [shelf.lexical for shelf in shelves]
    corpus = statistics(lexical_shelves)
    most = (BM25_K1 + 1) * sum(idf(term, lexical_shelves, corpus) for term in set(query_terms))
    scores = bm25(query_terms, lexical_shelves)
    return [score / most if most else score for score in scores]


def _dense_positions(
    vector: NDArray[np.float32], shelves: Sequence[Segment], depth: int
) -> set[tuple[int, int]]:
    found = [
        (score, number, position)
        for number, shelf in enumerate(shelves)
        for position, score in vectors.search(shelf.faiss, vector, depth, shelf.gone)
    ]
    return _best(found, shelves, depth)


def _lexical_positions(
    scores: Sequence[NDArray[np.float32]], shelves: Sequence[Segment], depth: int
) -> set[tuple[int, int]]:
    found = [
        (float(score[position]), number, int(position))
        for number, score in enumerate(scores)
        for position in _largest(score, depth)
    ]
    return _best(found, shelves, depth)


def _best(
    found: list[tuple[float, int, int]], shelves: Sequence[Segment], depth: int
) -> set[tuple[int, int]]:
    """The `depth` best of `(score, shelf, position)`; ties go to the older row, whichever segment it
    lies in.
    """
    found.sort(key=lambda item: (-item[0], shelves[item[1]].rows[item[2]]))
    return {(number, position) for _, number, position in found[:depth]}


def _largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Positions of the scores above 0 that are among the `count` largest, ties included, so that what
    is kept does not depend on how a partial sort breaks them.
    """
    found = np.flatnonzero(scores > 0)
    if len(found) > count:
        among = scores[found]
        least = np.partition(among, len(among) - count)[len(among) - count]
        found = found[among >= least]
    return found

"""Figures of merit, computed from the hits in one way for all systems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, Success, nDCG
from numpy.typing import NDArray

from benchmarks.peers.contract import Hit
from benchmarks.peers.dataset import Dataset, Span

PAGE_MEASURES = {"page nDCG@10": nDCG @ 10, "page hit@1": Success @ 1, "page MRR": RR}
"""By ir-measures. A page with any positive grade counts as a hit; nDCG takes the grade as gain."""

PASSAGE_CUTS = (1, 5, 10)

RESAMPLES = 2000
SEED = 20


@dataclass(frozen=True)
class Estimate:
    """A mean over queries and its 95% percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def evaluate(hits: Sequence[Sequence[Hit]], dataset: Dataset) -> dict[str, Estimate]:
    """Every measure by name; `hits` follow the order of the data set's queries.

    Passage hit@k is the share of queries one of whose first k chunks overlaps the gold passage.
    """
    found = {query.id: each for query, each in zip(dataset.queries, hits, strict=True)}
    estimates = {
        name: estimate(values) for name, values in page_values(found, dataset.grades).items()
    }
    for cut in PASSAGE_CUTS:
        reached = [overlaps(found[query][:cut], gold) for query, gold in dataset.gold.items()]
        estimates[f"passage hit@{cut}"] = estimate(np.array(reached, dtype=np.float64))
    return estimates


def page_values(
    found: Mapping[str, Sequence[Hit]], grades: Mapping[str, Mapping[str, int]]
) -> dict[str, NDArray[np.float64]]:
    """The value of each page measure for each query, 0 where a query found nothing."""
    run = {
        query: {page: 1 / rank for rank, page in enumerate(pages_of(hits), start=1)}
        for query, hits in found.items()
    }
    row = {query: position for position, query in enumerate(found)}
    values = {measure: np.zeros(len(found)) for measure in PAGE_MEASURES.values()}
    for metric in ir_measures.iter_calc(list(values), grades, run):
        values[metric.measure][row[metric.query_id]] = metric.value
    return {name: values[measure] for name, measure in PAGE_MEASURES.items()}


def pages_of(hits: Sequence[Hit]) -> list[str]:
    """The ranking of pages: each where its first chunk stands."""
    return list(dict.fromkeys(hit.page for hit in hits))


def overlaps(hits: Sequence[Hit], gold: Span) -> bool:
    """Whether a hit shares at least one character with the gold passage."""
    return any(
        hit.page == gold.page and hit.start < gold.end and hit.end > gold.start for hit in hits
    )


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Mean and interval of one value a query; the resamples are the same for every system."""
    drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))

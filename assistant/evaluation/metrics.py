"""Measures on plain arrays, each with its bootstrap interval.

Arrays have one entry a question: `confidence` float in [0, 1], `wrong` and `right` 0 or 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[..., float]

RESAMPLES = 1000
SEED = 20_261_124
BINS = 10
FEWEST_IN_BIN = 10
"""Questions; with fewer the share that is right says more of chance than of confidence."""

GRID = 50
"""Points at which the band around the risk-coverage curve is taken."""


@dataclass(frozen=True)
class Figure:
    """A measure over `n` questions with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Bin:
    """Questions of like confidence: its mean, and the share that was right with its interval."""

    confidence: float
    right: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class RiskPoint:
    """The share that is wrong where the most confident `coverage` of the questions is answered."""

    coverage: float
    risk: float
    low: float
    high: float


def figure(statistic: Statistic, *columns: Floats, strata: Floats | None = None) -> Figure:
    """A statistic of columns with one row a question, and its percentile bootstrap interval.

    Rows are drawn together; within each value of `strata` where given, so that both classes stay.
    """
    values = resampled(statistic, *columns, strata=strata)
    low, high = np.percentile(np.asarray(values), [2.5, 97.5])
    return Figure(float(statistic(*columns)), float(low), float(high), len(columns[0]))


def resampled(
    statistic: Callable[..., float | Floats], *columns: Floats, strata: Floats | None = None
) -> list[float | Floats]:
    """The statistic of `RESAMPLES` draws with replacement, the same for the same input."""
    rng = np.random.default_rng(SEED)
    groups = [
        np.flatnonzero(strata == value) if strata is not None else np.arange(len(columns[0]))
        for value in (np.unique(strata) if strata is not None else [0])
    ]
    draws = (
        np.concatenate([group[rng.integers(0, len(group), len(group))] for group in groups])
        for _ in range(RESAMPLES)
    )
    return [statistic(*(column[rows] for column in columns)) for rows in draws]


# --- ranking ----------------------------------------------------------------------------------


def ranking_scores(
    qrels: Mapping[str, Mapping[str, int]], rankings: Mapping[str, Sequence[str]]
) -> dict[str, Floats]:
    """nDCG@10, MRR and recall of ranked pages by ir-measures, one value a query of `qrels`."""
    import ir_measures
    from ir_measures import RR, R, nDCG

    names = {
        nDCG @ 10: "ndcg@10",
        RR: "mrr",
        R @ 1: "recall@1",
        R @ 5: "recall@5",
        R @ 10: "recall@10",
    }
    run = {
        query: {page: float(-rank) for rank, page in enumerate(rankings[query])} for query in qrels
    }
    position = {query: row for row, query in enumerate(qrels)}
    scores = {name: np.zeros(len(qrels)) for name in names.values()}  # nothing found counts as 0
    for metric in ir_measures.iter_calc(list(names), qrels, run):
        scores[names[metric.measure]][position[metric.query_id]] = metric.value
    return scores


# --- abstention and calibration ---------------------------------------------------------------


def auroc(confidence: Floats, answerable: Floats) -> float:
    """How often an answerable question gets more confidence than an unanswerable one.

    The Mann-Whitney form, of ranks: scikit-learn's takes 2 ms even for a few questions, which a
    thousand resamples feel.
    """
    from scipy.stats import rankdata

    positive = answerable.sum()
    above = rankdata(confidence) @ answerable - positive * (positive + 1) / 2
    return float(above / (positive * (len(answerable) - positive)))


def risk_curve(confidence: Floats, wrong: Floats) -> Floats:
    """`(n,)`: the share wrong of the 1, 2, … n most confident; ties count as in random order."""
    _, each = _ordered(-confidence, wrong)
    return np.cumsum(each) / np.arange(1, len(each) + 1)


def aurc(confidence: Floats, wrong: Floats) -> float:
    """Area under the risk-coverage curve (Geifman, Uziel and El-Yaniv 2019); lower is better."""
    return float(risk_curve(confidence, wrong).mean())


def risk_coverage(confidence: Floats, wrong: Floats, asked: int) -> tuple[RiskPoint, ...]:
    """The curve at evenly spaced coverages of the `asked` questions, up to those judged."""
    if not len(confidence):
        return ()
    grid = np.linspace(0, 1, GRID + 1)[1:]

    def at_grid(confidence: Floats, wrong: Floats) -> Floats:
        curve = risk_curve(confidence, wrong)
        return np.interp(grid, np.arange(1, len(curve) + 1) / len(curve), curve)

    low, high = np.percentile(np.stack(resampled(at_grid, confidence, wrong)), [2.5, 97.5], axis=0)
    share = len(confidence) / asked
    return tuple(
        RiskPoint(float(point * share), float(risk), float(least), float(most))
        for point, risk, least, most in zip(
            grid, at_grid(confidence, wrong), low, high, strict=True
        )
    )


def calibration_error(confidence: Floats, right: Floats) -> float:
    """Expected calibration error over `BINS` bins of equal mass, fewer where questions are few."""
    return float(
        sum(len(c) * abs(c.mean() - r.mean()) for c, r in _bins(confidence, right))
        / len(confidence)
    )


def reliability(confidence: Floats, right: Floats) -> tuple[Bin, ...]:
    """The bins of `calibration_error`, with Wilson's interval for the share that is right."""
    from scipy.stats import binomtest

    found = []
    for of_bin, right_of_bin in _bins(confidence, right):
        count = len(of_bin)
        interval = binomtest(round(right_of_bin.sum()), count).proportion_ci(method="wilson")
        found.append(
            Bin(
                float(of_bin.mean()),
                float(right_of_bin.mean()),
                float(interval.low),
                float(interval.high),
                count,
            )
        )
    return tuple(found)


def _bins(confidence: Floats, right: Floats) -> list[tuple[Floats, Floats]]:
    ordered, right = _ordered(confidence, right)
    bins = max(1, min(BINS, len(ordered) // FEWEST_IN_BIN))
    return list(zip(np.array_split(ordered, bins), np.array_split(right, bins), strict=True))


def _ordered(key: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    """Both in ascending order of the key; where keys are equal, each outcome is their mean."""
    values, group = np.unique(key, return_inverse=True)
    mean = np.bincount(group, weights=outcome) / np.bincount(group)
    order = np.sort(group)
    return values[order], mean[order]

"""Properties that any honest measure has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from assistant.evaluation.metrics import (
    aurc,
    auroc,
    calibration_error,
    figure,
    ranking_scores,
    reliability,
    risk_coverage,
    risk_curve,
)

PATIENT = settings(deadline=None)
FEW = settings(deadline=None, max_examples=20)
SIZES = st.integers(2, 40)
confidences = arrays(np.float64, SIZES, elements=st.sampled_from(list(np.linspace(0, 1, 21))))


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether each answer was right."""
    confidence = draw(confidences)
    flags = st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence))
    return confidence, np.asarray(draw(flags), dtype=float)


PAGES = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=12, unique=True)


@given(PAGES, st.data())
@PATIENT
def test_perfect_ranking_gives_one(pages: list[str], data: st.DataObject) -> None:
    grades = sorted((data.draw(st.integers(1, 3)) for _ in pages), reverse=True)
    qrels = {"q": dict(zip(pages, grades, strict=True))}
    scores = ranking_scores(qrels, {"q": [*pages, "other"]})
    assert scores["ndcg@10"][0] == pytest.approx(1)
    assert scores["mrr"][0] == 1
    assert scores["recall@10"][0] == pytest.approx(min(1, 10 / len(pages)))


def test_rankings_score_as_their_definitions_say() -> None:
    scores = ranking_scores(
        {"second": {"a": 1}, "never": {"a": 1}, "nothing": {"a": 1}},
        {"second": ["b", "a"], "never": ["b"], "nothing": []},
    )
    assert list(scores["mrr"]) == [0.5, 0, 0]
    assert list(scores["ndcg@10"]) == [pytest.approx(1 / np.log2(3)), 0, 0]
    assert list(scores["recall@1"]) == [0, 0, 0]
    assert list(scores["recall@5"]) == [1, 0, 0]


@given(judged())
@PATIENT
def test_auroc_knows_only_the_order(case: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, answerable = case
    if len(set(answerable)) == 2:
        value = auroc(confidence, answerable)
        assert value == pytest.approx(auroc(np.exp(3 * confidence) - 7, answerable))
        assert value == pytest.approx(1 - auroc(-confidence, answerable))
        assert value == pytest.approx(roc_auc_score(answerable, confidence))


@given(judged(), st.randoms(use_true_random=False))
@PATIENT
def test_risk_at_full_coverage_is_the_error_rate_in_any_order(
    case: tuple[np.ndarray, np.ndarray], random: object
) -> None:
    confidence, wrong = case
    curve = risk_curve(confidence, wrong)
    assert curve[-1] == pytest.approx(wrong.mean())
    shuffled = list(range(len(wrong)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert risk_curve(confidence[shuffled], wrong[shuffled]) == pytest.approx(curve)


def test_knowing_ones_errors_lowers_the_area() -> None:
    wrong = np.asarray([0.0, 0, 0, 1])
    assert aurc(np.asarray([0.9, 0.8, 0.7, 0.1]), wrong) < aurc(
        np.asarray([0.1, 0.7, 0.8, 0.9]), wrong
    )


@given(judged())
@FEW
def test_curve_ends_where_judging_ends(case: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, wrong = case
    points = risk_coverage(confidence, wrong, asked=2 * len(wrong))
    assert points[-1].coverage == pytest.approx(0.5)
    assert points[-1].risk == pytest.approx(wrong.mean())
    assert all(point.low <= point.high for point in points)


@given(judged())
@PATIENT
def test_calibration_error_is_a_share_and_zero_where_confidence_is_honest(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    confidence, right = case
    assert 0 <= calibration_error(confidence, right) <= 1
    assert calibration_error(right, right) == 0
    same = np.full(len(right), right.mean())
    assert calibration_error(same, right) == pytest.approx(0)


@given(judged())
@PATIENT
def test_reliability_bins_hold_every_question_once(case: tuple[np.ndarray, np.ndarray]) -> None:
    bins = reliability(*case)
    assert sum(each.n for each in bins) == len(case[0])
    assert max(each.n for each in bins) - min(each.n for each in bins) <= 1
    assert all(np.diff([each.confidence for each in bins]) >= -1e-9)
    assert all(each.low <= each.right + 0.5 / each.n for each in bins)


@given(st.floats(-1e6, 1e6), st.integers(1, 30))
@FEW
def test_interval_of_constant_data_is_that_constant(value: float, n: int) -> None:
    found = figure(np.mean, np.full(n, value))
    assert found.low == pytest.approx(value)
    assert found.high == pytest.approx(value)
    assert (found.value, found.n) == (pytest.approx(value), n)


@given(judged())
@FEW
def test_interval_is_ordered_and_the_same_each_time(case: tuple[np.ndarray, np.ndarray]) -> None:
    found = figure(calibration_error, *case)
    assert found.low <= found.high
    assert found == figure(calibration_error, *case)


def test_resampling_keeps_both_classes() -> None:
    answerable = np.asarray([1.0, 0, 0, 0, 0, 0, 0, 0])
    found = figure(auroc, np.linspace(1, 0, 8), answerable, strata=answerable)
    assert (found.low, found.value, found.high) == (1, 1, 1)

"""Figures: the outcomes of a run as measures with intervals, curves and latencies."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from assistant.evaluation.generated import Judged
from assistant.evaluation.metrics import (
    Bin,
    Figure,
    Floats,
    RiskPoint,
    aurc,
    auroc,
    calibration_error,
    figure,
    ranking_scores,
    reliability,
    risk_coverage,
)
from assistant.evaluation.run import Outcome, Run

HIT_AT = (1, 5, 10)
SEARCH = "search"


@dataclass(frozen=True)
class Latency:
    """Milliseconds that a stage took, at the median and the 95th percentile."""

    p50: Figure
    p95: Figure


@dataclass(frozen=True)
class Evaluation:
    """A run with what was measured; figures that its questions don't allow are absent."""

    run: Run
    figures: Mapping[str, Figure]
    latency: Mapping[str, Latency]
    reliability: tuple[Bin, ...]
    risk_coverage: tuple[RiskPoint, ...]
    threshold: float | None

    @property
    def has_passages(self) -> bool:
        """Whether passages are judged, and not only pages."""
        return any(outcome.question.spans for outcome in self.run.outcomes)

    @property
    def judged(self) -> int:
        """Questions whose answer, given or held back, is known to be right or wrong."""
        return sum(outcome.right is not None for outcome in self.run.outcomes)

    @property
    def answerable(self) -> int:
        """Questions that have an answer."""
        return sum(outcome.question.answerable for outcome in self.run.outcomes)


def evaluate(run: Run) -> Evaluation:
    """Everything that can be measured on a run."""
    asked = [outcome for outcome in run.outcomes if outcome.answer]
    judged = [outcome for outcome in asked if outcome.right is not None]
    confidence, right = _confidence(judged), _column(judged, lambda o: o.right is True)
    return Evaluation(
        run=run,
        figures={
            **_ranking(run.outcomes),
            **_answers(asked),
            **_abstention(asked),
            **_generated(asked),
        },
        latency=_latency(run.outcomes),
        reliability=reliability(confidence, right) if judged else (),
        risk_coverage=risk_coverage(confidence, 1 - right, len(asked)),
        threshold=next(
            (o.answer.trace.confidence.threshold for o in asked if o.answer and o.answer.trace),
            None,
        ),
    )


def _ranking(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """How well gold passages and pages are ranked, over the questions that have some."""
    judged = {f"{row}": outcome for row, outcome in enumerate(outcomes) if outcome.question.pages}
    if not judged:
        return {}
    figures = {
        f"passage_hit@{k}": _mean(judged.values(), partial(_found_within, k=k)) for k in HIT_AT
    }
    scores = ranking_scores(
        {key: outcome.question.pages for key, outcome in judged.items()},
        {key: outcome.pages for key, outcome in judged.items()},
    )
    return figures | {name: figure(np.mean, values) for name, values in scores.items()}


def _found_within(outcome: Outcome, k: int) -> bool:
    return outcome.passage_rank is not None and outcome.passage_rank <= k


def _answers(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """Whether answers hold what was expected, and how long they are."""
    answerable = [outcome for outcome in outcomes if outcome.question.answerable]
    answered = [outcome for outcome in answerable if _is_answered(outcome)]
    figures = {}
    if answerable:
        figures["answer_span_hit"] = _mean(answerable, _is_answered_rightly)
        figures["answer_span_hit_unfiltered"] = _mean(answerable, lambda o: o.right is True)
    if answered:
        figures["answer_span_hit_answered"] = _mean(answered, _is_answered_rightly)
    given = [outcome for outcome in outcomes if _is_answered(outcome)]
    if given:
        figures["answer_sentences"] = _mean(given, lambda o: len(_sentences(o)))
        figures["answer_words"] = _mean(given, lambda o: len(" ".join(_sentences(o)).split()))
    return figures


def _generated(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """What models wrote: how much of it is supported before and after its check, and by its citations."""
    asked = [outcome for outcome in outcomes if outcome.judged]
    if not asked:
        return {}
    given = [outcome for outcome in asked if _is_generated(outcome)]
    figures = {
        "generated": _mean(outcomes, _is_generated),
        "fell_back": _mean(asked, lambda o: not _is_generated(o)),
    }
    right = [outcome for outcome in given if outcome.question.answerable]
    if right:
        figures["answer_span_hit_generated"] = _mean(right, _is_answered_rightly)
    shares = {
        "unsupported_written": [_not(judged.written) for judged in _judged(asked)],
        "removed": [(judged.removed, len(judged.written)) for judged in _judged(asked)],
        "unsupported_shown": [_not(judged.shown) for judged in _judged(given)],
        "citation_precision": [_so(judged.citations) for judged in _judged(given)],
        "citation_recall": [_so(judged.cited) for judged in _judged(given)],
    }
    return figures | {name: found for name, of in shares.items() if (found := _share(of))}


def _is_generated(outcome: Outcome) -> bool:
    return outcome.answer is not None and outcome.answer.mode == "generated"


def _judged(outcomes: Iterable[Outcome]) -> Iterator[Judged]:
    return (outcome.judged for outcome in outcomes if outcome.judged)


def _so(judged: Sequence[bool]) -> tuple[int, int]:
    return sum(judged), len(judged)


def _not(judged: Sequence[bool]) -> tuple[int, int]:
    return len(judged) - sum(judged), len(judged)


def _share(counts: Sequence[tuple[int, int]]) -> Figure | None:
    """The share of all sentences or citations, over the questions that have some."""
    some = np.asarray([each for each in counts if each[1]], dtype=np.float64)
    if not len(some):
        return None
    return figure(lambda part, whole: float(part.sum() / whole.sum()), some[:, 0], some[:, 1])


def _is_answered(outcome: Outcome) -> bool:
    return outcome.answer is not None and outcome.answer.status != "abstained"


def _is_answered_rightly(outcome: Outcome) -> bool:
    return _is_answered(outcome) and outcome.right is True


def _sentences(outcome: Outcome) -> list[str]:
    return [sentence.text for sentence in outcome.answer.sentences] if outcome.answer else []


def _abstention(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """Whether confidence tells what can be answered, and how often the threshold errs."""
    if not outcomes:
        return {}
    answerable = [outcome for outcome in outcomes if outcome.question.answerable]
    unanswerable = [outcome for outcome in outcomes if not outcome.question.answerable]
    given = [outcome for outcome in outcomes if _is_answered(outcome)]
    figures = {}
    if answerable and unanswerable:
        has_answer = _column(outcomes, lambda o: o.question.answerable)
        figures["auroc"] = figure(auroc, _confidence(outcomes), has_answer, strata=has_answer)
    figures["coverage"] = _mean(outcomes, _is_answered)
    if given:
        figures["error"] = _mean(given, lambda o: o.right is not True)
    if answerable:
        figures["refused_answerable"] = _mean(answerable, lambda o: not _is_answered(o))
    if unanswerable:
        figures["answered_unanswerable"] = _mean(unanswerable, _is_answered)
    judged = [outcome for outcome in outcomes if outcome.right is not None]
    if judged:
        confidence, right = _confidence(judged), _column(judged, lambda o: o.right is True)
        figures["aurc"] = figure(aurc, confidence, 1 - right)
        figures["calibration_error"] = figure(calibration_error, confidence, right)
    return figures


def _latency(outcomes: Sequence[Outcome]) -> dict[str, Latency]:
    """Milliseconds of a search, and of each stage of an answer."""
    stages = {SEARCH: [outcome.search_ms for outcome in outcomes]}
    for outcome in outcomes:
        trace = outcome.answer.trace if outcome.answer else None
        if trace is None:
            continue
        model = trace.generation.times_ms if trace.generation else {}
        for part, times in (("ask", trace.times_ms), ("model", model)):
            for stage, ms in times.items():
                stages.setdefault(f"{part}: {stage.replace('_', ' ')}", []).append(ms)
    return {
        stage: Latency(
            figure(partial(np.percentile, q=50), np.asarray(times)),
            figure(partial(np.percentile, q=95), np.asarray(times)),
        )
        for stage, times in stages.items()
    }


def _confidence(outcomes: Iterable[Outcome]) -> Floats:
    return _column(outcomes, lambda o: o.answer.confidence if o.answer else 0.0)


def _column(outcomes: Iterable[Outcome], value: Callable[[Outcome], float]) -> Floats:
    return np.asarray([value(outcome) for outcome in outcomes], dtype=np.float64)


def _mean(outcomes: Iterable[Outcome], value: Callable[[Outcome], float]) -> Figure:
    return figure(np.mean, _column(outcomes, value))

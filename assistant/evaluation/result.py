"""The result as JSON for programs, and the questions worth a look."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from assistant.evaluation.compare import Comparison
from assistant.evaluation.figures import Evaluation
from assistant.evaluation.run import Outcome
from assistant.evaluation.wording import decider

WORST = 20


def as_json(comparison: Comparison, now: datetime) -> dict[str, Any]:
    """Everything measured, with a record a question, and the traces of the worst."""
    best = comparison.best.run
    return {
        "measured_at": now.isoformat(timespec="seconds"),
        "runs": [_run(evaluation) for evaluation in comparison.evaluations],
        "best": {
            "embedder": best.embedder,
            "reranker": best.reranker,
            "by": decider(comparison),
        },
    }


def _run(evaluation: Evaluation) -> dict[str, Any]:
    run = evaluation.run
    return {
        "name": run.name,
        "split": run.split,
        "embedder": run.embedder,
        "reranker": run.reranker,
        "index_state": run.index_state,
        "documents": run.documents,
        "questions": len(run.outcomes),
        "answerable": evaluation.answerable,
        "left_out": run.left_out,
        "judged": evaluation.judged,
        "threshold": evaluation.threshold,
        "figures": _plain(evaluation.figures),
        "latency_ms": _plain(evaluation.latency),
        "reliability": [asdict(each) for each in evaluation.reliability],
        "risk_coverage": [asdict(each) for each in evaluation.risk_coverage],
        "outcomes": [record(outcome) for outcome in run.outcomes],
        "worst": [
            {**record(outcome), "why": why, "trace": _trace(outcome)}
            for outcome, why in worst(evaluation)
        ],
    }


def _plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asdict(figure) for name, figure in figures.items()}


def record(outcome: Outcome) -> dict[str, Any]:
    """One question's outcome."""
    question, answer = outcome.question, outcome.answer
    return {
        "id": question.id,
        "question": question.text,
        "answerable": question.answerable,
        "expected": question.expected,
        "status": answer.status if answer else None,
        "answer": answer.answer if answer else None,
        "mode": answer.mode if answer else None,
        "model": answer.model if answer else None,
        "notice": answer.notice if answer else None,
        "confidence": answer.confidence if answer else None,
        "right": outcome.right,
        "passage_rank": outcome.passage_rank,
        "page_rank": page_rank(outcome),
        "search_ms": round(outcome.search_ms, 2),
    }


def _trace(outcome: Outcome) -> Any:
    trace = outcome.answer.trace if outcome.answer else None
    return trace.model_dump() if trace else None


def page_rank(outcome: Outcome) -> int | None:
    """The rank of the first relevant page among the pages found."""
    ranks = (rank for rank, page in enumerate(outcome.pages, 1) if page in outcome.question.pages)
    return next(ranks, None)


def worst(evaluation: Evaluation, count: int = WORST) -> list[tuple[Outcome, str]]:
    """The questions that went wrong, each with why: wrong answers, the most confident first; then
    answerable questions refused; then gold passages that were found late or not at all.
    """
    graded = [
        (key, outcome, why)
        for outcome in evaluation.run.outcomes
        for key, why in [_badness(outcome)]
        if why
    ]
    graded.sort(key=lambda each: each[0])
    return [(outcome, why) for _, outcome, why in graded[:count]]


def _badness(outcome: Outcome) -> tuple[tuple[int, float], str]:
    """A sort key, worst first, and what is bad; an empty word where nothing is."""
    answer, question = outcome.answer, outcome.question
    if answer and answer.status != "abstained" and outcome.right is not True:
        why = "wrong answer" if question.answerable else "answered, though unanswerable"
        return (0, -answer.confidence), why
    if answer and answer.status == "abstained" and question.answerable:
        return (1, -answer.confidence), "refused, though answerable"
    if question.pages and outcome.passage_rank != 1:
        rank = outcome.passage_rank
        return (2, -float(rank or 1000)), f"gold passage at rank {rank}" if rank else "not found"
    return (3, 0.0), ""

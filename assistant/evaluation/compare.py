"""Comparing: each embedder with each reranker, and the one that wins per millisecond."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from assistant.evaluation.figures import SEARCH, Evaluation, evaluate
from assistant.evaluation.run import measure
from assistant.evaluation.source import Source
from assistant.settings import Settings
from ingest.sync import Report

NO_RERANKER = "none"

AS_GOOD = 0.01
"""Difference in quality that is not worth waiting for: known-item judgments have holes."""


@dataclass(frozen=True)
class Comparison:
    """The evaluations in the order asked for, and the best of them."""

    evaluations: tuple[Evaluation, ...]
    best: Evaluation
    measure: str


def compare(
    source: Source,
    settings: Settings,
    embedders: Sequence[str],
    rerankers: Sequence[str],
    report: Report,
    generate: bool = False,
) -> Comparison:
    """Evaluate the cross product; none given means that of the settings. `generate` asks for answers in
    the words of the configured models.
    """
    evaluations = []
    names = product(embedders or [settings.embedder], rerankers or [settings.reranker])
    for embedder, reranker in dict.fromkeys(names):
        models = {"embedder": embedder}
        if reranker != NO_RERANKER:
            models["reranker"] = reranker
        run = measure(
            source,
            settings.model_copy(update=models),
            rerank=reranker != NO_RERANKER,
            report=report,
            generate=generate,
        )
        evaluations.append(evaluate(run))
    key = quality_measure(evaluations)
    return Comparison(tuple(evaluations), best_per_ms(evaluations, key), key)


def quality_measure(evaluations: Sequence[Evaluation]) -> str:
    """What decides: the best measure of finding that the questions allow."""
    return "passage_hit@1" if any(each.has_passages for each in evaluations) else "ndcg@10"


def best_per_ms(evaluations: Sequence[Evaluation], key: str) -> Evaluation:
    """The fastest search among those within a point of the best quality."""

    def quality(evaluation: Evaluation) -> float:
        figure = evaluation.figures.get(key)
        return figure.value if figure else 0.0

    best = max(map(quality, evaluations))
    good = [each for each in evaluations if quality(each) >= best - AS_GOOD]
    return min(good, key=lambda each: each.latency[SEARCH].p50.value)

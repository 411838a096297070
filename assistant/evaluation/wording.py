"""Words and numbers for people: what each measure is called, and what a run was about."""

from dataclasses import dataclass

from assistant.evaluation.compare import Comparison
from assistant.evaluation.figures import Evaluation
from assistant.evaluation.metrics import Figure

SHARE, COUNTED, PLAIN = "share", "counted", "plain"


@dataclass(frozen=True)
class Measure:
    """A measure's name, how its numbers are written, and what it tells."""

    key: str
    label: str
    form: str
    meaning: str


@dataclass(frozen=True)
class Line:
    """A figure as text."""

    measure: Measure
    value: str
    interval: str
    n: str


GROUPS: dict[str, tuple[Measure, ...]] = {
    "Finding": (
        Measure("passage_hit@1", "passage hit@1", SHARE, "the first passage is a gold one"),
        Measure("passage_hit@5", "passage hit@5", SHARE, "a gold passage is among five"),
        Measure("passage_hit@10", "passage hit@10", SHARE, "a gold passage is among ten"),
        Measure("ndcg@10", "page nDCG@10", SHARE, "pages in the order of their grades"),
        Measure("mrr", "page MRR", SHARE, "1 / rank of the first relevant page"),
        Measure("recall@1", "page recall@1", SHARE, "relevant pages found first"),
        Measure("recall@5", "page recall@5", SHARE, "relevant pages among five"),
        Measure("recall@10", "page recall@10", SHARE, "relevant pages among ten"),
    ),
    "Answers": (
        Measure("answer_span_hit", "answer-span hit", SHARE, "answerable: answered, and right"),
        Measure(
            "answer_span_hit_unfiltered",
            "… before abstaining",
            SHARE,
            "right, if none were held back",
        ),
        Measure("answer_span_hit_answered", "… of those answered", SHARE, "right if answered"),
        Measure("answer_sentences", "sentences an answer", PLAIN, "mean length"),
        Measure("answer_words", "words an answer", PLAIN, "mean length"),
    ),
    "Answers in a model's words": (
        Measure("generated", "answered so", COUNTED, "share of all questions"),
        Measure("fell_back", "model asked in vain", COUNTED, "too little of what it wrote held"),
        Measure(
            "answer_span_hit_generated", "answer-span hit", SHARE, "right, of those answerable"
        ),
        Measure("unsupported_written", "unsupported, as written", SHARE, "sentences, by words"),
        Measure("removed", "removed by the check", SHARE, "of all sentences written"),
        Measure("unsupported_shown", "unsupported, as shown", SHARE, "sentences, by words"),
        Measure("citation_precision", "citation precision", SHARE, "citations of use, by words"),
        Measure("citation_recall", "citation recall", SHARE, "sentences that their quotes hold"),
    ),
    "Silence and confidence": (
        Measure("auroc", "AUROC", SHARE, "confidence tells answerable from unanswerable"),
        Measure("coverage", "answered", COUNTED, "share of all questions, at the threshold"),
        Measure("error", "wrong, of those answered", COUNTED, "at the threshold"),
        Measure("refused_answerable", "refused, of answerable", COUNTED, "silent without need"),
        Measure("answered_unanswerable", "answered, of unanswerable", COUNTED, "should be silent"),
        Measure("aurc", "area under risk-coverage", SHARE, "lower is better"),
        Measure("calibration_error", "calibration error", SHARE, "confidence against share right"),
    ),
}


def lines(evaluation: Evaluation) -> dict[str, list[Line]]:
    """The figures there are, by group."""
    groups = {
        name: [
            _line(measure, evaluation.figures[measure.key])
            for measure in measures
            if measure.key in evaluation.figures
        ]
        for name, measures in GROUPS.items()
    }
    return {name: found for name, found in groups.items() if found}


def latency_lines(evaluation: Evaluation) -> list[tuple[str, str, str, str, str]]:
    """Stage, median, its interval, 95th percentile, its interval; in milliseconds."""
    return [
        (
            stage,
            f"{of.p50.value:.1f}",
            f"{of.p50.low:.1f} – {of.p50.high:.1f}",
            f"{of.p95.value:.1f}",
            f"{of.p95.low:.1f} – {of.p95.high:.1f}",
        )
        for stage, of in evaluation.latency.items()
    ]


def _line(measure: Measure, figure: Figure) -> Line:
    digits = 1 if measure.form == PLAIN else 3
    count = f"{round(figure.value * figure.n):,} of " if measure.form == COUNTED else ""
    return Line(
        measure,
        f"{figure.value:.{digits}f}",
        f"{figure.low:.{digits}f} – {figure.high:.{digits}f}",
        f"{count}{figure.n:,}",
    )


def title(evaluation: Evaluation) -> str:
    """What was measured: the set and its split."""
    run = evaluation.run
    return f"{run.name}, split {run.split}" if run.split else run.name


def decider(comparison: Comparison) -> str:
    """What the best of several is chosen by."""
    labels = {each.key: each.label for group in GROUPS.values() for each in group}
    return f"the fastest search within a point of the best {labels[comparison.measure]}"


def models(evaluation: Evaluation) -> str:
    """The embedder and the reranker."""
    run = evaluation.run
    return f"{run.embedder} + {run.reranker or 'no reranker'}"


def facts(evaluation: Evaluation) -> list[str]:
    """How much was asked of how much, and what to know before reading the figures."""
    run = evaluation.run
    asked = len(run.outcomes)
    said = [
        f"{asked:,} questions ({asked - evaluation.answerable:,} of them unanswerable) on "
        f"{run.documents:,} documents, index state {run.index_state}",
    ]
    if run.left_out:
        said.append(f"{run.left_out:,} queries left out: their page is not in the corpus")
    if not evaluation.has_passages:
        said.append("no gold passages here: a passage of a relevant page counts as a hit")
    if run.reranker is None:
        said.append("without reranking only the search is measured: answers always rerank")
    elif evaluation.judged < asked:
        said.append(
            f"risk and calibration are of the {evaluation.judged:,} answers given: what the "
            "abstentions held back is not known"
        )
    return said

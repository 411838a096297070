"""Fit the confidence model: `python -m benchmarks.calibrate` writes assistant/confidence.json.

The product answers question sets of three kinds, and each answer is judged as `casebook eval` judges
it. The weights are those of a logistic regression on whether the answer was right, so that what
it gives is a probability; ten-fold cross-validation says how good a one. Needs the shared
evaluation data and a quarter of an hour.
"""

import json
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from assistant.confidence import MODEL_FILE
from assistant.evaluation.dataset import DataSet
from assistant.evaluation.lists import QuestionList
from assistant.evaluation.metrics import calibration_error
from assistant.evaluation.run import Run, measure
from assistant.evaluation.source import Source, open_source
from assistant.settings import load_settings
from benchmarks.questions import ROOT, SHARED_EVAL, write_case_study_list, write_infra_ids
from benchmarks.train_reader import held_out_articles, squad2_questions
from index.embedder import load_embedder
from ingest.sync import sync_paths

WEIGHTS = {"case studies": 2.0, "infra-faq dev": 1.0, "squad2 dev": 1.0}
"""What a set counts in all for the weights, however many its questions."""

THRESHOLD_SETS = ("case studies", "infra-faq dev")
"""What the threshold is chosen on. SQuAD's unanswerable questions were written to fool a reader of the
right paragraph, and no signal here tells many of them: to silence those, a threshold would have
to silence every second answer."""

PAGES = 700


@dataclass(frozen=True)
class Judged:
    """A question set answered: signals `(questions, signals)`, whether each answer was right, and
    whether there was one.
    """

    signals: np.ndarray
    right: np.ndarray
    answerable: np.ndarray


def judged(run: Run, names: list[str]) -> Judged:
    """The parts of each confidence and what became of the answer."""
    parts = [each.answer.trace.confidence.parts for each in run.outcomes]
    names[:] = names or list(parts[0])
    return Judged(
        np.array([[part[name] for name in names] for part in parts]),
        np.array([bool(each.right) for each in run.outcomes]),
        np.array([each.question.answerable for each in run.outcomes]),
    )


def main() -> int:
    """Ask, fit, report and write."""
    if not SHARED_EVAL.exists():
        print(f"calibration needs the evaluation data at {SHARED_EVAL}", file=sys.stderr)
        return 1
    names: list[str] = []
    with TemporaryDirectory() as scratch:
        sets = {
            name: judged(_run(source, Path(scratch)), names)
            for name, source in _sources(Path(scratch)).items()
        }
    model, threshold, measured = fit(sets)
    MODEL_FILE.write_text(json.dumps(stored(model, names, threshold, measured), indent=2) + "\n")
    print(MODEL_FILE.read_text())
    return 0


def _sources(scratch: Path) -> dict[str, Source]:
    write_case_study_list(scratch / "case-studies.jsonl")
    write_infra_ids(scratch / "infra-faq.txt", PAGES)
    return {
        "case studies": open_source(scratch / "case-studies.jsonl"),
        "infra-faq dev": open_source(
            SHARED_EVAL / "infra-faq", corpus_ids=scratch / "infra-faq.txt", indexes=scratch
        ),
        "squad2 dev": _not_trained_on(open_source(SHARED_EVAL / "squad2", indexes=scratch)),
    }


def _not_trained_on(source: Source) -> Source:
    """Only the questions about the articles that the span reader has not seen."""
    content = source.content
    assert isinstance(content, DataSet)
    own = squad2_questions()
    held_out = held_out_articles(own)
    texts = {question.text for question in own if question.article in held_out}
    kept = tuple(question for question in content.questions if question.text in texts)
    return replace(source, content=replace(content, questions=kept))


def _run(source: Source, scratch: Path) -> Run:
    settings = load_settings(index=scratch / "case-studies")
    if isinstance(source.content, QuestionList):
        sync_paths(
            [ROOT / "corpus"],
            settings.index,
            load_embedder(settings.embedder),
            base=ROOT,
            labels=frozenset({"public"}),
            report=lambda progress: None,
        )
    return measure(source, settings, rerank=True, report=lambda progress: None)


def fit(sets: dict[str, Judged]) -> tuple[Pipeline, float, dict[str, dict[str, float]]]:
    """The model over all sets, its threshold, and what cross-validation says of both for each."""
    signals = np.concatenate([each.signals for each in sets.values()])
    right = np.concatenate([each.right for each in sets.values()])
    weights = np.concatenate(
        [
            np.full(len(each.right), 1000 * WEIGHTS[name] / len(each.right))
            for name, each in sets.items()
        ]
    )
    model = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, interaction_only=True, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=0.003, max_iter=1000),
    )
    # Rows are dealt to the folds in turn, so that each fold holds all sets and both classes.
    folds = np.arange(len(right)) % 10
    predicted = cross_val_predict(
        model,
        signals,
        right,
        cv=[(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(10)],
        method="predict_proba",
        params={"logisticregression__sample_weight": weights},
    )[:, 1]
    threshold = best_threshold(dict(zip(sets, _split(predicted, sets), strict=True)), sets)
    measured = {}
    for (name, each), chance in zip(sets.items(), _split(predicted, sets), strict=True):
        answered = chance >= threshold
        measured[name] = {
            "questions": len(each.right),
            "auroc": round(float(roc_auc_score(each.answerable, chance)), 3),
            "answers": int(answered.sum()),
            "wrong_answers": int((answered & ~each.right).sum()),
            "answered_of_unanswerable": int((answered & ~each.answerable).sum()),
            "refused_of_answerable": int((~answered & each.answerable).sum()),
            "mean_confidence": round(float(chance.mean()), 3),
            "share_right": round(float(each.right.mean()), 3),
            "calibration_error": round(calibration_error(chance, each.right.astype(float)), 3),
        }
    model.fit(signals, right, logisticregression__sample_weight=weights)
    return model, threshold, measured


def _split(values: np.ndarray, sets: dict[str, Judged]) -> list[np.ndarray]:
    """The values of all questions, set by set."""
    return np.split(values, np.cumsum([len(each.right) for each in sets.values()])[:-1])


def best_threshold(chances: dict[str, np.ndarray], sets: dict[str, Judged]) -> float:
    """Where the share of unanswerable questions answered and of answerable ones refused, together,
    is within a hundredth of the least; the lowest such, because an answer that says how sure it is
    helps more than silence.
    """
    tried = np.arange(10, 81) / 100
    lost = np.zeros(len(tried))
    for name in THRESHOLD_SETS:
        chance, answerable = chances[name], sets[name].answerable
        lost += [(chance[~answerable] >= each).mean() for each in tried]
        lost += [(chance[answerable] < each).mean() for each in tried]
    return round(float(tried[lost <= min(lost) + 0.01].min()), 2)


def stored(
    model: Pipeline, names: list[str], threshold: float, measured: dict[str, dict[str, float]]
) -> dict[str, object]:
    """The model as it is kept, with where it comes from."""
    first, products, second, regression = (step for _, step in model.steps)
    weights = regression.coef_[0] / second.scale_
    bias = regression.intercept_[0] - float((weights * second.mean_).sum())
    terms = [
        " * ".join(names[number] for number in np.flatnonzero(powers))
        for powers in products.powers_
    ]
    return {
        "usual": {
            name: [round(float(mean), 5), round(float(deviation), 5)]
            for name, mean, deviation in zip(names, first.mean_, first.scale_, strict=True)
        },
        "weights": {
            term: round(float(weight), 5) for term, weight in zip(terms, weights, strict=True)
        },
        "bias": round(float(bias), 5),
        "threshold": threshold,
        "provenance": {
            "command": "python -m benchmarks.calibrate",
            "date": datetime.now(UTC).date().isoformat(),
            "set_weights": WEIGHTS,
            "threshold_from": THRESHOLD_SETS,
            "cross_validated": measured,
        },
    }


if __name__ == "__main__":
    sys.exit(main())

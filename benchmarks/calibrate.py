"""Fit the confidence model: `python -m benchmarks.calibrate` writes assistant/confidence.json.

Signals are computed by the product itself over question sets of different kinds; the weights are
those of a logistic regression, checked by ten-fold cross-validation. Needs the shared evaluation
data and a quarter of an hour.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from assistant.assistant import open_assistant
from assistant.confidence import MODEL_FILE
from assistant.schema import AskRequest
from assistant.settings import load_settings
from benchmarks.questions import SHARED_EVAL, QuestionSet, case_studies, infra_faq, squad
from index.embedder import SentenceTransformerEmbedder
from ingest.sync import sync

WEIGHTS = {"case studies": 2.0, "infra-faq dev": 1.0, "squad2 dev": 0.25}
"""What a set counts in all. SQuAD's unanswerable questions were written to fool a reader of the
right paragraph: no signal here tells many of them, so more weight would only blunt the rest."""


def signals_of(questions: QuestionSet, folder: Path) -> tuple[list[dict[str, float]], list[bool]]:
    """Ingest a set's documents, ask its questions and collect the parts of each confidence."""
    settings = load_settings(index=folder)
    embedder = SentenceTransformerEmbedder(settings.embedder)
    public = frozenset({"public"})
    sync(
        [questions.documents],
        folder,
        embedder,
        base=Path.cwd(),
        default_access=public,
        report=lambda progress: None,
    )
    assistant = open_assistant(settings)
    parts = []
    for asked in questions.questions:
        answer = assistant.ask(AskRequest(question=asked.question, explain=True))
        parts.append(answer.trace.confidence.parts if answer.trace else {})
    assistant.close()
    return parts, [asked.answerable for asked in questions.questions]


def main() -> int:
    """Fit, report and write."""
    if not SHARED_EVAL.exists():
        print(f"calibration needs the evaluation data at {SHARED_EVAL}", file=sys.stderr)
        return 1
    with TemporaryDirectory() as scratch:
        base = Path(scratch)
        sets = [case_studies(), squad(base / "squad", 300), infra_faq(base / "infra", 60)]
        found = {
            each.name: signals_of(each, base / f"index-{number}")
            for number, each in enumerate(sets)
        }
    names = list(found["case studies"][0][0])
    matrices = {
        name: np.array([[part[signal] for signal in names] for part in parts])
        for name, (parts, _) in found.items()
    }
    labels = {name: np.array(answerable) for name, (_, answerable) in found.items()}
    model, threshold, measured = fit(matrices, labels)
    MODEL_FILE.write_text(json.dumps(stored(model, names, threshold, measured), indent=2) + "\n")
    print(MODEL_FILE.read_text())
    return 0


def fit(
    matrices: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> tuple[Pipeline, float, dict[str, dict[str, float]]]:
    """The model over all sets, its threshold, and what cross-validation says of both for each."""
    everything = np.concatenate(list(matrices.values()))
    answerable = np.concatenate(list(labels.values()))
    weights = np.concatenate([_weights(name, labels[name]) for name in matrices])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3))
    # Rows are dealt to the folds in turn, so that each fold holds all sets and both classes.
    folds = [
        (np.arange(len(answerable)) % 10 != k, np.arange(len(answerable)) % 10 == k)
        for k in range(10)
    ]
    predicted = cross_val_predict(
        model,
        everything,
        answerable,
        cv=[(np.flatnonzero(train), np.flatnonzero(test)) for train, test in folds],
        method="predict_proba",
        params={"logisticregression__sample_weight": weights},
    )[:, 1]
    threshold = best_threshold(predicted, answerable, weights)
    measured, start = {}, 0
    for name, truth in labels.items():
        chance = predicted[start : start + len(truth)]
        start += len(truth)
        measured[name] = {
            "questions": len(truth),
            "auroc": round(float(roc_auc_score(truth, chance)), 3),
            "answered_of_unanswerable": int(((chance >= threshold) & ~truth).sum()),
            "refused_of_answerable": int(((chance < threshold) & truth).sum()),
        }
    model.fit(everything, answerable, logisticregression__sample_weight=weights)
    return model, threshold, measured


def best_threshold(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """Where wrong answers and wrong refusals together are fewest; the middle of a level stretch."""
    tried = np.arange(20, 81) / 100
    lost = [weights[(chance >= each) != truth].sum() for each in tried]
    return round(float(np.median(tried[np.isclose(lost, min(lost))])), 2)


def _weights(name: str, truth: np.ndarray) -> np.ndarray:
    """Both classes of a set weigh the same, and the sets as `WEIGHTS` says."""
    balanced = np.where(truth, 1 / truth.sum(), 1 / (~truth).sum())
    return 100 * WEIGHTS[name] * balanced


def stored(
    model: Pipeline, names: list[str], threshold: float, measured: dict[str, dict[str, float]]
) -> dict[str, object]:
    """The model in the units of the signals, with where it comes from."""
    scaler, regression = model[0], model[-1]
    weights = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_[0] - float((weights * scaler.mean_).sum())
    return {
        "weights": {
            name: round(float(weight), 4) for name, weight in zip(names, weights, strict=True)
        },
        "bias": round(float(bias), 4),
        "threshold": threshold,
        "provenance": {
            "command": "python -m benchmarks.calibrate",
            "date": datetime.now(UTC).date().isoformat(),
            "set_weights": WEIGHTS,
            "cross_validated": measured,
        },
    }


if __name__ == "__main__":
    sys.exit(main())

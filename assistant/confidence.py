"""Confidence: the probability that the answer is right, from signals that a person can read.

A logistic model over a few signals and their products. Its weights, the threshold and where they came from lie in
`confidence.json`, written by `benchmarks/calibrate.py`; nothing here is set by hand.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assistant.extract import Quote
from assistant.question import (
    asks_yes_or_no,
    expected_kinds,
    focus_words,
    holds_kind,
    named_things,
)
from assistant.roles import asked_roles
from assistant.support import WordSupport
from index.retriever import Candidate
from index.span_reader import Reading
from index.text import terms

MODEL_FILE = Path(__file__).with_name("confidence.json")

UNSUPPORTED = 0.45
"""Support below which a word counts as not spoken of: the likeness of unrelated words is 0.1 to 0.4,
that of a synonym 0.4 to 0.7, of the same word 0.7 to 1."""

NAMED = 0.6
"""Support below which a name that is not written in the passages is not there under another form."""

NO_FOCUS = 0.7
"""What `focus` is where a question has no such phrase: between unsupported and supported."""

REREAD_FROM = -8.0
"""Below this the reranker's logits no longer tell a paraphrase from another subject."""

MOST_AHEAD = 8.0
"""Logits beyond which a lead says no more."""

JUDGED = 3
"""Candidates that are looked at: those an answer may draw on."""


@dataclass(frozen=True)
class Confidence:
    """The probability, the threshold below which the assistant abstains, and the signals."""

    value: float
    threshold: float
    parts: Mapping[str, float]
    silent_on: tuple[str, ...]
    missing_kinds: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether to answer."""
        return self.value >= self.threshold


@dataclass(frozen=True)
class Model:
    """A logistic model over signals and their products, which let one signal say how far another is
    to be believed: a reranker's logit says little where the question asks for a part of a story.

    `usual` has each signal's mean and deviation; `weights` those of the standardised signals, and
    of products under `first * second`.
    """

    usual: Mapping[str, tuple[float, float]]
    weights: Mapping[str, float]
    bias: float
    threshold: float

    def probability(self, signals: Mapping[str, float]) -> float:
        """The probability for one question's signals."""
        standard = {
            name: (signals[name] - mean) / deviation
            for name, (mean, deviation) in self.usual.items()
        }
        logit = self.bias + sum(
            weight * math.prod(standard[name] for name in term.split(" * "))
            for term, weight in self.weights.items()
        )
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


@lru_cache(maxsize=1)
def load_model() -> Model:
    """The calibrated model that comes with the package."""
    stored = json.loads(MODEL_FILE.read_text(encoding="utf-8"))
    usual = {name: (mean, deviation) for name, (mean, deviation) in stored["usual"].items()}
    return Model(usual, stored["weights"], stored["bias"], stored["threshold"])


def signals(
    question: str,
    candidates: Sequence[Candidate],
    quotes: Sequence[Quote],
    support: Sequence[WordSupport],
    readings: Sequence[Reading],
) -> dict[str, float]:
    """What speaks for and against the quotes as an answer, and the candidates that they are from,
    best first; at least one of each.

    `rerank`: the best logit of the first three, kept within what the model separates; `dense` and
    `lexical`: likeness of the first; `role`: how far its heading is the part asked for, and
    `asks_role` whether one was; `support_*` and `unsupported`: over the words that name the
    subject; `focus`: least support of what is asked for ("which *vector database*"); `name_missing`: a
    name that no passage has; `kind_missing`: a version, number, date … that the first passage
    would have to hold; `answerable`: the span reader's best log odds, over the first three, that there
    is an answer; `sentence`: the best logit of a quote; `ahead`: logits by which the first passage leads
    the next; `help`: the first answers questions, by its headings; `quoted`: share of the question's
    terms that the quotes or their headings hold.
    """
    best = candidates[0]
    strengths = [each.support for each in support if each.subject] or [1.0]
    focus_strengths = [each.support for each in support if each.word in focus_words(question)]
    focus = min(focus_strengths, default=NO_FOCUS)
    return {
        "rerank": max(REREAD_FROM, *(_logit(candidate) for candidate in candidates[:JUDGED])),
        "dense": best.scores["dense"],
        "lexical": best.scores["lexical"],
        "role": best.scores["role"] * min(1.0, focus / NO_FOCUS),
        "asks_role": float(bool(asked_roles(question))),
        "support_mean": sum(strengths) / len(strengths),
        "support_least": min(strengths),
        "unsupported": sum(each < UNSUPPORTED for each in strengths) / len(strengths),
        "focus": focus,
        "yes_no": float(asks_yes_or_no(question)),
        "name_missing": float(bool(_missing_names(question, candidates, support))),
        "kind_missing": float(bool(_missing_kinds(question, candidates))),
        "answerable": max(-each.none for each in readings),
        "sentence": max(REREAD_FROM, *(quote.score for quote in quotes)),
        "ahead": _lead(candidates),
        "help": best.scores["help"],
        "quoted": _quoted(question, quotes),
    }


def _lead(candidates: Sequence[Candidate]) -> float:
    finals = [each.scores["final"] for each in candidates[:2] if "final" in each.scores]
    return min(MOST_AHEAD, finals[0] - finals[1]) if len(finals) == 2 else MOST_AHEAD


def _quoted(question: str, quotes: Sequence[Quote]) -> float:
    wanted = set(terms(question))
    said = {
        term
        for quote in quotes
        for part in (quote.text, *quote.passage.document.place, *quote.passage.chunk.heading_path)
        for term in terms(part)
    }
    return len(wanted & said) / len(wanted) if wanted else 1.0


def _logit(candidate: Candidate) -> float:
    return candidate.scores.get("rerank", REREAD_FROM)


def _missing_names(
    question: str, candidates: Sequence[Candidate], support: Sequence[WordSupport]
) -> list[str]:
    said = " ".join(each.passage.contextual_text for each in candidates[:JUDGED]).lower()
    strength = {each.word: each.support for each in support}
    return [
        name
        for name in named_things(question)
        if name.lower() not in said and strength.get(name, 1.0) < NAMED
    ]


def _missing_kinds(question: str, candidates: Sequence[Candidate]) -> list[str]:
    body = candidates[0].passage.body
    return [kind for kind in expected_kinds(question) if not holds_kind(kind, body)]


def judge(
    question: str,
    candidates: Sequence[Candidate],
    quotes: Sequence[Quote],
    support: Sequence[WordSupport],
    readings: Sequence[Reading],
) -> Confidence:
    """How likely the quotes, taken from the candidates, answer the question rightly. `readings` are of
    the first `JUDGED` candidates.
    """
    model = load_model()
    parts = signals(question, candidates, quotes, support, readings)
    return Confidence(
        value=model.probability(parts),
        threshold=model.threshold,
        parts=parts,
        silent_on=tuple(
            each.word for each in support if each.subject and each.support < UNSUPPORTED
        ),
        missing_kinds=tuple(_missing_kinds(question, candidates)),
    )

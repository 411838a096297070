"""Verification: whether the passages that a claim cites, or any others, support it.

A claim is supported where every name, number, command and the like in it stands in its evidence, nothing in it says
the opposite, and a logistic model over the signals of `evidence` holds it for likely. The weights, the
threshold and where they came from lie in `support.json`, written by `benchmarks/calibrate_support.py`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assistant.confidence import Model
from assistant.generation.claims import Claim
from assistant.generation.evidence import Evidence, Finder, signals
from assistant.generation.literals import Source
from assistant.generation.polarity import contradicts
from assistant.models import Models
from assistant.support import PassageTokens
from index.schema import Passage
from index.text import terms

MODEL_FILE = Path(__file__).with_name("support.json")

MOST_PASSAGES = 8
"""Passages that a claim is checked against: as many as a prompt holds."""

LONGEST = 1200
"""Characters; what is longer is no sentence that anybody checks."""

_OF_ITSELF = re.compile(
    r"\b(?:I|I['’](?:m|ve|d|ll)|me|my|myself|as an? (?:ai|assistant|language model)|(?:ai|large) language model"
    r"|system prompt|(?:my|these|those|your|the|previous|prior|above|initial|original) (?:system )?instructions?"
    r"|the (?:\w+ )?passages?|the fence|the user(?:'s)? question|the question)\b"
)


@dataclass(frozen=True)
class Support:
    """The span `[start, end)` of the document of passage `number`, from 1, that supports a claim; `score` is
    the probability.
    """

    number: int
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Verdict:
    """Whether a claim is supported, by what, how likely; `reason` says for people why it is not."""

    claim: Claim
    supported: bool
    supports: tuple[Support, ...]
    probability: float
    reason: str | None


@lru_cache(maxsize=1)
def load_model() -> Model:
    """The calibrated model that comes with the package."""
    stored = json.loads(MODEL_FILE.read_text(encoding="utf-8"))
    usual = {name: (mean, deviation) for name, (mean, deviation) in stored["usual"].items()}
    return Model(usual, stored["weights"], stored["bias"], stored["threshold"])


class Verifier:
    """Checks claims against passages. Safe to share between threads."""

    def __init__(self, models: Models) -> None:
        self._embedder = models.embedder
        self._reranker = models.reranker
        self._finder = Finder(PassageTokens(models.embedder, kept=1024))

    def check(self, claim: Claim, passages: Sequence[Passage]) -> Verdict:
        """Check a claim against the passages it cites, then against the others one by one."""
        numbered = list(enumerate(passages[:MOST_PASSAGES], 1))
        cited = [each for each in numbered if each[0] in claim.markers]
        others = [each for each in numbered if each not in cited]
        alone = [self._against(claim, [each]) for each in cited]
        if not any(verdict.supported for verdict in alone) and len(cited) > 1:
            alone.append(self._against(claim, cited))
        if not any(verdict.supported for verdict in alone):
            alone += [self._against(claim, [each]) for each in others]
        return _together(claim, alone)

    def _against(self, claim: Claim, numbered: Sequence[tuple[int, Passage]]) -> Verdict:
        """The verdict on a claim if these passages, taken together, were all there is."""
        if len(claim.text) > LONGEST or not terms(claim.text):
            return _unsupported(claim, "It says nothing that can be checked.")
        evidence = self.evidence(claim.text, numbered)
        if evidence is None:
            return _unsupported(claim, "No passage says this.")
        if reason := self.refused(claim.text, evidence, [passage for _, passage in numbered]):
            return _unsupported(claim, reason)
        probability = load_model().probability(self.signals(claim.text, evidence))
        if probability < load_model().threshold:
            return Verdict(claim, False, (), probability, "No passage says this clearly enough.")
        supports = tuple(
            Support(span.number, span.start, span.end, round(probability, 4))
            for span in evidence.spans
        )
        return Verdict(claim, True, supports, probability, None)

    def evidence(self, claim: str, numbered: Sequence[tuple[int, Passage]]) -> Evidence | None:
        """What speaks for a claim in numbered passages taken together; None if nothing does."""
        return self._finder.find(claim, numbered)

    def signals(self, claim: str, evidence: Evidence) -> dict[str, float]:
        """The signals that the logistic model weighs."""
        mine, theirs = self._embedder.embed([claim, evidence.text])
        (logit,) = self._reranker.score(claim, [evidence.read])
        return signals(claim, evidence, float(logit), float(mine @ theirs))

    def refused(self, claim: str, evidence: Evidence, passages: Sequence[Passage]) -> str | None:
        """Why a claim can't be supported whatever its probability; None if nothing forbids it."""
        whole = " ".join(passage.contextual_text for passage in passages)
        of_itself = _OF_ITSELF.search(claim)
        if of_itself and of_itself[0].lower() not in evidence.text.lower():
            return "It speaks of the assistant, not of the sources."
        if absent := Source(whole).missing(claim, self._embedder.is_word):
            return f"“{absent[0].written}” is not in the passage."
        if word := contradicts(claim, evidence.read):
            return f"The passage says otherwise about “{word}”."
        return None


def _unsupported(claim: Claim, reason: str) -> Verdict:
    return Verdict(claim, False, (), 0.0, reason)


def _together(claim: Claim, verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict: that of all supports, the likeliest first, or that on the first passage asked."""
    supported = [verdict for verdict in verdicts if verdict.supported]
    if not supported:
        return max(
            verdicts,
            key=lambda each: each.probability,
            default=_unsupported(claim, "No passage was given."),
        )
    best = max(supported, key=lambda each: each.probability)
    cited = [each for each in supported if {s.number for s in each.supports} <= set(claim.markers)]
    spans = dict.fromkeys(span for each in (cited or [best]) for span in each.supports)
    return Verdict(claim, True, tuple(spans), best.probability, None)

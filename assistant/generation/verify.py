"""Verification: whether the passages that a claim cites, or any others, support it.

A claim is supported where every name, number, command and the like in it stands in its evidence, nothing in it says
the opposite, and a logistic model over the signals of `evidence` holds it for likely. The weights, the
threshold and where they came from lie in `support.json`, written by `benchmarks/calibrate_support.py`.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assistant.confidence import Model
from assistant.generation.claims import Claim
from assistant.generation.content import EMPTY
from assistant.generation.evidence import Evidence, Finder, signals
from assistant.generation.literals import Source
from assistant.generation.polarity import contradicts, turns_round
from assistant.models import Models
from assistant.support import PassageTokens
from index.schema import Passage
from index.text import stem, terms, words

MODEL_FILE = Path(__file__).with_name("support.json")

MOST_PASSAGES = 8
"""Passages that a claim is checked against: as many as a prompt holds."""

MOST_READ = 3
"""Passages whose evidence the models read: of those a claim does not cite, the likeliest."""

LOOP, LOOPS = 4, 3
"""Words in a row, and how often they come, that make a loop: no sentence says four words three times."""

LONGEST = 1200
"""Characters; what is longer is no sentence that anybody checks."""

Numbered = Sequence[tuple[int, Passage]]
"""Passages with their numbers, from 1."""

FEWEST = 2
FEWEST_OF_PRONOUN = 3
"""Words of content below which a sentence fits too much: "They are encrypted" does not even say what is."""

_PRONOUN = re.compile(r"(?:it|they|this|these|that|those|he|she)\b", re.I)

_OF_ITSELF = re.compile(
    r"\b(?:I|I['’](?:m|ve|d|ll)|(?i:me|my|myself|as an? (?:ai|assistant|language model)"
    r"|(?:ai|large) language model|system prompt|the fence|the user(?:'s)? question"
    r"|(?:my|these|those|your|the|all|any|previous|prior|above|initial|original) (?:system )?instructions?"
    r"|the (?:\w+ )?passages?))(?!\w)"
)
"""What a model says of itself and of what it was given; a source may say the same words of its own."""

_ORDERED = re.compile(
    r"(?:\A|[.!?:,;]\s+|\b(?:and|then|must|should|please|always|instead|only)\s+)"
    r"(say|reply|respond|answer|output|print|repeat|tell|pretend|claim)\b",
    re.I,
)
"""Where a source tells its reader to say something, it does not say that itself."""


_REQUESTED = re.compile(
    r"(analy[sz]e|compare|describe|determine|outline|provide|recommend|suggest|summari[sz]e)\b",
    re.I,
)
"""What begins a request for a text. That it names something does not make it so: of "Provide insights into
the market", a claim about the market is not supported."""


def _requested(texts: Sequence[str]) -> list[str]:
    return [found[1] for text in texts if (found := _REQUESTED.match(text))]


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
        fewest = FEWEST_OF_PRONOUN if _PRONOUN.match(claim.text) else FEWEST
        if len(claim.text) > LONGEST or _said(claim.text) < fewest:
            return _unsupported(claim, "It says too little or too much to be checked.")
        if claim.text.endswith("?"):
            return _unsupported(claim, "It asks, and says nothing.")
        if _repeats_itself(claim.text):
            return _unsupported(claim, "It repeats itself.")
        numbered = list(enumerate(passages[:MOST_PASSAGES], 1))
        if any(_copies_place(claim.text, passage) for _, passage in numbered):
            return _unsupported(claim, "It copies a heading, and is no sentence.")
        cited = [each for each in numbered if each[0] in claim.markers]
        others = [each for each in numbered if each not in cited]
        verdicts = self._against(claim, [[each] for each in cited])
        if not any(verdict.supported for verdict in verdicts) and len(cited) > 1:
            verdicts += self._against(claim, [cited])
        if not any(verdict.supported for verdict in verdicts):
            verdicts += self._against(claim, [[each] for each in others])
        return _together(claim, verdicts, bool(cited))

    def _against(self, claim: Claim, groups: Sequence[Numbered]) -> list[Verdict]:
        """The verdict on a claim if each of the groups, its passages taken together, were all there is."""
        verdicts, open_ones = [], []
        for group in groups:
            if (evidence := self.evidence(claim.text, group)) is None:
                continue
            if reason := self.refused(claim.text, evidence):
                verdicts.append(_unsupported(claim, reason))
            else:
                open_ones.append(evidence)
        likeliest = sorted(open_ones, key=lambda each: -each.support.mean())[:MOST_READ]
        for evidence, parts in zip(likeliest, self.signals(claim.text, likeliest), strict=True):
            verdicts.append(_judged(claim, evidence, load_model().probability(parts)))
        return verdicts

    def evidence(self, claim: str, group: Numbered) -> Evidence | None:
        """What speaks for a claim in numbered passages taken together; None if nothing does."""
        return self._finder.find(claim, group)

    def signals(self, claim: str, found: Sequence[Evidence]) -> list[dict[str, float]]:
        """The signals that the logistic model weighs, for each piece of evidence."""
        if not found:
            return []
        mine, *theirs = self._embedder.embed([claim, *(each.text for each in found)])
        logits = self._reranker.score(claim, [each.read for each in found])
        return [
            signals(claim, each, float(logit), float(mine @ their))
            for each, logit, their in zip(found, logits, theirs, strict=True)
        ]

    def refused(self, claim: str, evidence: Evidence) -> str | None:
        """Why a claim can't be supported whatever its probability; None if nothing forbids it."""
        of_itself = _OF_ITSELF.search(claim)
        if of_itself and not re.search(rf"\b{of_itself[0]}(?!\w)", evidence.text, re.I):
            return "It speaks of the assistant, not of the sources."
        ordered = [*_ORDERED.findall(evidence.text), *_requested(evidence.texts)]
        if any(stem(verb.lower()) not in terms(claim) for verb in ordered):
            return "The passage tells its reader to say this, and does not say it."
        # What one sentence names or counts, another's does not: literals have to stand in the evidence itself.
        if absent := Source(evidence.read).missing(claim, self._embedder.is_word):
            return f"“{absent[0].written}” is not said of this in the passage."
        if word := contradicts(claim, evidence.read):
            return f"The passage says otherwise about “{word}”."
        if turns_round(claim, evidence.text):
            return "The passage says it the other way round."
        return None


def _said(text: str) -> int:
    """How many different words of content a text has."""
    return len({stem(word.lower()) for word in words(text) if word.lower() not in EMPTY})


def _repeats_itself(text: str) -> bool:
    """Whether the same few words in a row come again and again, as where a model is caught in a loop."""
    said = [word.lower() for word in words(text)]
    rows = Counter(tuple(said[at : at + LOOP]) for at in range(len(said) - LOOP + 1))
    return max(rows.values(), default=0) >= LOOPS


def _copies_place(text: str, passage: Passage) -> bool:
    """Whether a text begins with the line of headings that stands over a passage in the prompt."""
    place = dict.fromkeys((*passage.document.place, *passage.chunk.heading_path))
    return any(part and text.startswith(f"{part} > ") for part in place)


def _unsupported(claim: Claim, reason: str) -> Verdict:
    return Verdict(claim, False, (), 0.0, reason)


def _judged(claim: Claim, evidence: Evidence, probability: float) -> Verdict:
    if probability < load_model().threshold:
        return Verdict(claim, False, (), probability, "No passage says this clearly enough.")
    score = round(probability, 4)
    supports = tuple(Support(each.number, each.start, each.end, score) for each in evidence.spans)
    return Verdict(claim, True, supports, probability, None)


def _together(claim: Claim, verdicts: Sequence[Verdict], cites: bool) -> Verdict:
    """One verdict: with the supports that the claim cites, or else the likeliest. Where there is no support the
    reason is that of the first passage it cites, if it does, or of the likeliest.
    """
    supported = [verdict for verdict in verdicts if verdict.supported]
    if not supported:
        nothing = _unsupported(claim, "No passage says anything of this.")
        likeliest = max(verdicts, key=lambda each: each.probability, default=nothing)
        return verdicts[0] if verdicts and cites else likeliest
    best = max(supported, key=lambda each: each.probability)
    cited = [each for each in supported if {s.number for s in each.supports} <= set(claim.markers)]
    spans = dict.fromkeys(span for each in (cited or [best]) for span in each.supports)
    return Verdict(claim, True, tuple(spans), best.probability, None)

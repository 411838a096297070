"""Extraction: the sentences that answer, chosen from the best passages, as exact spans."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.question import subject_words
from assistant.roles import asked_roles
from index.reranker import Reranker
from index.retriever import Candidate
from index.schema import Passage
from index.sentences import Sentence, sentences
from index.span_reader import Reading
from index.text import stem, words

PASSAGES = 3
"""Passages that an answer may draw on."""

SENTENCES = 2
"""Sentences an answer has at most; lead-ins bring what they announce on top."""

PER_DOCUMENT = 2
"""Of them from one document. Whoever writes a document that repeats a question five times fills the first ranks with
it; what others say of the same comes in as third. The document is the unit because it is what one hand writes: a
configured source holds those of a whole team, and two passages of it would be too few for any answer."""

PASSAGE_MARGIN = 5.0
"""Logits by which a second passage may fall short of the first and still add to the answer."""

SENTENCE_MARGIN = 6.0
"""Logits by which a sentence may fall short of the best one of its answer."""

ANNOUNCED = 4
"""Items that a lead-in brings at most: enough for most steps, short enough to read."""

OVERVIEW_SENTENCES = 4

_MARKER = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+$")


@dataclass(frozen=True)
class Quote:
    """A span `[start, end)` of a passage's document that answers.

    `score` is the reranker's logit of the span less what its passage falls behind the best one by.
    """

    passage: Passage
    start: int
    end: int
    score: float

    @property
    def text(self) -> str:
        """The words of the span."""
        return self.passage.document.text[self.start : self.end]

    @property
    def in_list(self) -> bool:
        """Whether the span is an item of a list: its line begins with a marker."""
        line = self.passage.document.text.rfind("\n", 0, self.start) + 1
        return bool(_MARKER.match(self.passage.document.text[line : self.start]))


def extract(
    question: str,
    candidates: Sequence[Candidate],
    reranker: Reranker,
    readings: Sequence[Reading] = (),
) -> list[Quote]:
    """The quotes that answer a question, best passage first, each passage in the order of its text.

    `candidates` are best first and at least one; `readings` are what the span reader found in the
    first of them. Where it found an answer the sentence that holds it is among the quotes.
    """
    found = _likeliest(readings)
    chosen = _drawn_on(candidates, found)
    pieces = [(candidate, sentences(candidate.passage.body)) for candidate in chosen]
    scored = _scored(question, pieces, reranker)
    top = max(quote.score for quotes in scored for quote in quotes)
    kept = sorted(
        (quote for quotes in scored for quote in quotes if quote.score >= top - SENTENCE_MARGIN),
        key=lambda quote: -quote.score,
    )[:SENTENCES]
    # The best passage leads even where a lesser one holds the sentence with the highest score.
    first = max(scored[0], key=lambda quote: quote.score)
    if first not in kept:
        kept = [first, *kept[: SENTENCES - 1]]
    if found is not None:
        said = _said(candidates[found].passage, readings[found], scored)
        if said and said not in kept:
            kept = [*kept[: SENTENCES - 1], said]
    return [
        quote
        for quotes in scored
        for position, quote in enumerate(quotes)
        if quote in kept or _is_announced(quotes[:position], quote, kept)
    ]


def _drawn_on(candidates: Sequence[Candidate], found: int | None) -> list[Candidate]:
    """The passages to quote from, best first: near the best one, of several documents where there are some, and
    in any case the one that the span reader found the answer in.
    """
    lowest = candidates[0].scores["final"] - PASSAGE_MARGIN
    of_document: Counter[str] = Counter()
    if found is not None:
        of_document[candidates[found].passage.document.id] += 1
    chosen: list[Candidate] = []
    for number, candidate in enumerate(candidates):
        document = candidate.passage.document.id
        if number != found:
            near = candidate.scores.get("final", float("-inf")) >= lowest
            if not near or of_document[document] == PER_DOCUMENT:
                continue
            of_document[document] += 1
        chosen.append(candidate)
        if len(chosen) == PASSAGES:
            break
    return chosen


def _likeliest(readings: Sequence[Reading]) -> int | None:
    """Which of the passages read holds the answer; None if likelier none does."""
    number = min(range(len(readings)), key=lambda at: readings[at].none, default=None)
    return number if number is not None and readings[number].none < 0 else None


def _said(passage: Passage, reading: Reading, scored: Sequence[Sequence[Quote]]) -> Quote | None:
    """The sentence of a passage that holds the words the reader pointed at."""
    # What was read is where the passage stands, a line, and then what it says.
    offset = passage.chunk.body_start - (len(passage.contextual_text) - len(passage.body))
    start, end = offset + reading.start, offset + reading.end
    return next(
        (
            quote
            for quotes in scored
            for quote in quotes
            if quote.passage.row == passage.row and quote.start < end and start < quote.end
        ),
        None,
    )


def _is_announced(before: Sequence[Quote], quote: Quote, kept: Sequence[Quote]) -> bool:
    """Whether a kept lead-in ("Run these steps:") announces an item or code that follows it."""
    for distance, earlier in enumerate(reversed(before), 1):
        if distance > ANNOUNCED:
            return False
        if earlier.text.rstrip().endswith(":"):
            return earlier in kept and (quote.in_list or quote.text.startswith(("```", "~~~")))
    return False


def _scored(
    question: str, pieces: Sequence[tuple[Candidate, list[Sentence]]], reranker: Reranker
) -> list[list[Quote]]:
    """Every sentence of the passages with its score; one alone has its passage's score."""
    to_read = [
        (number, sentence)
        for number, (_, found) in enumerate(pieces)
        if len(found) > 1
        for sentence in found
    ]
    texts = [_in_context(pieces[number][0].passage, sentence) for number, sentence in to_read]
    best = pieces[0][0].scores["final"]
    logits = iter(reranker.score(question, texts) if texts else ())
    scored: list[list[Quote]] = []
    for candidate, found in pieces:
        alone = candidate.scores["rerank"]
        behind = best - candidate.scores["final"]
        spans = found or [Sentence(0, len(candidate.passage.body))]
        scored.append(
            [
                _quote(
                    candidate.passage,
                    span,
                    (alone if len(spans) == 1 else float(next(logits))) - behind,
                )
                for span in spans
            ]
        )
    return scored


def _in_context(passage: Passage, sentence: Sentence) -> str:
    place = " > ".join(
        part
        for part in dict.fromkeys((*passage.document.place, *passage.chunk.heading_path))
        if part
    )
    return f"{place}\n{passage.body[sentence.start : sentence.end]}"


def _quote(passage: Passage, span: Sentence, score: float) -> Quote:
    start = passage.chunk.body_start
    return Quote(passage, start + span.start, start + span.end, score)


def overview(passages: Sequence[Passage], score: float) -> list[Quote]:
    """The first sentence of each of a document's first sections: what it is about."""
    quotes: list[Quote] = []
    seen: set[tuple[str, ...]] = set()
    for passage in passages:
        if passage.chunk.heading_path in seen:
            continue
        seen.add(passage.chunk.heading_path)
        if found := sentences(passage.body):
            quotes.append(_quote(passage, found[0], score))
        if len(quotes) == OVERVIEW_SENTENCES:
            break
    return quotes


def names_only(question: str, title: str) -> bool:
    """Whether a question names a document by its title and nothing else, no part of it either:
    it asks what that is about.
    """
    if asked_roles(question):
        return False
    named = {stem(word.lower()) for word in subject_words(question)}
    return bool(named) and named <= {stem(word.lower()) for word in words(title)}

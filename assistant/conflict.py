"""Conflict: where two documents say the same thing differently, the newer one leads and both are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from assistant.extract import Quote
from assistant.question import subject_words
from index.retriever import Candidate
from index.schema import Document
from index.sentences import sentences
from index.text import stem, terms

LOOKED_AT = 8
"""Candidates in which a sentence that disagrees is looked for: those that were reranked."""

ALIKE = 0.5
"""Share of terms that two statements about one thing have in common (Jaccard)."""

MOST_OWN_TERMS = 3
"""Terms that each may have for itself: a value, an owner, a time. More of them make another statement."""


@dataclass(frozen=True)
class Conflict:
    """Two quotes that disagree; `newer` leads the answer. `dated`: both say when they were written."""

    newer: Quote
    older: Quote
    dated: bool


def settle(
    question: str, quotes: Sequence[Quote], candidates: Sequence[Candidate]
) -> tuple[list[Quote], Conflict | None]:
    """The quotes of an answer, with both sides of a conflict in front if there is one."""
    if not quotes:
        return list(quotes), None
    leading = max(quotes, key=lambda quote: quote.score)
    other = _disagreeing(question, leading, candidates)
    if other is None:
        return list(quotes), None
    dates = [quote.passage.document.modified_at for quote in (leading, other)]
    # Times are ISO 8601 in UTC: their order as text is theirs in time.
    swapped = None not in dates and str(dates[1]) > str(dates[0])
    newer, older = (other, leading) if swapped else (leading, other)
    rest = [quote for quote in quotes if quote not in (newer, older)]
    return [newer, older, *rest][: max(2, len(quotes))], Conflict(newer, older, None not in dates)


def _disagreeing(question: str, quote: Quote, candidates: Sequence[Candidate]) -> Quote | None:
    """A sentence of another document about the same thing that says something else of it."""
    asked = {stem(word.lower()) for word in subject_words(question)}
    said = set(terms(quote.text))
    for candidate in candidates[:LOOKED_AT]:
        passage = candidate.passage
        if not _comparable(passage.document, quote.passage.document):
            continue
        for sentence in sentences(passage.body):
            text = passage.body[sentence.start : sentence.end]
            if not sentence.code and _disagree(asked, said, set(terms(text))):
                start = passage.chunk.body_start
                return Quote(passage, start + sentence.start, start + sentence.end, quote.score)
    return None


def _comparable(one: Document, other: Document) -> bool:
    """Whether two documents speak of the same world: two projects may well differ in a default."""
    return one.id != other.id and one.metadata.get("project") == other.metadata.get("project")


def _disagree(asked: set[str], one: set[str], other: set[str]) -> bool:
    common = one & other
    own, others_own = one - other, other - one
    return (
        bool(common)
        and asked & one == asked & other != set()
        and len(common) >= ALIKE * len(one | other)
        and 0 < len(own) <= MOST_OWN_TERMS
        and 0 < len(others_own) <= MOST_OWN_TERMS
    )

"""Gold: questions with what is expected of them, and whether an answer is right."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assistant.schema import Answer, Citation

SHOWN = 400
"""Characters of a gold passage that a report quotes."""


@dataclass(frozen=True)
class GoldSpan:
    """Where the passage that answers stands: `[start, end)` of a document's text."""

    document_id: str
    start: int
    end: int


@dataclass(frozen=True)
class GoldQuestion:
    """A question with its judgments: relevant pages with their grades (1 and up), spans of the
    passages that answer, strings one of which must be in the answer. An unanswerable question has
    none of them. `expected` is what a person would want to see, in words.
    """

    id: str
    text: str
    answerable: bool
    pages: Mapping[str, int] = field(default_factory=dict)
    spans: tuple[GoldSpan, ...] = ()
    answers: tuple[str, ...] = ()
    expected: str = ""

    def is_gold(self, document_id: str, start: int, end: int) -> bool:
        """Whether a passage overlaps a gold span, or is of a relevant page where none is known."""
        if not self.spans:
            return document_id in self.pages
        return any(
            span.document_id == document_id and span.start < end and start < span.end
            for span in self.spans
        )


def is_right(answer: Answer, question: GoldQuestion) -> bool | None:
    """Whether an answer says what was expected; None where nothing was said that could be judged.

    Right is an answer that holds an expected string; where none is known, one that cites a gold
    passage. Whatever is said to an unanswerable question is wrong. An abstention is judged by the
    answer that was held back, where its trace tells.
    """
    said = considered(answer)
    if said is None:
        return None
    if not question.answerable:
        return False
    if question.answers:
        text = " ".join(sentence.text for sentence in answer.sentences) or " ".join(
            citation.quote for citation in said
        )
        return any(holds(text, expected) for expected in question.answers)
    return any(question.is_gold(each.document_id, each.start, each.end) for each in said)


def considered(answer: Answer) -> Sequence[Citation] | None:
    """What the answer is made of, or what an abstention held back if its trace says so."""
    if answer.status != "abstained":
        return answer.citations
    return answer.trace.considered if answer.trace else None


def holds(text: str, expected: str) -> bool:
    """Whether an expected string is in a text, as whole words after `normalised`."""
    needle = normalised(expected)
    return bool(needle) and f" {needle} " in f" {normalised(text)} "


def normalised(text: str) -> str:
    """A text without case, articles, punctuation and white space, as SQuAD compares answers.

    Punctuation becomes a space where SQuAD's script deletes it, so that whole words can be compared:
    of the 2,536 answers of squad2/dev 5 are not found in their own paragraph then, against 34
    with deletion; comparing parts of words would find "10" in "2010".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(
        " " if unicodedata.category(letter)[0] in "PS" else letter for letter in folded
    )
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())


def quoted(text: str) -> str:
    """A gold passage for people: on one line, and cut."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1].rstrip() + "…"

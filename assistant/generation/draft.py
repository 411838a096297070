"""A draft: what a model has written of an answer so far, as far as the passages support it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assistant import compose
from assistant.conflict import Conflict
from assistant.extract import Quote
from assistant.generation.verify import Verdict
from assistant.schema import AnswerSentence, Citation, TraceSentence
from index.schema import Document, Passage
from index.sentences import plain

IsStale = Callable[[Document], bool]


@dataclass
class Draft:
    """Sentences that passed their check, with exact citations, and the verdicts on all of them.

    `passages` are what the model was given, in their order; `documents` those of the citations.
    """

    passages: Sequence[Passage]
    is_stale: IsStale
    sentences: list[AnswerSentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def has_judged(self, text: str) -> bool:
        """Whether there is a verdict on these words already: a model that repeats itself says nothing new."""
        return any(text == each.claim.text for each in self.verdicts)

    def add(self, verdict: Verdict) -> AnswerSentence | None:
        """Take a verdict in; the sentence to show, or None where it is not supported."""
        self.verdicts.append(verdict)
        if not verdict.supported:
            return None
        numbers = {
            self.cite(self.passages[support.number - 1], support.start, support.end, support.score)
            for support in verdict.supports
        }
        sentence = AnswerSentence(
            text=verdict.claim.text, citations=sorted(numbers), mode="generated"
        )
        self.sentences.append(sentence)
        return sentence

    def cite(self, passage: Passage, start: int, end: int, score: float) -> int:
        """The number of the citation of a span, which is added where it is new."""
        span = (passage.document.id, start, end)
        for citation in self.citations:
            if (citation.document_id, citation.start, citation.end) == span:
                return citation.n
        n = len(self.citations) + 1
        self.citations.append(compose.cite(n, passage, start, end, score, self.is_stale))
        self.documents.append(passage.document)
        return n

    def append(self, quotes: Sequence[Quote]) -> None:
        """Put the sources' own sentences after the model's."""
        for quote in quotes:
            n = self._cite_quote(quote)
            self.sentences.append(AnswerSentence(text=plain(quote.text), citations=[n]))

    def disagreement(self, conflict: Conflict) -> str:
        """What is said of two quotes that disagree; both will be among the citations."""
        newer, older = (self._cite_quote(each) for each in (conflict.newer, conflict.older))
        return compose.disagreement(conflict, (newer, older))

    def _cite_quote(self, quote: Quote) -> int:
        return self.cite(quote.passage, quote.start, quote.end, quote.score)

    @property
    def removed(self) -> int:
        """How many of the model's sentences the passages do not support."""
        return sum(not verdict.supported for verdict in self.verdicts)

    def traced(self) -> list[TraceSentence]:
        """Every sentence the model wrote, and what became of it."""
        return [
            TraceSentence(
                text=verdict.claim.text,
                kept=verdict.supported,
                reason=verdict.reason,
                probability=round(verdict.probability, 4),
                citations=list(verdict.claim.markers),
            )
            for verdict in self.verdicts
        ]

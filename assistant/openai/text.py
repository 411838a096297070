"""An answer as one text with marks like [1], and annotations that say what the marks stand for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from assistant.openai.schema import Annotation, UrlCitation
from assistant.schema import Answer, AnswerSentence, Citation
from assistant.urls import url_of

SILENT = "The sources don't say."
NOTE = "Note: "


@dataclass
class AnswerText:
    """A message that grows piece by piece; `annotations` point into all pieces so far, put together.

    `service` is the address by which the client reaches this service.
    """

    service: str
    length: int = 0
    annotations: list[Annotation] = field(default_factory=list)
    _said: list[AnswerSentence] = field(default_factory=list)
    _citations: dict[int, Citation] = field(default_factory=dict)

    def knows(self, citations: Iterable[Citation]) -> None:
        """Take in the citations that the sentences to come refer to."""
        self._citations = {citation.n: citation for citation in citations}

    def sentence(self, sentence: AnswerSentence, gap: str = " ") -> str:
        """The piece for the next sentence."""
        self._said.append(sentence)
        return self._add(f"{gap if self.length else ''}{sentence.text} ", sentence.citations)

    def rest(self, answer: Answer) -> Iterator[str]:
        """The pieces that are missing when the whole answer is known.

        What has been sent can't be taken back: where the answer is another than it began, it follows
        as a paragraph of its own, after the notice that says why.
        """
        self.knows(answer.citations)
        begun = len(self._said)
        goes_on = answer.sentences[:begun] == self._said
        note = f"{NOTE}{answer.notice}" if answer.notice else None
        if answer.status == "abstained":
            yield from self._abstention(answer)
            return
        if note and not goes_on:
            yield self._paragraph(note)
        gap = " " if goes_on else "\n\n"
        for sentence in answer.sentences[begun if goes_on else 0 :]:
            yield self.sentence(sentence, gap)
            gap = " "
        if note and goes_on:
            yield self._paragraph(note)

    def _abstention(self, answer: Answer) -> Iterator[str]:
        yield self._paragraph(" ".join(filter(None, (SILENT, answer.notice))))
        if answer.citations:
            yield self._paragraph("Nearest passages:")
        for citation in answer.citations:
            place = " > ".join(filter(None, (citation.title, citation.section)))
            yield self._add(f"\n- {place} ", [citation.n])

    def _paragraph(self, text: str) -> str:
        return self._add(f"\n\n{text}" if self.length else text, [])

    def _add(self, text: str, numbers: Iterable[int]) -> str:
        """A piece that ends with the marks of these citations."""
        for n in numbers:
            citation, start = self._citations[n], self.length + len(text)
            text += f"[{n}]"
            url = url_of(citation.document_id, citation.source, citation.link, self.service)
            span = UrlCitation(
                start_index=start,
                end_index=self.length + len(text),
                url=url,
                title=citation.title,
            )
            self.annotations.append(Annotation(url_citation=span))
        self.length += len(text)
        return text

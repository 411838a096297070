"""Composing: quotes and judgements as the answer that goes over the wire."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assistant.confidence import Confidence
from assistant.conflict import Conflict
from assistant.extract import Quote
from assistant.links import link
from assistant.question import Question
from assistant.rank import Ranking
from assistant.schema import (
    Answer,
    AnswerSentence,
    Citation,
    DocumentDetail,
    DocumentSummary,
    Trace,
    TraceCandidate,
    TraceConfidence,
    TraceQuery,
)
from index.catalog import DocumentRow
from index.retriever import Candidate
from index.schema import Document, Labels, Passage
from index.sentences import plain

NEAREST = 3
"""Candidates that an abstention shows."""

TRACED = 10
"""Candidates that a trace shows."""

UNSHOWN = {"anchors", "lines", "first_line", "included"}
"""Metadata that only make links and syncs; a citation has its link."""

IsStale = Callable[[Document], bool]
Shown = Callable[[Labels], Labels]


def answer(
    *,
    question: Question,
    ranking: Ranking,
    confidence: Confidence,
    considered: Sequence[Quote],
    state_id: str,
    shelves: list[list[str]],
    models: Mapping[str, str],
    stale: IsStale,
    explain: bool,
    notices: Sequence[str] = (),
) -> Answer:
    """The answer made of the quotes, with `notices` on it, or the abstention if they are not trusted
    enough.
    """
    quotes = considered if confidence.enough else ()
    reason = None if quotes else _reason(confidence)
    made_of = [
        cite(n, quote.passage, quote.start, quote.end, quote.score, stale)
        for n, quote in enumerate(considered, 1)
    ]
    if quotes:
        citations = made_of
    else:
        citations = [
            _candidate_citation(n, candidate, stale)
            for n, candidate in enumerate(ranking.candidates[:NEAREST], 1)
        ]
    sentences = [
        AnswerSentence(text=plain(quote.text), citations=[n]) for n, quote in enumerate(quotes, 1)
    ]
    trace = (
        _trace(question, ranking, made_of, confidence, shelves, models, reason) if explain else None
    )
    return Answer(
        status="answered" if quotes else "abstained",
        mode="extractive",
        answer=running_text(sentences),
        sentences=sentences,
        citations=citations,
        confidence=round(confidence.value, 4),
        index_state=state_id,
        notice=reason or " ".join(notices) or None,
        trace=trace,
    )


def running_text(sentences: Sequence[AnswerSentence]) -> str:
    """The sentences of an answer one after another, each with its citations."""
    return " ".join(
        f"{sentence.text} {''.join(f'[{n}]' for n in sentence.citations)}" for sentence in sentences
    )


def nothing(question: Question, state_id: str, shelves: list[list[str]], explain: bool) -> Answer:
    """The abstention where there is no passage at all that the caller may read."""
    reason = "There is nothing to answer from: no readable document fits the question's filters."
    silent = Confidence(0.0, 0.0, {}, (), ())
    trace = _trace(question, Ranking((), {}), [], silent, shelves, {}, reason) if explain else None
    return Answer(
        status="abstained",
        mode="extractive",
        answer="",
        sentences=[],
        citations=[],
        confidence=0.0,
        index_state=state_id,
        notice=reason,
        trace=trace,
    )


def disagreement(conflict: Conflict, numbers: tuple[int, int] = (1, 2)) -> str:
    """What an answer says of two documents that disagree; `numbers` are those of the citations of the
    newer and the older.
    """
    a, b = numbers
    newer, older = (
        quote.passage.document.modified_at for quote in (conflict.newer, conflict.older)
    )
    if not conflict.dated:
        return f"[{a}] and [{b}] disagree, and it is not known which is newer."
    if newer == older:
        return f"[{a}] and [{b}] disagree, and are of the same date."
    return f"[{a}] and [{b}] disagree: [{a}] is newer ({str(newer)[:10]}, the other {str(older)[:10]})."


_KIND_WORDS = {"address": "an address or link", "money": "an amount of money"}


def _reason(confidence: Confidence) -> str:
    """Why there is no answer, in words for people."""
    if confidence.missing_kinds:
        wanted = " or ".join(
            _KIND_WORDS.get(kind, f"a {kind}") for kind in confidence.missing_kinds
        )
        return f"The nearest passages state no such thing: the question asks for {wanted}."
    if confidence.silent_on:
        named = ", ".join(f"“{word}”" for word in confidence.silent_on)
        return f"The nearest passages say nothing about {named}."
    return "The nearest passages are about something near, and do not answer this."


def cite(
    n: int,
    passage: Passage,
    start: int,
    end: int,
    score: float,
    stale: IsStale,
    candidate: bool = False,
) -> Citation:
    document = passage.document
    return Citation(
        n=n,
        document_id=document.id,
        title=document.title,
        section=passage.chunk.section,
        heading_path=list(passage.chunk.heading_path),
        source_name=document.source_name,
        source=document.source,
        link=link(document, start, end),
        kind=document.kind,
        revision=document.revision,
        start=start,
        end=end,
        quote=document.text[start:end],
        score=round(score, 4),
        modified_at=document.modified_at,
        ingested_at=document.ingested_at,
        stale=stale(document),
        candidate=candidate,
    )


def _candidate_citation(n: int, candidate: Candidate, stale: IsStale) -> Citation:
    passage = candidate.passage
    return cite(
        n,
        passage,
        passage.chunk.body_start,
        passage.chunk.end,
        score(candidate),
        stale,
        candidate=True,
    )


def score(candidate: Candidate) -> float:
    """The score that a candidate was ordered by."""
    return round(candidate.scores.get("final", candidate.scores["fused"]), 4)


def _trace(
    question: Question,
    ranking: Ranking,
    considered: list[Citation],
    confidence: Confidence,
    shelves: list[list[str]],
    models: Mapping[str, str],
    reason: str | None,
) -> Trace:
    return Trace(
        query=TraceQuery(
            asked=question.asked,
            searched=question.searched,
            corrections=dict(question.corrections),
            from_conversation=question.from_conversation,
        ),
        shelves=shelves,
        candidates=[
            TraceCandidate(
                document_id=candidate.passage.document.id,
                title=candidate.passage.document.title,
                section=candidate.passage.chunk.section,
                start=candidate.passage.chunk.start,
                end=candidate.passage.chunk.end,
                ranks=dict(candidate.ranks),
                scores={name: round(value, 4) for name, value in candidate.scores.items()},
            )
            for candidate in ranking.candidates[:TRACED]
        ],
        considered=considered,
        confidence=TraceConfidence(
            value=round(confidence.value, 4),
            threshold=confidence.threshold,
            parts={name: round(value, 4) for name, value in confidence.parts.items()},
        ),
        reason=reason,
        models=dict(models),
        times_ms={stage: round(ms, 2) for stage, ms in ranking.times_ms.items()},
    )


def summary(document: DocumentRow, stale: bool, shown: Shown) -> DocumentSummary:
    """A document without its text; of its labels, those that may be shown."""
    return DocumentSummary(**_fields(document, stale, shown))


def detail(document: Document, stale: bool, shown: Shown) -> DocumentDetail:
    """A document with its text."""
    return DocumentDetail(**_fields(document, stale, shown), text=document.text)


def _fields(document: Document | DocumentRow, stale: bool, shown: Shown) -> dict[str, Any]:
    return {
        "id": document.id,
        "title": document.title,
        "source_name": document.source_name,
        "source": document.source,
        "kind": document.kind,
        "revision": document.revision,
        "modified_at": document.modified_at,
        "ingested_at": document.ingested_at,
        "stale": stale,
        "access": sorted(shown(document.access)),
        "metadata": {
            name: value for name, value in document.metadata.items() if name not in UNSHOWN
        },
    }

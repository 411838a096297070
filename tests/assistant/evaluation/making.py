"""Answers and outcomes for tests, with only what a test says."""

from collections.abc import Sequence

from assistant.evaluation.gold import GoldQuestion, is_right
from assistant.evaluation.run import Outcome, Run
from assistant.schema import (
    Answer,
    AnswerSentence,
    Citation,
    Trace,
    TraceConfidence,
    TraceQuery,
)


def citation(document: str = "a", start: int = 0, end: int = 10, quote: str = "Quote.") -> Citation:
    return Citation(
        n=1, document_id=document, title=document.upper(), section="", heading_path=[],
        source_name="", source=document, link=None, kind="page", revision="1",
        start=start, end=end, quote=quote, score=1,
        modified_at=None, ingested_at="2026-01-01", stale=False,
    )  # fmt: skip


def answer(
    text: str = "",
    *cited: Citation,
    confidence: float = 0.9,
    abstained: bool = False,
    held_back: Sequence[Citation] | None = None,
) -> Answer:
    considered = list(cited if held_back is None else held_back)
    trace = Trace(
        query=TraceQuery(asked="?", searched="?", corrections={}, from_conversation=False),
        shelves=[], candidates=[], considered=considered, reason=None, models={}, times_ms={"total": 10.0},
        confidence=TraceConfidence(value=confidence, threshold=0.5, parts={"rerank": 1.0}),
    )  # fmt: skip
    return Answer(
        status="abstained" if abstained else "answered",
        mode="extractive",
        answer=f"{text} [1]" if text else "",
        sentences=[AnswerSentence(text=text, citations=[1])] if text else [],
        citations=list(cited),
        confidence=confidence,
        index_state="state",
        notice="Nothing is near." if abstained else None,
        trace=trace,
    )


def outcome(
    question: GoldQuestion, given: Answer | None, rank: int | None = 1, search_ms: float = 10.0
) -> Outcome:
    return Outcome(
        question=question,
        hits=(),
        pages=("a", "b"),
        passage_rank=rank,
        search_ms=search_ms,
        answer=given,
        right=is_right(given, question) if given else None,
    )


def run(*outcomes: Outcome, reranker: str | None = "cross") -> Run:
    return Run(
        name="made", split=None, embedder="dense", reranker=reranker, index_state="state",
        documents=2, left_out=0, outcomes=outcomes,
    )  # fmt: skip

"""Outcomes: a model's answer when it has ended, as the answer that is given."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assistant import compose
from assistant.assistant import Prepared
from assistant.gateway.errors import GatewayError, NotAnswered, StreamBroken
from assistant.gateway.schema import Completed
from assistant.generation.draft import Draft
from assistant.generation.prompt import SILENT, Packed
from assistant.schema import Answer, AnswerUsage, Trace, TraceGeneration, TracePassage
from index.schema import Document

KEPT_AT_LEAST = 1 / 3
"""Share of a model's sentences that must hold for its answer to be given: of one that mostly makes
things up, what is left over answers nothing."""

AgeNotice = Callable[[Sequence[Document]], str | None]


@dataclass
class Writing:
    """A model's answer as it comes in: its `text`, and the draft that is made of it. `problem`: why it did
    not come to its end.
    """

    prepared: Prepared
    packed: Packed
    draft: Draft
    began: float
    completed: Completed | None = None
    problem: GatewayError | None = None
    text: str = ""
    times_ms: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Note, once, how long it took to get here."""
        self.times_ms.setdefault(name, round(1000 * (time.perf_counter() - self.began), 2))

    def spent(self, name: str, seconds: float) -> None:
        """Add to the time that something took."""
        self.times_ms[name] = round(self.times_ms.get(name, 0.0) + 1000 * seconds, 2)


def composed(writing: Writing, age_notice: AgeNotice) -> Answer:
    """The model's sentences that hold; after them the sources' own where the model broke off, in their
    place where too little holds. What was done is in the notice.
    """
    extractive, draft = writing.prepared.answer, writing.draft
    made = {"usage": _usage(writing.completed), "trace": _trace(writing)}
    if reason := _not_given(writing):
        notice = " ".join(filter(None, (reason, extractive.notice)))
        return extractive.model_copy(update={**made, "notice": notice})
    notices = [_removal(draft.removed)]
    if writing.problem:
        notices.insert(0, f"{writing.problem} What the sources say themselves follows.")
        draft.append(writing.prepared.quotes)
    elif writing.completed and writing.completed.truncated:
        notices.insert(0, "The model's answer was cut at its limit of length.")
    if writing.prepared.conflict:
        notices.append(draft.disagreement(writing.prepared.conflict))
    notices.append(age_notice(draft.documents))
    return extractive.model_copy(
        update={
            **made,
            "status": "partial" if writing.problem else "answered",
            "mode": "generated",
            "answer": compose.running_text(draft.sentences),
            "sentences": draft.sentences,
            "citations": draft.citations,
            "model": writing.completed.model if writing.completed else _broken_model(writing),
            "notice": " ".join(filter(None, notices)) or None,
        }
    )


def _not_given(writing: Writing) -> str | None:
    """Why the model's answer is not given, in words for people; None where it is."""
    draft = writing.draft
    if writing.problem and not draft.sentences:
        return f"{writing.problem} These are the sources' own sentences."
    if SILENT in writing.text and not draft.sentences:
        return "The model found no answer in these passages: these are the sources' own sentences."
    if not draft.verdicts:
        return (
            "The model wrote nothing that could be checked: these are the sources' own sentences."
        )
    if len(draft.sentences) < max(1, KEPT_AT_LEAST * len(draft.verdicts)):
        broken = f"{writing.problem} " if writing.problem else ""
        return (
            f"{broken}Of {_count(len(draft.verdicts))} that the model wrote, the sources do not support "
            f"{draft.removed}: these are the sources' own sentences instead."
        )
    return None


def _removal(removed: int) -> str | None:
    if not removed:
        return None
    were = "was" if removed == 1 else "were"
    return f"{_count(removed)} of the model {were} left out: the sources do not support it."


def _count(sentences: int) -> str:
    return "1 sentence" if sentences == 1 else f"{sentences} sentences"


def _broken_model(writing: Writing) -> str | None:
    return writing.problem.model if isinstance(writing.problem, StreamBroken) else None


def _usage(completed: Completed | None) -> AnswerUsage | None:
    if completed is None:
        return None
    return AnswerUsage(
        input_tokens=completed.usage.input,
        output_tokens=completed.usage.output,
        cached_tokens=completed.usage.cached,
        cost=None if completed.cost is None else f"{completed.cost:f}",
        estimated=completed.estimated,
        attempts=completed.attempts,
        from_cache=completed.from_cache,
    )


def _trace(writing: Writing) -> Trace | None:
    """The extractive answer's trace, where it has one, with what the model did."""
    trace = writing.prepared.answer.trace
    if trace is None:
        return None
    problem, completed = writing.problem, writing.completed
    generation = TraceGeneration(
        prompt_version=writing.packed.version,
        prompt_sha256=writing.packed.sha256,
        prompt_tokens=writing.packed.tokens,
        passages=[
            TracePassage(document_id=each.document.id, start=each.chunk.start, end=each.chunk.end)
            for each in writing.packed.passages
        ],
        model=completed.model if completed else _broken_model(writing),
        outcome=str(problem) if problem else "completed",
        attempts=list(problem.attempts) if isinstance(problem, NotAnswered) else [],
        sentences=writing.draft.traced(),
        times_ms=writing.times_ms,
    )
    return trace.model_copy(update={"generation": generation})

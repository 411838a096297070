"""What an answer that is coming about tells: the same events in the service, over HTTP and in the client."""

from dataclasses import dataclass

from assistant.schema import Answer, AnswerSentence, Citation


@dataclass(frozen=True)
class Citations:
    """All citations so far: the first event, and again whenever there are more."""

    citations: tuple[Citation, ...]


@dataclass(frozen=True)
class Said:
    """The next sentence; its citations were told before it."""

    sentence: AnswerSentence


@dataclass(frozen=True)
class Final:
    """The whole answer, the last event: it may differ from what was told before, and counts."""

    answer: Answer


AnswerEvent = Citations | Said | Final

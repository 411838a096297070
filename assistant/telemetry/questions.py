"""Questions: what becomes of each is counted once, wherever it ends.

What reaches the answering is counted there; what is turned away before, at the border of HTTP, which
knows the routes that take questions.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from assistant.admission import Overloaded
from assistant.events import AnswerEvent, Final, Said
from assistant.streaming import CLIENT_CLOSED
from assistant.telemetry.asked import Asked, at_hand
from assistant.telemetry.instruments import FIRST_SENTENCE, QUESTIONS

ROUTES = frozenset({"/ask", "/v1/chat/completions"})
"""Routes that take a question and nothing else."""


def closed(asked: Asked, status: int) -> None:
    """Count a request that takes a question, by the status of its response, unless the answering does."""
    if not asked.taken_up:
        _count(_refusal(asked.error, status))


async def counted(
    events: AsyncGenerator[AnswerEvent, None], *, streamed: bool
) -> AsyncGenerator[AnswerEvent, None]:
    """The same events, and at their end the question counted. Who is not `streamed` to has the first
    sentence with the last.
    """
    began = _taken_up()
    spoke: float | None = None
    status, mode = "left", "none"
    try:
        async with aclosing(events):
            async for event in events:
                if spoke is None and (
                    isinstance(event, Final) or (streamed and isinstance(event, Said))
                ):
                    spoke = time.perf_counter() - began
                if isinstance(event, Final):
                    status = event.answer.status
                    mode = "none" if status == "abstained" else event.answer.mode
                    FIRST_SENTENCE.record(spoke or 0.0, {"mode": mode})
                yield event
    except Exception as error:  # counted by its kind, whatever it is, and raised again
        status = _refusal(error, getattr(error, "status", 500))
        raise
    finally:
        _count(status, mode)


def _taken_up() -> float:
    """When the question came, which is before it was its turn."""
    asked = at_hand()
    if asked is None:
        return time.perf_counter()
    asked.taken_up = True
    return asked.began


def _refusal(error: Exception | None, status: int) -> str:
    if isinstance(error, Overloaded):
        return "shed"
    if status == CLIENT_CLOSED:
        return "left"
    return "error" if status >= 500 else "refused"


def _count(status: str, mode: str = "none") -> None:
    QUESTIONS.add(1, {"status": status, "mode": mode})

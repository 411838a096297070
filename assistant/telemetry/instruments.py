"""What the assistant measures, each under its name, and the stages of an answer.

Names are OpenTelemetry's; Prometheus sees them with `_` for `.`, the unit behind, and `_total` behind counters.
A unit in braces is one that stays out of the name.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from assistant.telemetry.conventions import (
    GEN_AI_CLIENT_OPERATION_DURATION,
    GEN_AI_CLIENT_TOKEN_USAGE,
    HTTP_SERVER_REQUEST_DURATION,
    OPERATION_BUCKETS,
    TOKEN_BUCKETS,
)
from index.instruments import METER, REPAIRS, TRACER, failed, span

WAITED = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
"""Seconds that somebody waits. 0.15 and 0.3 are what searches and questions are to take, 2.0 is what
the first sentence may: an objective is read exactly only at an edge."""

WORKED = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds that a stage takes: fusing takes two milliseconds, a model's answer seconds."""

RAN = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Seconds that an ingestion takes."""

REQUEST_DURATION = METER.create_histogram(
    HTTP_SERVER_REQUEST_DURATION,
    "s",
    "Time to the end of the response",
    explicit_bucket_boundaries_advisory=(0.005, 0.01, 0.025, *WAITED),
)
QUESTIONS = METER.create_counter(
    "casebook.questions", "{question}", "Questions by what became of them"
)
FIRST_SENTENCE = METER.create_histogram(
    "casebook.first_sentence.duration",
    "s",
    "Time until there was something to read",
    explicit_bucket_boundaries_advisory=WAITED,
)
STAGE_DURATION = METER.create_histogram(
    "casebook.stage.duration",
    "s",
    "Time that a stage of an answer or a search took",
    explicit_bucket_boundaries_advisory=WORKED,
)

INFLIGHT = METER.create_up_down_counter("casebook.requests.inflight", "{request}", "At work now")
QUEUED = METER.create_up_down_counter("casebook.requests.queued", "{request}", "Waiting now")
SHED = METER.create_counter("casebook.requests.shed", "{request}", "Refused for load")

INGEST_RUNS = METER.create_counter("casebook.ingest.runs", "{run}", "Ingestions by result")
INGEST_DURATION = METER.create_histogram(
    "casebook.ingest.duration",
    "s",
    "Time that an ingestion took",
    explicit_bucket_boundaries_advisory=RAN,
)
INGEST_DOCUMENTS = METER.create_counter(
    "casebook.ingest.documents", "{document}", "Documents by what an ingestion found of them"
)
INGEST_EMBEDDED = METER.create_counter("casebook.ingest.embedded", "{chunk}", "Chunks embedded")

TOKENS = METER.create_histogram(
    GEN_AI_CLIENT_TOKEN_USAGE,
    "{token}",
    "Tokens of one try at a model",
    explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
)
OPERATION_DURATION = METER.create_histogram(
    GEN_AI_CLIENT_OPERATION_DURATION,
    "s",
    "Time of one try at a model",
    explicit_bucket_boundaries_advisory=OPERATION_BUCKETS,
)
ATTEMPTS = METER.create_counter("casebook.gateway.attempts", "{attempt}", "Tries at models")
COST = METER.create_counter("casebook.gateway.cost", "{USD}", "US dollars that models cost")
SENTENCES = METER.create_counter(
    "casebook.generation.sentences", "{sentence}", "Sentences of models by what their check said"
)


def begin_at_zero() -> None:
    """Have what is counted there from the start: what appears with its first event has no rate before its second."""
    for status, mode in (
        *(("answered", mode) for mode in ("extractive", "generated")),
        *((status, "none") for status in ("abstained", "error", "refused", "shed", "left")),
    ):
        QUESTIONS.add(0, {"status": status, "mode": mode})
    for queue in ("search", "ask"):
        INFLIGHT.add(0, {"queue": queue})
        QUEUED.add(0, {"queue": queue})
        for reason in ("full", "slow", "draining"):
            SHED.add(0, {"queue": queue, "reason": reason})
    for result in ("done", "failed"):
        INGEST_RUNS.add(0, {"result": result})
    REPAIRS.add(0)


def staged(name: str, seconds: float) -> None:
    """Note what a stage took."""
    STAGE_DURATION.record(seconds, {"stage": name})


@contextmanager
def stage(name: str, **attributes: AttributeValue) -> Iterator[Span]:
    """A span for a stage of an answer, whose time is measured too."""
    began = time.perf_counter()
    with span(name, **attributes) as current:
        try:
            yield current
        finally:
            staged(name, time.perf_counter() - began)


T = TypeVar("T")


async def stepped(name: str, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """A stage that gives one thing after another. Its span is the current one while it works, and not
    while whoever it gives to does, who may go on in another task.
    """
    began = time.perf_counter()
    span = TRACER.start_span(name)
    around = trace.set_span_in_context(span)
    try:
        while (event := await _within(around, anext(events, None))) is not None:
            yield event
    except BaseException as error:  # an interruption ends the span too, and is raised again
        failed(span, error)
        raise
    finally:
        await _within(around, events.aclose())
        staged(name, time.perf_counter() - began)
        span.end()


async def _within(around: Context, step: Awaitable[T]) -> T:
    token = context.attach(around)
    try:
        return await step
    finally:
        context.detach(token)

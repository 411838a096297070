"""Tries at models: a client span and the figures of each, noted when it is over."""

import time
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from assistant.gateway.ledger import Attempt
from assistant.gateway.schema import Call
from assistant.gateway.settings import ModelEntry
from assistant.telemetry import conventions
from assistant.telemetry.instruments import ATTEMPTS, COST, OPERATION_DURATION, TOKENS
from index.instruments import TRACER

FINISHED = {"completed": "stop", "truncated": "length"}
"""How a model says that it came to its end, by our outcome."""

NO_FAILURE = frozenset({*FINISHED, "cancelled"})


def attempted(entry: ModelEntry, call: Call, attempt: Attempt) -> None:
    """Note one try that has just ended. In the labels of our own metrics a model goes by its name in the
    settings, which tells two at one provider apart.
    """
    asked = {
        conventions.GEN_AI_OPERATION_NAME: conventions.CHAT,
        conventions.GEN_AI_PROVIDER_NAME: entry.provider,
        conventions.GEN_AI_REQUEST_MODEL: entry.model,
    }
    error = {} if attempt.outcome in NO_FAILURE else {conventions.ERROR_TYPE: attempt.outcome}
    _trace(entry, call, attempt, asked | error)
    OPERATION_DURATION.record(attempt.latency_ms / 1000, asked | error)
    ATTEMPTS.add(1, {"provider": entry.name, "outcome": attempt.outcome})
    if attempt.usage:
        for kind, tokens in (("input", attempt.usage.input), ("output", attempt.usage.output)):
            TOKENS.record(tokens, asked | {conventions.GEN_AI_TOKEN_TYPE: kind})
    if attempt.cost:
        COST.add(float(attempt.cost), {"model": entry.name, "team": call.payer.team})


def _trace(entry: ModelEntry, call: Call, attempt: Attempt, asked: dict[str, str]) -> None:
    ended = time.time_ns()
    span = TRACER.start_span(
        f"{conventions.CHAT} {entry.model}",
        kind=SpanKind.CLIENT,
        attributes={**asked, "casebook.model": entry.name, "casebook.outcome": attempt.outcome},
        start_time=ended - int(attempt.latency_ms * 1e6),
    )
    told: dict[str, Any] = {
        conventions.GEN_AI_REQUEST_MAX_TOKENS: min(call.max_output_tokens, entry.max_output)
    }
    if attempt.usage:
        told |= {
            conventions.GEN_AI_USAGE_INPUT_TOKENS: attempt.usage.input,
            conventions.GEN_AI_USAGE_OUTPUT_TOKENS: attempt.usage.output,
            conventions.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: attempt.usage.cached,
        }
    if attempt.first_token_ms is not None:
        told[conventions.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = attempt.first_token_ms / 1000
    if attempt.outcome in FINISHED:
        told[conventions.GEN_AI_RESPONSE_FINISH_REASONS] = [FINISHED[attempt.outcome]]
    elif attempt.outcome not in NO_FAILURE:
        span.set_status(Status(StatusCode.ERROR))
    span.set_attributes(told)
    span.end(ended)

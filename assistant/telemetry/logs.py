"""Logs: each line says to which request it belongs, and lines are sent where traces are."""

import logging
import time
import traceback
from collections.abc import Callable
from logging import WARNING

from opentelemetry import trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber

from assistant.telemetry.conventions import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)

CHATTY = ("httpx", "httpx2", "httpcore", "openai", "anthropic", "mcp")
"""Libraries that log each address they ask or each message they get, which may hold a question or a token."""

TEXTS = "casebook.gateway.texts"
"""The logger of prompts and answers, which the gateway's settings switch on: its lines stay here."""

LONGEST = 4000
"""Characters of a line that are sent."""

SAID_EVERY = 300.0
"""Seconds between two words on telemetry that is not delivered."""


def install() -> None:
    """Have the lines of this process say to which trace they belong, and libraries say no texts."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Traced(handler.formatter or logging.Formatter()))
    for name in CHATTY:
        logging.getLogger(name).setLevel(WARNING)
    inner = logging.getLogger("opentelemetry")
    inner.propagate = False  # it must not send that it can't send
    inner.handlers = [Seldom()]


def send(provider: LoggerProvider, *, telling: bool) -> logging.Handler:
    """Send what Casebook logs from INFO on, however much of it is shown here; gives the handler."""
    root, own = logging.getLogger(), logging.getLogger("casebook")
    for shown in root.handlers:
        shown.setLevel(max(shown.level, root.level))
    own.setLevel(min(logging.INFO, root.level))
    handler = Sent(provider, telling=telling)
    root.addHandler(handler)
    return handler


class Traced(logging.Formatter):
    """Another formatter's lines, with the trace they belong to."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The line; behind its first, the id of the trace."""
        text = self._inner.format(record)
        traced = trace.get_current_span().get_span_context()
        if not traced.is_valid:
            return text
        first, line_break, rest = text.partition("\n")
        return f"{first} [trace {trace.format_trace_id(traced.trace_id)}]{line_break}{rest}"


class Sent(logging.Handler):
    """Hands lines on to OpenTelemetry. Unless it is `telling`, an error goes with its type and where it was
    raised, but not with its words, which may quote what it failed on.
    """

    def __init__(self, provider: LoggerProvider, *, telling: bool) -> None:
        super().__init__(logging.INFO)
        self._provider = provider
        self._telling = telling

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        ours = record.name.startswith("casebook.")
        if (record.name == TEXTS and not self._telling) or (record.levelno < WARNING and not ours):
            return
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                severity_text=record.levelname,
                severity_number=_severity(record.levelno),
                body=record.getMessage()[:LONGEST],
                attributes=self._error(record),
            )
        )

    def _error(self, record: logging.LogRecord) -> dict[str, str]:
        if not record.exc_info or record.exc_info[1] is None:
            return {}
        error = record.exc_info[1]
        told = {
            EXCEPTION_TYPE: type(error).__qualname__,
            EXCEPTION_STACKTRACE: "".join(traceback.format_tb(error.__traceback__)),
        }
        if self._telling:
            told[EXCEPTION_MESSAGE] = str(error)[:LONGEST]
        return told


class Seldom(logging.Handler):
    """What OpenTelemetry itself complains of, as one line of ours every five minutes at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(WARNING)
        self._clock = clock
        self._said_at: float | None = None
        self._kept_back = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, or count it."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < SAID_EVERY:
            self._kept_back += 1
            return
        more = f" ({self._kept_back} more were kept back)" if self._kept_back else ""
        self._said_at, self._kept_back = now, 0
        logging.getLogger("casebook.telemetry").error(
            "telemetry suffers, answers do not: %s%s",
            record.getMessage()[:500],
            more,
        )


def _severity(level: int) -> SeverityNumber:
    if level >= logging.CRITICAL:
        return SeverityNumber.FATAL
    if level >= logging.ERROR:
        return SeverityNumber.ERROR
    return SeverityNumber.WARN if level >= WARNING else SeverityNumber.INFO

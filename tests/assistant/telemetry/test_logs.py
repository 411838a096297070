"""What a line of the log says, and what of it is sent."""

import logging
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import TracerProvider

from assistant.telemetry.logs import SAID_EVERY, Seldom, Sent, Traced


def record(name: str, level: int, text: str, error: BaseException | None = None) -> Any:
    trail = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(name, level, __file__, 1, text, None, trail)


def raised(words: str) -> ValueError:
    try:
        raise ValueError(words)
    except ValueError as error:
        return error


def what_is_sent(*lines: Any, telling: bool = False) -> list[Any]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    handler = Sent(provider, telling=telling)
    for line in lines:
        if line.levelno >= handler.level:  # as a logger does it
            handler.handle(line)
    return [each.log_record for each in exporter.get_finished_logs()]


def test_a_line_within_a_request_ends_with_its_trace() -> None:
    formatter = Traced(logging.Formatter("%(levelname)s %(message)s"))
    line = record("casebook.x", logging.ERROR, "it broke", raised("why"))
    assert "trace" not in formatter.format(line).splitlines()[0]
    with TracerProvider().get_tracer("x").start_as_current_span("x") as span:
        first, *rest = formatter.format(line).splitlines()
    trace = f"{span.get_span_context().trace_id:032x}"
    assert first == f"ERROR it broke [trace {trace}]"
    assert rest[-1] == "ValueError: why"


def test_an_error_is_sent_without_its_words() -> None:
    line = record("casebook.x", logging.ERROR, "it broke", raised("the question was Who"))
    (sent,) = what_is_sent(line)
    assert sent.attributes["exception.type"] == "ValueError"
    assert "test_logs.py" in sent.attributes["exception.stacktrace"]
    assert "Who" not in str(sent.attributes)
    (told,) = what_is_sent(line, telling=True)
    assert told.attributes["exception.message"] == "the question was Who"


def test_what_libraries_say_in_passing_is_not_sent() -> None:
    sent = what_is_sent(
        record("httpx", logging.INFO, "GET https://x/?token=1"),
        record("casebook.gateway.texts", logging.INFO, "asked Who"),
        record("casebook.x", logging.DEBUG, "detail"),
        record("casebook.x", logging.INFO, "answered"),
        record("uvicorn.error", logging.ERROR, "broke"),
    )
    assert [each.body for each in sent] == ["answered", "broke"]


def test_a_line_is_sent_up_to_a_length() -> None:
    (sent,) = what_is_sent(record("casebook.x", logging.INFO, "a" * 100_000))
    assert len(sent.body) == 4000


def test_complaints_about_delivery_are_few(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    seldom = Seldom(lambda: now)
    for now in (0.0, 1.0, 2.0, SAID_EVERY + 1, SAID_EVERY + 2):  # noqa: B007 - the clock reads it
        seldom.handle(record("opentelemetry.x", logging.ERROR, "Failed to export"))
    assert [each.getMessage() for each in caplog.records] == [
        "telemetry suffers, answers do not: Failed to export",
        "telemetry suffers, answers do not: Failed to export (2 more were kept back)",
    ]

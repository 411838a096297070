"""Traces, as a receiver gets them from a real service."""

import re
from typing import Any

import pytest

from tests.assistant.telemetry.conftest import Driven
from tests.assistant.telemetry.exposed import QUESTION, STREAM
from tests.assistant.telemetry.receiver import ReceivedSpan, Receiver

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3


def trace_of(receiver: Receiver, trace: str) -> list[ReceivedSpan]:
    """The spans of a request that is over."""

    def whole(receiver: Receiver) -> list[ReceivedSpan]:
        spans = [span for span in receiver.spans() if span.trace == trace]
        return spans if any(span.kind == SERVER for span in spans) else []

    spans: list[ReceivedSpan] = receiver.wait_for(whole)
    return spans


def asked(driven: Driven, **headers: str) -> tuple[str, list[ReceivedSpan]]:
    """A question to the service: the id it was answered under, and its spans."""
    with driven.service.client("reader") as client:
        response = client.post("/ask", json={"question": QUESTION}, headers=headers)
    assert response.status_code == 200
    trace = response.headers["trace-id"]
    return trace, trace_of(driven.receiver, trace)


def named(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    (span,) = [span for span in spans if span.name == name]
    return span


def children(spans: list[ReceivedSpan], parent: ReceivedSpan) -> list[str]:
    ordered = sorted(spans, key=lambda span: (span.start, span.name))
    return [span.name for span in ordered if span.parent == parent.id]


@pytest.mark.parametrize("headers", [{}, STREAM], ids=["whole", "streamed"])
def test_each_stage_of_an_answer_is_a_span_under_its_request(
    driven: Driven, headers: dict[str, str]
) -> None:
    _, spans = asked(driven, **headers)
    request = named(spans, "POST /ask")
    assert (request.kind, request.parent) == (SERVER, "")
    assert request.attributes["http.route"] == "/ask"
    assert request.attributes["http.response.status_code"] == 200
    stages = ["embed", "retrieve", "rerank", "read", "extract", "judge", "generate"]
    assert children(spans, request) == stages
    assert set(children(spans, named(spans, "retrieve"))) == {"dense", "lexical"}
    under = children(spans, named(spans, "generate"))
    assert under == ["chat fake-large", "chat fake-large", "verify", "verify"] or under == [
        "chat fake-large",
        "verify",
        "verify",
    ]


def test_every_span_lies_within_its_parent(driven: Driven) -> None:
    _, spans = asked(driven)
    by_id = {span.id: span for span in spans}
    for span in spans:
        if parent := by_id.get(span.parent):
            assert parent.start - 0.002 <= span.start <= span.end <= parent.end + 0.002, span.name
    assert {span.parent for span in spans} - set(by_id) == {""}


def test_tries_at_models_are_told_by_the_conventions(driven: Driven) -> None:
    tries = [span for span in driven.receiver.spans() if span.name == "chat fake-large"]
    refused = next(span for span in tries if span.attributes["casebook.model"] == "first")
    assert refused.failed
    assert refused.attributes["error.type"] == "unauthorized"
    answered = next(span for span in tries if span.attributes["casebook.outcome"] == "completed")
    assert answered.kind == CLIENT
    assert not answered.failed
    told: dict[str, Any] = answered.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.request.model"] == "fake-large"
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.output_tokens"] > 0
    assert 0 < told["gen_ai.response.time_to_first_chunk"] <= answered.end - answered.start + 0.01
    outcomes = {span.attributes["casebook.outcome"] for span in tries}
    assert {"unauthorized", "server_error", "cancelled", "completed"} <= outcomes


def test_an_ingestion_is_a_trace_of_its_steps(driven: Driven) -> None:
    spans = driven.receiver.spans()
    run = next(span for span in spans if span.name == "ingest")
    of_run = [span for span in spans if span.trace == run.trace]
    steps = children(of_run, run)
    assert sorted(set(steps)) == ["ingest embed", "ingest list", "ingest publish", "ingest read"]
    failed = [span for span in of_run if span.name == "ingest list" and span.failed]
    assert [span.attributes["source"] for span in failed] == ["wiki"]
    assert failed[0].attributes["error.type"] == "SourceUnavailable"


def test_a_callers_trace_goes_on_here(driven: Driven) -> None:
    trace, spans = asked(driven, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert trace == TRACE
    assert named(spans, "POST /ask").parent == PARENT


@pytest.mark.parametrize(
    "sent",
    ["", "00-0000-00-01", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "x" * 5000],
)
def test_a_traceparent_that_is_none_is_passed_over(driven: Driven, sent: str) -> None:
    with driven.service.client("reader", traceparent=sent, tracestate="a=1") as client:
        response = client.get("/documents")
    assert response.status_code == 200
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["trace-id"])
    assert response.headers["trace-id"] != TRACE


def test_two_traceparents_are_none(driven: Driven) -> None:
    sent = [
        ("traceparent", f"00-{TRACE}-{PARENT}-01"),
        ("traceparent", f"00-{'1' * 32}-{PARENT}-01"),
    ]
    with driven.service.client("reader") as client:
        response = client.get("/documents", headers=sent)
    assert response.headers["trace-id"] not in {TRACE, "1" * 32}


def test_lines_of_the_log_carry_the_trace_of_their_request(driven: Driven) -> None:
    trace, _ = asked(driven)
    shown = [line for line in driven.service.log.read_text().splitlines() if trace in line]
    assert any("casebook.assistant: answered" in line for line in shown)
    assert all(line.endswith(f"[trace {trace}]") for line in shown)
    sent = driven.receiver.wait_for(
        lambda got: [line for line, of, _ in got.lines() if of == trace and "answered" in line]
    )
    assert sent


def test_probes_are_measured_and_not_traced(driven: Driven) -> None:
    with driven.service.client() as client:
        assert "trace-id" not in client.get("/health/live").headers
    assert 'http_route="/health/live"' in driven.service.metrics()
    names = {span.name for span in driven.receiver.spans()}
    assert not {name for name in names if "health" in name or "metrics" in name}


def test_the_standard_variables_say_what_the_process_is(driven: Driven) -> None:
    told = driven.receiver.resources()[0]
    assert told["service.name"] == "casebook"
    assert told["deployment.environment.name"] == "test"
    assert "service.version" in told


def test_libraries_that_would_tell_more_are_given_nothing(driven: Driven) -> None:
    names = {span.name for span in driven.receiver.spans()}
    allowed = r"(GET|POST|_OTHER)( /\S*)?|ingest( \w+)?|chat fake-large|[a-z]+"
    assert [name for name in names if not re.fullmatch(allowed, name)] == []
    assert not any("url.query" in span.attributes for span in driven.receiver.spans())

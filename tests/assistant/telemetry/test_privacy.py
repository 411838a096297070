"""What is never told: questions, passages and secrets, searched for in all the bytes of a driven service."""

from pathlib import Path

import httpx
import pytest

from tests.assistant.telemetry.conftest import HEADER_KEY, Driven
from tests.assistant.telemetry.exposed import (
    PROVIDER_KEY,
    QUESTION,
    TRUE,
    UNANSWERABLE,
    service,
)
from tests.assistant.telemetry.receiver import Receiver, receiving

pytestmark = pytest.mark.slow

ASKED = "xylophone4711"
TEXTS = (
    QUESTION,
    "coordinates backup and restore",
    UNANSWERABLE,
    "chess olympiad",
    TRUE[:-5],
    "The moon coordinates",
    "Kanister blueprints coordinate",
    "Restore behavior becomes repeatable",
    "kettle",
    ASKED,
)
MCP = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "search", "arguments": {"query": f"{ASKED} backup"}},
}


def ask_everywhere(driven: Driven) -> None:
    """One word in every place that takes text, well formed or not."""
    accept = {"Accept": "application/json, text/event-stream"}
    with driven.service.client("reader") as client:
        client.get("/search", params={"q": f"{ASKED} backup"})
        client.get("/search", params={"q": ASKED * 1000})
        client.get("/search", params={"query": ASKED})
        client.post("/ask", json={"question": f"Is {ASKED} a backup?"})
        client.post("/ask", json={"question": ASKED * 1000})
        client.post("/ask", json={"question": "x", "conversation": ASKED})
        client.post("/ask", content=f'{{"question": "{ASKED}'.encode())
        message = {"role": "user", "content": f"Is {ASKED} a backup?"}
        client.post("/v1/chat/completions", json={"model": "casebook", "messages": [message]})
        client.post("/v1/chat/completions", json={"model": "x", "messages": [message]})
        assert client.post("/mcp", json=MCP, headers=accept).status_code == 200
        bad = {**MCP, "params": {"name": "ask", "arguments": {"query": ASKED}}}
        client.post("/mcp", json=bad, headers=accept)


def shown(driven: Driven) -> bytes:
    """The log, but for the lines that `log_texts` of the gateway asks for."""
    lines = driven.service.log.read_bytes().splitlines()
    inside = False
    kept = []
    for line in lines:
        starts = line[:4].isdigit()
        inside = b"casebook.gateway.texts" in line if starts else inside
        if not inside:
            kept.append(line)
    return b"\n".join(kept)


@pytest.fixture(scope="module")
def told(driven: Driven) -> dict[str, bytes]:
    """All the bytes that left the service but for answers."""
    ask_everywhere(driven)
    with driven.service.client("reader") as client:
        last = client.get("/documents").headers["trace-id"]
    driven.receiver.wait_for(lambda got: any(span.trace == last for span in got.spans()))
    came = len(driven.receiver.bodies)
    driven.receiver.wait_for(lambda got: {path for path, _ in got.bodies[came:]} >= {"/v1/metrics"})
    return {
        "sent": driven.receiver.everything,
        "metrics": "\n".join([*driven.expositions, driven.service.metrics()]).encode(),
        "log": shown(driven),
    }


@pytest.mark.parametrize("where", ["sent", "metrics", "log"])
def test_no_question_and_no_passage_is_told(told: dict[str, bytes], where: str) -> None:
    assert len(told[where]) > 5000
    assert [text for text in TEXTS if text.encode() in told[where]] == []


@pytest.mark.parametrize("where", ["sent", "metrics", "log"])
def test_no_secret_is_told(told: dict[str, bytes], driven: Driven, where: str) -> None:
    secrets = [PROVIDER_KEY, HEADER_KEY, *driven.service.keys.values()]
    assert [secret for secret in secrets if secret.encode() in told[where]] == []


def test_no_caller_is_named_in_traces_and_metrics(told: dict[str, bytes], driven: Driven) -> None:
    sent = b"".join(body for path, body in driven.receiver.bodies if path != "/v1/logs")
    assert b"zebra-reader" not in sent + told["metrics"]


def test_the_receiver_is_sent_the_headers_of_the_file(driven: Driven) -> None:
    assert {sent["authorization"] for sent in driven.receiver.headers} == {f"Bearer {HEADER_KEY}"}
    assert {sent["x-tenant"] for sent in driven.receiver.headers} == {"zoo"}


def test_a_stopped_service_sends_what_is_left_texts_too_where_they_are_switched_on(
    case_studies_index: Path, tmp_path: Path
) -> None:
    late = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with receiving() as receiver:
        telemetry = {"otlp_endpoint": receiver.address, "content": True}
        with service(tmp_path / "s", case_studies_index, telemetry, **late) as running:
            with running.client("reader") as client:
                client.post("/ask", json={"question": QUESTION})
                client.get("/search", params={"q": ASKED})
                assert QUESTION not in running.metrics()
                _nobody_waits_for_a_receiver_that_hangs(receiver, client)
            receiver.wait_for(lambda _: "telemetry suffers" in running.log.read_text())
            receiver.delay = 0
            running.process.terminate()
            running.process.wait(timeout=25)
            assert running.log.read_text().count("telemetry suffers") == 1
        told = {
            span.attributes["casebook.question"]: span.attributes.get("casebook.passages")
            for span in receiver.spans()
            if "casebook.question" in span.attributes
        }
        assert set(told) == {QUESTION, ASKED}
        assert "Kanister blueprints coordinate" in told[QUESTION][0]
        assert PROVIDER_KEY.encode() not in receiver.everything


def _nobody_waits_for_a_receiver_that_hangs(receiver: Receiver, client: httpx.Client) -> None:
    receiver.delay = 120
    for _ in range(3):
        response = client.post("/ask", json={"question": QUESTION}, timeout=60)
        assert response.status_code == 200

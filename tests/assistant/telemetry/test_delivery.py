"""Sending: a short process sends all it has, and one that can't be rid of it neither waits nor hoards."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from requests import PreparedRequest

from assistant.telemetry.headers import HeadersFile
from assistant.telemetry.sending import Sender
from assistant.telemetry.settings import TelemetrySettings
from index.errors import InvalidInput
from tests.assistant.telemetry.receiver import receiving
from tests.conftest import ROOT


def sent(headers: HeadersFile) -> dict[str, str]:
    request = PreparedRequest()
    request.prepare(method="POST", url="http://127.0.0.1:1/", auth=headers)
    return dict(request.headers)


def ingest(folder: Path, endpoint: str) -> "subprocess.CompletedProcess[str]":
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "a.md").write_text("# A\n\nThe kettle is on the third floor.\n")
    return subprocess.run(
        [sys.executable, "-m", "assistant.cli", "ingest", "docs"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CASEBOOK_TELEMETRY": json.dumps({"otlp_endpoint": endpoint}),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_an_ingestion_by_hand_sends_all_that_it_measured(tmp_path: Path) -> None:
    with receiving() as receiver:
        done = ingest(tmp_path, receiver.address)
        assert done.returncode == 0, done.stderr
        names = {span.name for span in receiver.spans()}
        assert names == {"ingest", "ingest list", "ingest read", "ingest embed", "ingest publish"}
        assert {"casebook.ingest.runs", "casebook.ingest.documents"} <= receiver.metrics()
        assert b"kettle" not in receiver.everything


@pytest.mark.slow
def test_an_ingestion_waits_five_seconds_for_a_receiver_that_hangs(tmp_path: Path) -> None:
    with receiving() as receiver:
        began = time.monotonic()
        assert ingest(tmp_path, receiver.address).returncode == 0
        usual = time.monotonic() - began
        receiver.delay = 60
        began = time.monotonic()
        assert ingest(tmp_path, receiver.address).returncode == 0
        assert 4 < time.monotonic() - began < usual + 25


def test_spans_that_do_not_fit_are_dropped() -> None:
    with receiving() as receiver:
        receiver.delay = 0.5
        sender = Sender(TelemetrySettings.model_validate({"otlp_endpoint": receiver.address}))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(sender.spans())
        tracer = provider.get_tracer("casebook")
        for number in range(20_000):
            tracer.start_span(f"span {number}").end()
        receiver.delay = 0
        provider.shutdown()
        assert 0 < len(receiver.spans()) < 10_000


def test_headers_are_read_anew_with_every_request(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer one\n")
    headers = HeadersFile(path)
    assert sent(headers)["Authorization"] == "Bearer one"
    path.write_text("Authorization: Bearer two\n\nX-Scope-OrgID: 7\n")
    assert sent(headers)["Authorization"] == "Bearer two"
    assert sent(headers)["X-Scope-OrgID"] == "7"


def test_headers_from_before_are_sent_while_the_file_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer one\n")
    headers = HeadersFile(path)
    path.unlink()
    assert sent(headers)["Authorization"] == "Bearer one"
    assert "can't be read" in caplog.text
    assert "one" not in repr(headers)


@pytest.mark.parametrize("text", ["", "\n", "sk-secret", "Authorization Bearer x", "A: b\nsecret"])
def test_a_file_without_headers_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "headers"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="does not hold headers alone") as refused:
        HeadersFile(path)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="headers_file"):
        HeadersFile(tmp_path / "none")


@pytest.mark.parametrize(
    "address", ["http://user:pw@h:4318", "http://h:4318/?key=1", "ftp://h", "h:4318"]
)
def test_an_address_with_a_secret_or_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="otlp_endpoint"):
        TelemetrySettings.model_validate({"otlp_endpoint": address})

"""A server that is told to stop begins nothing new, ends what it has begun, and is soon gone."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT

TRUE = "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]. "
QUESTION = "How do Kanister blueprints work?"
STREAMS = 20
GONE_WITHIN = 25.0
"""Seconds."""


class Hesitant(ThreadingHTTPServer):
    """A provider that writes a sentence, and the rest when it is told to go on, if ever."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Writes)
        self.go_on = threading.Event()
        self.writing = threading.Semaphore(0)


class _Writes(BaseHTTPRequestHandler):
    server: Hesitant

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._say({"content": TRUE})
        self.server.writing.release()
        if self.server.go_on.wait(60):
            self._say({"content": TRUE}, finish="stop")
            self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, delta: dict[str, str], finish: str | None = None) -> None:
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "fake",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def hesitant() -> Iterator[Hesitant]:
    with Hesitant() as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        yield provider
        provider.go_on.set()
        provider.shutdown()


@dataclass
class Server:
    """A server process that has been started."""

    address: str
    process: subprocess.Popen[str]

    def stop(self) -> float:
        """Tell it to stop; the time at which it was told."""
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()


@contextmanager
def started(index: Path, folder: Path, provider: Hesitant) -> Iterator[Server]:
    """A server that asks the provider, and lets one caller ask all they like."""
    port = provider.server_address[1]
    settings = {
        "keys": str(folder / "keys.sqlite"),
        "index": str(index),
        "limits": {"ask_wait": 120},
        "gateway": {
            "models": [{"name": "fake", "model": "fake", "address": f"http://127.0.0.1:{port}/v1"}],
            "limits": {"requests_per_minute": 1000, "concurrent": 100},
            "timeouts": {"first_token": 100, "between_tokens": 100, "total": 200},
            "ledger": str(folder / "usage.sqlite"),
            "cache": 0,
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / "settings.json")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = next(filter(None, (re.search(r"ready: (\S+)", line) for line in process.stdout)))
        yield Server(ready[1], process)
    finally:
        process.kill()
        process.wait()


SERVE = """
import json, sys
from assistant.server import run
from assistant.settings import load_settings
run(load_settings(port=0, **json.load(open(sys.argv[1]))))
"""


@dataclass
class Heard:
    """What one client heard: the names of the events and the last answer."""

    events: list[str] = field(default_factory=list)
    answer: str = ""


def listen(address: str) -> Heard:
    """Ask, and read events until the stream ends by itself; raises where it breaks off."""
    heard = Heard()
    headers = {"Accept": "text/event-stream"}
    with httpx.stream(
        "POST", f"{address}/ask", json={"question": QUESTION}, headers=headers, timeout=120
    ) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("event: "):
                heard.events.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                heard.answer = line.removeprefix("data: ")
    return heard


def all_writing(provider: Hesitant) -> None:
    for _ in range(STREAMS):
        assert provider.writing.acquire(timeout=100)


@pytest.mark.slow
def test_open_streams_end_whole_while_what_is_new_is_sent_elsewhere(
    case_studies_index: Path, tmp_path: Path
) -> None:
    with (
        hesitant() as provider,
        started(case_studies_index, tmp_path, provider) as server,
        ThreadPoolExecutor(STREAMS) as people,
        httpx.Client(base_url=server.address, timeout=10) as client,
    ):
        assert client.get("/health/ready").status_code == 200
        streams = [people.submit(listen, server.address) for _ in range(STREAMS)]
        all_writing(provider)
        told = server.stop()
        while client.get("/health/ready").status_code == 200:
            assert time.monotonic() < told + 5
        assert httpx.get(f"{server.address}/health/live").status_code == 200
        for refused in (
            httpx.get(f"{server.address}/search", params={"q": "backup"}),
            httpx.get(f"{server.address}/suggestions"),
            httpx.post(f"{server.address}/ask", json={"question": QUESTION}),
            httpx.post(f"{server.address}/ingest"),
            httpx.get(f"{server.address}/health/ready"),
        ):
            assert refused.status_code == 503, refused.url
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["retry-after"] == "5"
            assert refused.headers["connection"] == "close"
        assert not any(stream.done() for stream in streams)
        provider.go_on.set()
        for stream in streams:
            heard = stream.result(timeout=GONE_WITHIN)
            assert heard.events[-1] == "answer"
            answer = json.loads(heard.answer)
            assert (answer["mode"], answer["status"]) == ("generated", "answered")
        server.process.wait(timeout=told + GONE_WITHIN - time.monotonic())


@pytest.mark.slow
def test_where_the_provider_hangs_each_stream_is_given_what_there_is_and_the_server_goes(
    case_studies_index: Path, tmp_path: Path
) -> None:
    with (
        hesitant() as provider,
        started(case_studies_index, tmp_path, provider) as server,
        ThreadPoolExecutor(STREAMS) as people,
    ):
        streams = [people.submit(listen, server.address) for _ in range(STREAMS)]
        all_writing(provider)
        told = server.stop()
        server.process.wait(timeout=GONE_WITHIN)
        assert time.monotonic() - told < GONE_WITHIN
        for stream in streams:
            heard = stream.result(timeout=5)
            assert heard.events[-1] == "answer"
            answer = json.loads(heard.answer)
            assert answer["sentences"]
            assert "stopped while a model was writing" in answer["notice"]


def test_a_server_with_nothing_to_end_goes_at_once(
    case_studies_index: Path, tmp_path: Path
) -> None:
    """Also where clients keep their connections open."""
    with (
        hesitant() as provider,
        started(case_studies_index, tmp_path, provider) as server,
        httpx.Client(base_url=server.address) as client,
    ):
        assert client.get("/search", params={"q": "backup"}).status_code == 200
        server.stop()
        server.process.wait(timeout=8)

"""A real service, driven through everything that it measures, and the series that Prometheus then sees.

series = exposed(tmp_path, case_studies_index)   # {"casebook_questions_total": {"mode", "status"}, …}
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from assistant.access.keys import KeyStore
from index.recovery.audit import DONE, audit_path
from tests.assistant.gateway.misbehaving import Misbehaving
from tests.conftest import ROOT

QUESTION = "What coordinates backup and restore actions?"
UNANSWERABLE = "Who won the chess olympiad of 1927 in London?"
TRUE = "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]."
FALSE = "The moon coordinates everything with a budget of 4711 dollars [1]."
STREAM = {"Accept": "text/event-stream"}
PROVIDER_KEY = "sk-provider-4711-not-to-be-seen"
SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "150",
    "OTEL_BLRP_SCHEDULE_DELAY": "150",
    "OTEL_METRIC_EXPORT_INTERVAL": "300",
}

Series = dict[str, frozenset[str]]
"""Names of samples as queries name them, and their labels."""


@dataclass
class Service:
    """A running service: its keys by name, the file of all that it wrote, the fake provider."""

    address: str
    keys: Mapping[str, str]
    log: Path
    folder: Path
    provider: Misbehaving
    process: "subprocess.Popen[bytes]"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        if key:
            headers["Authorization"] = f"Bearer {self.keys[key]}"
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)

    def metrics(self) -> str:
        with self.client("root") as client:
            response = client.get("/metrics")
        assert response.status_code == 200, response.text
        return response.text


@contextmanager
def service(
    folder: Path, index: Path, telemetry: Mapping[str, Any] | None = None, **environment: str
) -> Iterator[Service]:
    """A service over a copy of an index, with one source that can't be read and a model that can."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(index, folder / "index")
    (folder / "docs").mkdir()
    (folder / "docs" / "note.md").write_text("# A note\n\nThe kettle is on the third floor.\n")
    store = KeyStore(folder / "keys.sqlite")
    keys = {
        "reader": store.create("zebra-reader", ["public"], team="payments").secret,
        "operator": store.create("ops", ["casebook:operator"]).secret,
        "root": store.create("root", [], administrator=True).secret,
    }
    log = folder / "service.log"
    with Misbehaving("usage", answers=lambda body: f"{TRUE} {FALSE}") as provider:
        settings = {
            "CASEBOOK_INDEX": str(folder / "index"),
            "CASEBOOK_KEYS": str(folder / "keys.sqlite"),
            "CASEBOOK_CORPUS": '["corpus"]',
            "CASEBOOK_COPIES": str(folder / "copies"),
            "CASEBOOK_SOURCES": json.dumps(_sources(folder)),
            "CASEBOOK_GATEWAY": json.dumps(_gateway(folder, provider)),
            "CASEBOOK_LIMITS": json.dumps({"waiting": 1, "ask_at_once": 1, "search_at_once": 1}),
            "CASEBOOK_TELEMETRY": json.dumps(dict(telemetry or {})),
            "PROVIDER_KEY": PROVIDER_KEY,
        }
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", "assistant.cli", "-v", "serve", "--port", "0"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **SOON, **settings, **environment},
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Service(_address(process, log), keys, log, folder, provider, process)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _sources(folder: Path) -> list[dict[str, Any]]:
    return [
        {"name": "notes", "type": "folder", "path": str(folder / "docs"), "stale_after": "P1D"},
        {"name": "wiki", "type": "git", "url": str(folder / "no-such-repository"), "every": "PT2H"},
    ]


def _gateway(folder: Path, provider: Misbehaving) -> dict[str, Any]:
    model = {"model": "fake-large", "key_env": "PROVIDER_KEY", "price": {"input": 2, "output": 10}}
    return {
        "models": [
            {"name": "first", "address": provider.address_of("unauthorized_401"), **model},
            {"name": "second", "address": provider.address, **model},
        ],
        "budgets": [{"per": "all", "dollars": 5}, {"per": "team", "requests": 1000}],
        "timeouts": {"first_token": 3, "between_tokens": 2, "total": 8},
        "cache": 0,
        "log_texts": True,
        "ledger": str(folder / "usage.sqlite"),
    }


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        if found := re.search(r"ready: (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError("the server did not start:\n" + log.read_text())


def drive(service: Service) -> list[str]:
    """Have everything happen that is measured; gives the metrics as text, before and at the end."""
    with service.client("reader") as client, service.client("root") as root:
        job = root.post("/ingest").json()["job"]
        assert client.post("/ask", json={"question": QUESTION}).json()["mode"] == "generated"
        client.post("/ask", json={"question": QUESTION}, headers=STREAM)
        client.post("/ask", json={"question": UNANSWERABLE})
        client.post("/ask", json={"question": ""})
        client.get("/search", params={"q": QUESTION})
        client.post("/v1/chat/completions", json=_chat(QUESTION))
        service.provider.behaviour = "error_500"
        assert client.post("/ask", json={"question": QUESTION}).json()["mode"] == "extractive"
        service.provider.behaviour = "stall"
        with client.stream("POST", "/ask", json={"question": QUESTION}, headers=STREAM) as stream:
            next(stream.iter_bytes())
        service.provider.behaviour = "usage"
        note_snapshot(service.index)
        _flood(service)
        while root.get(f"/ingest/{job}").json()["state"] == "running":
            time.sleep(0.1)
        before = service.metrics()
        catalog = service.index / "catalog.sqlite"
        catalog.rename(catalog.with_suffix(".away"))
        assert client.post("/ask", json={"question": QUESTION}).status_code == 503
        without = service.metrics()
        catalog.with_suffix(".away").rename(catalog)
    return [before, without]


def note_snapshot(index: Path) -> None:
    """The line that a snapshot leaves in the trail of an index."""
    line = {"time": datetime.now(UTC).isoformat(), "action": "snapshot", "outcome": DONE}
    audit_path(index).write_text(json.dumps(line) + "\n")


def _chat(question: str) -> dict[str, Any]:
    return {"model": "casebook", "messages": [{"role": "user", "content": question}]}


def _flood(service: Service) -> None:
    """More questions at once than are let in or may wait."""

    def ask(number: int) -> int:
        with service.client("reader") as client:
            return client.post("/ask", json={"question": QUESTION}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert 503 in set(pool.map(ask, range(6)))


def series(*texts: str) -> Series:
    """The series in expositions."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return {name: frozenset(labels) for name, labels in sorted(found.items())}


def exposed(folder: Path, index: Path) -> Series:
    """The series of a service that everything has happened to; `index` is copied."""
    with service(folder, index) as running:
        return series(*drive(running))

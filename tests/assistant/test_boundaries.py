"""Access over HTTP: each caller sees its own documents on every route there is, and nothing else."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from assistant.access.authenticate import Authenticator
from assistant.access.caller import anonymous
from assistant.access.keys import KeyStore
from assistant.access.routes import declared_routes
from assistant.answering import Answering
from assistant.api import create_app
from assistant.assistant import Assistant
from assistant.freshness import Freshness
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.jobs import Jobs
from assistant.models import Models
from assistant.sources import Sources
from index.reader import IndexReader
from index.schema import Document, DocumentId, Revision, content_hash
from ingest.sync import Report, Summary, sync_documents
from tests.conftest import World, quiet

CANARY = re.compile(r"canary[a-z]{12}")


@dataclass(frozen=True)
class Service:
    """The application over some documents, with keys by name."""

    client: TestClient
    keys: dict[str, str]

    def get(self, path: str, caller: str | None = None, **parameters: str) -> tuple[int, str]:
        response = self.client.get(path, params=parameters, headers=self.headers(caller))
        return response.status_code, response.text

    def headers(self, caller: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[caller]}"} if caller else {}


def a_service(folder: Path, index: Path, models: Models, callers: dict[str, list[str]]) -> Service:
    store = KeyStore(folder / "keys.sqlite")
    keys = {
        name: store.create(name, labels, administrator=name == "root").secret
        for name, labels in callers.items()
    }
    reader = IndexReader(index)
    assistant = Assistant(reader, models, Freshness(folder))

    def ingest(names: object, report: Report) -> Summary:
        raise NotImplementedError

    app = create_app(
        Answering(assistant, Gateway(GatewaySettings())),
        Jobs(ingest, folder / "jobs.json"),
        Sources(reader, {}),
        Authenticator(store, None, anonymous({"public"})),
    )
    return Service(TestClient(app, base_url="http://localhost"), keys)


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    world.write("open.md", "# Restore drill\n\nThe restore drill runs every quarter.\n")
    world.write(
        "hidden.md",
        "---\naccess: [platform, board]\n---\n# Layoffs\n\nThe restore drill team is let go in May.\n",
    )
    world.write("nobody.md", "---\naccess: []\n---\n# Orphan\n\nNobody has labelled this.\n")
    summary = world.ingest()
    assert summary.unlabelled == 1
    callers = {"reader": ["public"], "engineer": ["platform"], "root": []}
    service = a_service(world.base, world.index, world.models, callers)
    with service.client:
        yield service


def titles(service: Service, caller: str | None) -> set[str]:
    listed = json.loads(service.get("/documents", caller)[1])
    return {document["title"] for document in listed["documents"]}


def test_each_caller_is_shown_its_own_documents(service: Service) -> None:
    assert titles(service, None) == titles(service, "reader") == {"Restore drill"}
    assert titles(service, "engineer") == {"Restore drill", "Layoffs"}
    assert titles(service, "root") == {"Restore drill", "Layoffs", "Orphan"}


def test_labels_of_others_are_not_named(service: Service) -> None:
    listed = json.loads(service.get("/documents", "engineer")[1])["documents"]
    assert {tuple(document["access"]) for document in listed} == {("public",), ("platform",)}
    assert "board" in service.get("/documents", "root")[1]


def test_a_hidden_document_and_an_absent_one_give_the_same_answer(service: Service) -> None:
    listed = json.loads(service.get("/documents", "engineer")[1])["documents"]
    hidden = next(each["id"] for each in listed if each["title"] == "Layoffs")
    assert service.get(f"/documents/{hidden}", "engineer")[0] == 200
    absent = hidden[:-1] + ("0" if hidden[-1] != "0" else "1")
    for caller in (None, "reader"):
        status, text = service.get(f"/documents/{hidden}", caller)
        assert (status, text.replace(hidden, absent)) == service.get(f"/documents/{absent}", caller)
        assert status == 404


def test_revocation_takes_effect_on_the_next_request(service: Service, world: World) -> None:
    assert service.get("/me", "engineer")[0] == 200
    KeyStore(world.base / "keys.sqlite").revoke("engineer")
    assert service.get("/me", "engineer")[0] == 401
    assert service.get("/documents", "engineer")[0] == 401


def test_ingestion_and_its_jobs_are_for_administrators(service: Service) -> None:
    for caller, status in ((None, 401), ("engineer", 403)):
        headers = service.headers(caller)
        assert service.client.post("/ingest", headers=headers).status_code == status
        assert service.client.get("/ingest/abc", headers=headers).status_code == status


def test_only_administrators_are_told_how_a_sync_went(service: Service) -> None:
    for caller, told in ((None, False), ("engineer", False), ("root", True)):
        (source,) = json.loads(service.get("/sources", caller)[1])["sources"]
        assert (source["sync"] is not None) is told
    assert json.loads(service.get("/sources")[1])["sources"][0]["documents"] == 1


# --- canaries ---------------------------------------------------------------------------------


def canary(tenant: int, group: int, number: int) -> str:
    digits = content_hash("canary", str(tenant), str(group), str(number))
    return "canary" + "".join(chr(ord("a") + int(digit, 16)) for digit in digits[:12])


@pytest.fixture(scope="module")
def tenants(
    tmp_path_factory: pytest.TempPathFactory, models: Models
) -> Iterator[tuple[Service, dict[str, str]]]:
    """3 tenants of 5 groups with 200 documents each, a secret word in every one."""
    folder = tmp_path_factory.mktemp("tenants")
    owners: dict[str, str] = {}
    documents = []
    for tenant in range(3):
        for group in range(5):
            label = f"tenant{tenant}-group{group}"
            for number in range(200):
                word = canary(tenant, group, number)
                owners[word] = label
                documents.append(
                    Document(
                        id=DocumentId(f"{word}-id"),
                        title=f"Runbook {number} {word}",
                        text=f"# Runbook {number} {word}\n\nRestore drill {number}: type `{word}`.\n",
                        source_name=f"{label}-{word}",
                        source=f"{word}.md",
                        kind=f"runbook-{word}",
                        revision=Revision(word),
                        modified_at="2025-01-01T00:00:00+00:00",
                        ingested_at="2026-01-01T00:00:00+00:00",
                        access=frozenset({label}),
                        metadata={"tags": [word], "project": word},
                    )
                )
    sync_documents(documents, folder / "index", models.embedder, report=quiet)
    callers = {label: [label] for label in set(owners.values())} | {"root": []}
    service = a_service(folder, folder / "index", models, callers)
    with service.client:
        yield service, owners


NAMING = ("/ask", "/search", "/v1/chat/completions", "/mcp")
"""Routes that are asked for something by name."""


@pytest.mark.slow
def test_not_one_canary_leaks_in_2500_requests(tenants: tuple[Service, dict[str, str]]) -> None:
    service, owners = tenants
    words = sorted(owners)
    chance = random.Random(0)
    routes = [
        (method, route.path)
        for route in declared_routes(service.client.app)  # type: ignore[arg-type]
        for method in route.methods
        if method in ("GET", "POST")
    ]
    callers = [None, *(label for label in service.keys if label != "root")]
    seen = 0
    for number in range(2500):
        method, path = routes[number % len(routes)]
        caller = chance.choice(callers)
        word = chance.choice(words)
        text = ask_for(service, method, path, word, caller, streamed=number % 2 == 0)
        own = {each for each in CANARY.findall(text) if owners.get(each) == caller}
        sent = {word} if path in NAMING or "{" in path else set()
        leaked = set(CANARY.findall(text)) - own - sent
        assert not leaked, (method, path, caller, leaked)
        if word in sent and owners[word] != caller:
            # The word that was asked for may be said again, but nothing that stands beside it.
            assert "type `" + word not in text
        seen += len(own)
    assert seen > 1000  # callers did get their own


def ask_for(
    service: Service, method: str, path: str, word: str, caller: str | None, *, streamed: bool
) -> str:
    """Call a route with something that names a canary; returns headers and body as text."""
    headers = service.headers(caller)
    if streamed:
        headers["Accept"] = "text/event-stream"
    path = path.replace("{document_id}", f"{word}-id").replace("{job_id}", word)
    path = path.replace("/static", "/static/app.js").replace("{model}", word)
    assert "{" not in path, f"give this new route a parameter: {path}"
    question = f"What is typed in the restore drill of {word}?"
    bodies: dict[str, dict[str, object]] = {
        "/ask": {
            "question": question,
            "explain": True,
            "filters": {"tags": [word]} if streamed else None,
        },
        "/v1/chat/completions": {
            "model": "casebook",
            "messages": [{"role": "user", "content": question}],
            "stream": streamed,
        },
        "/mcp": tool_call(word, question),
    }
    if path == "/mcp":
        headers["Accept"] = "application/json, text/event-stream"
    if method == "POST" and path in bodies:
        response = service.client.post(path, json=bodies[path], headers=headers)
    elif method == "POST":
        response = service.client.post(path, headers=headers)
    else:
        response = service.client.get(path, params={"q": word, "k": "20"}, headers=headers)
    assert response.status_code < 500, (path, response.text)
    return str(dict(response.headers)) + response.text


def tool_call(word: str, question: str) -> dict[str, object]:
    """A call of one of the tools, as the protocol has it; which one, the word says."""
    calls: list[tuple[str, dict[str, object]]] = [
        ("search", {"query": word, "k": 20}),
        ("fetch", {"id": f"{word}-id"}),
        ("ask", {"question": question}),
    ]
    name, arguments = calls[len(set(word)) % 3]
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }

"""Every route and every tool, asked by everybody who may come, over a real socket: each gets what is theirs
by the table below, and not a byte of what is not. What the application has and the table has not fails.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from assistant.access.routes import declared_routes
from tests.attack.tenants import ACME, PUBLIC, QUESTION, Identity, Service

STREAM = {"Accept": "text/event-stream"}
MCP = {"Accept": "application/json, text/event-stream"}
CHAT = {"model": "casebook", "messages": [{"role": "user", "content": QUESTION}]}

EVERYONE, READERS, OPERATORS, ADMINISTRATORS = "everyone", "readers", "operators", "administrators"


@dataclass(frozen=True)
class Ask:
    """One way to ask a route, and its status for whom the route is."""

    path: str
    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """Whom a route is for, and ways to ask it."""

    whom: str
    ways: tuple[Ask, ...]


def rpc(method: str, **parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}


EXPECTED = {
    "GET|HEAD /openapi.json": Expected(EVERYONE, (Ask("/openapi.json"),)),
    "POST /ask": Expected(
        READERS,
        (
            Ask("/ask", json={"question": QUESTION, "explain": True}),
            Ask("/ask", json={"question": QUESTION, "explain": True}, headers=STREAM),
            Ask("/ask", json={"question": QUESTION, "filters": {"source_name": ["nowhere"]}}),
            Ask("/ask", 422, json={"question": " "}),
        ),
    ),
    "GET /search": Expected(
        READERS,
        (Ask(f"/search?q={QUESTION}&k=100"), Ask("/search", 422), Ask("/search?q=a&k=0", 422)),
    ),
    "GET /suggestions": Expected(READERS, (Ask("/suggestions"),)),
    "POST /v1/chat/completions": Expected(
        READERS,
        (
            Ask("/v1/chat/completions", json=CHAT),
            Ask("/v1/chat/completions", json=CHAT | {"stream": True}),
            Ask("/v1/chat/completions", 404, json=CHAT | {"model": "other"}),
        ),
    ),
    "GET /v1/models": Expected(READERS, (Ask("/v1/models"),)),
    "GET /v1/models/{model}": Expected(
        READERS, (Ask("/v1/models/casebook"), Ask("/v1/models/other", 404))
    ),
    "POST /mcp": Expected(
        READERS,
        (
            Ask("/mcp", json=rpc("tools/list"), headers=MCP),
            Ask("/mcp", 400, json={"no": "rpc"}, headers=MCP),
        ),
    ),
    "GET /documents": Expected(READERS, (Ask("/documents"),)),
    "GET /documents/{document_id}": Expected(
        READERS, (Ask("/documents/{open}"), Ask("/documents/absent", 404))
    ),
    "GET /sources": Expected(READERS, (Ask("/sources"),)),
    "GET /me": Expected(READERS, (Ask("/me"),)),
    "POST /ingest": Expected(ADMINISTRATORS, (Ask("/ingest", 202),)),
    "GET /ingest/{job_id}": Expected(
        ADMINISTRATORS,
        (Ask("/ingest/{job}"), Ask("/ingest/{job}", headers=STREAM), Ask("/ingest/absent", 404)),
    ),
    "GET /health/live": Expected(EVERYONE, (Ask("/health/live"),)),
    "GET /health/ready": Expected(EVERYONE, (Ask("/health/ready"),)),
    "GET /status": Expected(READERS, (Ask("/status"),)),
    "GET /metrics": Expected(OPERATORS, (Ask("/metrics"),)),
    "GET /usage": Expected(ADMINISTRATORS, (Ask("/usage"), Ask("/usage?since=yesterday", 422))),
    "GET /usage.csv": Expected(ADMINISTRATORS, (Ask("/usage.csv?by=key"),)),
    "GET /dashboard": Expected(EVERYONE, (Ask("/dashboard"),)),
    "GET /": Expected(EVERYONE, (Ask("/"),)),
    "MOUNT /static": Expected(EVERYONE, (Ask("/static/app.js"), Ask("/static/absent.js", 404))),
}

TOOLS = {
    "search": {"query": QUESTION, "k": 50},
    "ask": {"question": QUESTION},
    "fetch": {"id": "{open}"},
}
"""Every tool of the Model Context Protocol, with what it is called with; each is for readers."""


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client


def status_for(whom: str, identity: Identity, otherwise: int) -> int:
    """What a caller is answered, by the table alone."""
    if whom == EVERYONE:
        return otherwise
    if not identity.accepted:
        return 401
    if whom == READERS or identity.administrator or (whom == OPERATORS and identity.operator):
        return otherwise
    return 403 if identity.named else 401


def send(
    client: httpx.Client, service: Service, identity: Identity, method: str, ask: Ask
) -> httpx.Response:
    filled = json.loads(
        json.dumps([ask.path, ask.json])
        .replace("{open}", service.documents["open"])
        .replace("{job}", service.job)
    )
    headers: list[tuple[str, Any]] = [*ask.headers.items(), *identity.sent]
    content = {} if filled[1] is None else {"json": filled[1]}
    response = client.request(method, filled[0], headers=headers, **content)
    if response.status_code == 202:
        service.jobs.wait(service.jobs.get(response.json()["job"]))
    return response


def everything(response: httpx.Response) -> bytes:
    """All bytes of an answer: the status line's reason, the headers, the body."""
    pieces = [piece for pair in response.headers.raw for piece in pair]
    return b"\n".join([response.reason_phrase.encode(), *pieces, response.content])


def leaks(identity: Identity, response: httpx.Response) -> list[bytes]:
    told = everything(response)
    return [word for word in identity.hidden if word in told]


# --- the tables are complete ------------------------------------------------------------------


def test_every_route_of_the_application_has_its_line_in_the_table(service: Service) -> None:
    there = {route.name for route in declared_routes(service.app)}
    assert there - set(EXPECTED) == set(), "give the new route a line in EXPECTED"
    assert set(EXPECTED) - there == set(), "the table has routes that are gone"


def test_openapi_names_no_route_that_is_not_in_the_table(
    client: httpx.Client, service: Service
) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert described <= set(EXPECTED)


def test_every_tool_has_its_line_in_the_table(client: httpx.Client) -> None:
    listed = client.post("/mcp", json=rpc("tools/list"), headers=MCP)
    (told,) = rpc_answers(listed)
    assert {tool["name"] for tool in told["result"]["tools"]} == set(TOOLS)


def rpc_answers(response: httpx.Response) -> list[Any]:
    """What an MCP response holds, be it JSON or events."""
    if response.headers["content-type"].startswith("application/json"):
        return [response.json()]
    lines = response.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_the_words_are_really_there_for_whom_they_are(
    client: httpx.Client, service: Service
) -> None:
    """So that their absence elsewhere says something."""
    for name, tenant in (("a tenant", ACME), ("an administrator", ACME), ("nobody", PUBLIC)):
        identity = service.identities[name]
        told = b"".join(
            everything(send(client, service, identity, method, way))
            for method, way in (
                ("POST", Ask("/ask", json={"question": QUESTION, "explain": True})),
                ("GET", Ask("/documents")),
                ("GET", Ask(f"/documents/{service.documents[tenant.name]}")),
            )
        )
        assert [word for word in tenant.words if word.encode() not in told] == []
        assert (tenant.also.encode() in told) == identity.administrator


# --- every route by everybody -----------------------------------------------------------------


@pytest.mark.parametrize("route", EXPECTED)
def test_everybody_gets_from_a_route_what_is_theirs_and_no_more(
    client: httpx.Client, service: Service, route: str
) -> None:
    expected = EXPECTED[route]
    method = "GET" if route.startswith(("MOUNT", "GET")) else route.split()[0]
    for identity in service.identities.values():
        for way in expected.ways:
            response = send(client, service, identity, method, way)
            at = (identity.name, way.path, response.text[:300])
            wanted = status_for(expected.whom, identity, way.status)
            assert response.status_code == wanted, at
            assert leaks(identity, response) == [], at
            if wanted in (401, 403):
                told = response.headers.get("www-authenticate", "")
                assert told.startswith("Bearer ") == (wanted == 401), at
                assert "cbk_" not in response.text.replace("Bearer cbk_…", ""), at


@pytest.mark.parametrize("route", EXPECTED)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "HEAD", "BREW"])
def test_a_method_that_a_route_has_not_does_nothing(
    client: httpx.Client, service: Service, route: str, method: str
) -> None:
    names, path = route.split()
    if method in names or (method == "HEAD" and names == "MOUNT"):
        return
    path = path.replace("/static", "/static/app.js").replace("{job_id}", "{job}")
    way = Ask(path.replace("{document_id}", "{open}"))
    running = {job.id for job in service.jobs._jobs.values()}
    for name in ("nobody", "a revoked key", "an administrator"):
        response = send(client, service, service.identities[name], method, way)
        assert response.status_code == 405, (name, response.text)
        assert "access-control-allow-origin" not in response.headers
        assert leaks(service.identities["nobody"], response) == []
    assert {job.id for job in service.jobs._jobs.values()} == running


# --- tools ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
def test_everybody_gets_from_a_tool_what_is_theirs_and_no_more(
    client: httpx.Client, service: Service, tool: str
) -> None:
    way = Ask("/mcp", json=rpc("tools/call", name=tool, arguments=TOOLS[tool]), headers=MCP)
    for identity in service.identities.values():
        response = send(client, service, identity, "POST", way)
        assert response.status_code == (200 if identity.accepted else 401), identity.name
        assert leaks(identity, response) == [], identity.name
        if identity.accepted:
            (told,) = rpc_answers(response)
            assert told["result"]["isError"] is False, (identity.name, told)
            assert any(tenant.words[2] in response.text for tenant in identity.reads)
        else:
            assert response.json()["error"]["message"], identity.name


# --- hidden is absent -------------------------------------------------------------------------


def another(document: str) -> str:
    """An id of the same shape, of no document."""
    return document[:-1] + ("0" if document[-1] != "0" else "1")


def comparable(response: httpx.Response, named: str) -> tuple[int, dict[str, str], str]:
    """An answer without what differs between any two: the date, times and what was asked for."""
    headers = {
        name: value for name, value in response.headers.items() if name not in ("date", "trace-id")
    }
    return response.status_code, headers, response.text.replace(named, "…")


@pytest.mark.parametrize("hidden", ["acme", "bolt", "sealed"])
def test_what_is_hidden_is_answered_as_what_is_not_there(
    client: httpx.Client, service: Service, hidden: str
) -> None:
    there = service.documents[hidden]
    for identity in service.identities.values():
        if not identity.accepted or hidden in {tenant.name for tenant in identity.reads}:
            continue
        for method, way in (
            ("GET", Ask("/documents/{id}")),
            (
                "POST",
                Ask("/ask", json={"question": QUESTION, "filters": {"document_id": ["{id}"]}}),
            ),
            ("POST", Ask("/ask", json={"question": QUESTION, "filters": {"source": "{source}"}})),
            (
                "POST",
                Ask("/ask", json={"question": QUESTION, "filters": {"source_name": ["{source}"]}}),
            ),
            ("POST", Ask("/ask", json={"question": QUESTION, "filters": {"kind": ["{source}"]}})),
            (
                "POST",
                Ask(
                    "/mcp",
                    json=rpc("tools/call", name="fetch", arguments={"id": "{id}"}),
                    headers=MCP,
                ),
            ),
        ):
            answers = []
            for name, source in (
                (there, f"{hidden}sourcequartz"),
                (another(there), "nonesourcequartz"),
            ):
                sent = (
                    json.dumps([way.path, way.json])
                    .replace("{id}", name)
                    .replace("{source}", source)
                )
                path, body = json.loads(sent)
                response = send(client, service, identity, method, Ask(path, 0, body, way.headers))
                status, headers, text = comparable(response, name)
                headers.pop("content-length", None)
                answers.append((status, headers, text.replace(source, "…")))
            assert answers[0] == answers[1], (identity.name, way.path)


def test_a_refusal_is_the_same_whatever_is_wrong_with_what_was_sent(
    client: httpx.Client, service: Service
) -> None:
    """So that nobody learns from it which key there was."""
    refused = {
        comparable(send(client, service, identity, "GET", Ask("/me")), "")[2]
        for identity in service.identities.values()
        if not identity.accepted
    }
    assert len(refused) == 1

"""The MCP server as the official client sees it, over HTTP and over standard input and output."""

import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from assistant.access.caller import LOCAL
from assistant.access.keys import KeyStore
from assistant.access.routes import Role, declared_routes
from assistant.assistant import Assistant
from assistant.events import Final
from assistant.gateway.errors import TooManyRequests
from tests.assistant.services import Scripted, an_app, extractive, served
from tests.assistant.test_openai_api import AN_ANSWER
from tests.conftest import ROOT, World, ask

QUESTION = "What coordinates backup and restore actions?"
SECRET = "The vault code is canaryswordfish."


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    return KeyStore(tmp_path_factory.mktemp("keys") / "keys.sqlite")


@pytest.fixture(scope="module")
def address(assistant: Assistant, keys: KeyStore) -> Iterator[str]:
    with served(an_app(extractive(assistant), keys.path)) as address:
        yield address


Use = Callable[[Client], Awaitable[Any]]


def over_http(address: str, use: Use, key: str | None = None, mode: str = "auto") -> Any:
    """What a client gets that was made with the key."""

    async def connected() -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{address}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                try:
                    return await use(client)
                except MCPError as error:  # outside the client it would be one of a group
                    return error

    if isinstance(outcome := anyio.run(connected), MCPError):
        raise outcome
    return outcome


def calling(tool: str, **arguments: Any) -> Use:
    async def called(client: Client) -> CallToolResult:
        return await client.call_tool(tool, arguments)

    return called


def text_of(result: CallToolResult) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


# --- what it does -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_tools_are_listed(address: str, mode: str) -> None:
    async def listed(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = over_http(address, listed, mode=mode)
    assert [tool.name for tool in tools] == ["search", "fetch", "ask"]
    for tool in tools:
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema
        assert tool.annotations.read_only_hint is True
    assert tools[0].input_schema["required"] == ["query"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_what_is_found_can_be_fetched(address: str, assistant: Assistant, mode: str) -> None:
    async def used(client: Client) -> tuple[Any, Any]:
        found = await client.call_tool("search", {"query": "burn-rate alerts", "k": 2})
        hit = found.structured_content["results"][0]
        return found, await client.call_tool("fetch", {"id": hit["id"]})

    found, fetched = over_http(address, used, mode=mode)
    hits = found.structured_content["results"]
    assert json.loads(text_of(found)) == found.structured_content
    assert hits[0]["title"] == "SLO Driven Monitoring"
    document = fetched.structured_content
    assert document["text"][hits[0]["start"] : hits[0]["end"]] == hits[0]["text"]
    assert document["url"] == hits[0]["url"] == f"{address}/documents/{document['id']}"
    assert document["metadata"]["source"] == "corpus/case-studies/slo-driven-monitoring.md"


def test_a_question_is_answered_with_exact_quotes(address: str, assistant: Assistant) -> None:
    answer = ask(assistant, QUESTION)
    asked = over_http(address, calling("ask", question=QUESTION)).structured_content
    assert (asked["status"], asked["answer"]) == ("answered", answer.answer)
    assert [c["quote"] for c in asked["citations"]] == [c.quote for c in answer.citations]
    silent = over_http(address, calling("ask", question="What is the boiling point of tungsten?"))
    assert silent.structured_content["status"] == "abstained"
    assert silent.structured_content["notice"]
    assert not silent.is_error


# --- who may ----------------------------------------------------------------------------------


def test_a_caller_gets_what_their_labels_let_them_read(world: World, tmp_path: Path) -> None:
    world.write("open.md", "# Drill\n\nThe drill runs every quarter.\n")
    world.write("vault.md", f"---\naccess: [sre]\n---\n# Vault\n\n{SECRET}\n")
    world.ingest()
    store = KeyStore(tmp_path / "keys.sqlite")
    key = store.create("ci", ["sre"]).secret
    assistant = world.assistant()
    (hidden,) = [each.id for each in assistant.documents(LOCAL).documents if each.title == "Vault"]

    async def everything(client: Client) -> str:
        calls = [
            ("search", {"query": "vault code", "k": 50}),
            ("ask", {"question": "What is the vault code?"}),
            ("fetch", {"id": hidden}),
        ]
        return "\n".join([text_of(await client.call_tool(*call)) for call in calls])

    with served(an_app(extractive(assistant), store.path)) as address:
        assert over_http(address, everything, key).count("canaryswordfish") >= 3
        told = over_http(address, everything)
        assert "canary" not in told
        assert f"no document '{hidden}'" in told
    assistant.close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_revoked_key_is_refused(address: str, keys: KeyStore, mode: str) -> None:
    key = keys.create(f"short-{mode}", ["sre"]).secret
    assert not over_http(address, calling("search", query="restore"), key, mode).is_error
    keys.revoke(f"short-{mode}")
    refused = httpx.post(
        f"{address}/mcp", json=INITIALIZE, headers={**ACCEPT, "Authorization": f"Bearer {key}"}
    )
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "cbk_…" in refused.json()["error"]["message"]
    with pytest.raises(Exception) as raised:  # noqa: PT011
        over_http(address, calling("search", query="restore"), key, mode)
    assert "the Authorization header is not accepted" in told_by(raised.value)


def test_a_key_revoked_while_a_client_is_connected_is_refused(address: str, keys: KeyStore) -> None:
    key = keys.create("while", ["sre"]).secret

    async def used(client: Client) -> None:
        assert not (await client.call_tool("search", {"query": "restore"})).is_error
        keys.revoke("while")
        await client.call_tool("search", {"query": "restore"})

    with pytest.raises(Exception) as raised:  # noqa: PT011
        over_http(address, used, key)
    assert "the Authorization header is not accepted" in told_by(raised.value)


def told_by(error: BaseException) -> str:
    """What an error says, and those that it groups."""
    if isinstance(error, BaseExceptionGroup):
        return " ".join(map(told_by, error.exceptions))
    return str(error)


def test_the_route_declares_its_caller_as_any_other(tmp_path: Path) -> None:
    app = an_app(Scripted([]), tmp_path / "keys.sqlite")
    roles = {route.name: route.roles for route in declared_routes(app)}
    assert roles["POST /mcp"] == roles["POST /v1/chat/completions"] == {Role.READER}
    assert [name for name in roles if "/mcp" in name] == ["POST /mcp"]


# --- what is refused --------------------------------------------------------------------------

ACCEPT = {"Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example"}, 421),
        ({"Host": "127.0.0.1.rebound.example:80"}, 421),
        ({"Origin": "http://rebound.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({}, 200),
    ],
)
def test_a_page_from_elsewhere_gets_nothing(
    address: str, headers: dict[str, str], status: int
) -> None:
    response = httpx.post(f"{address}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers})
    assert response.status_code == status
    if status != 200:
        assert next(iter(headers.values())) in response.json()["error"]["message"]
        assert "`hosts`" in response.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_are_no_sessions_to_listen_to(address: str, method: str) -> None:
    assert httpx.request(method, f"{address}/mcp", headers=ACCEPT).status_code == 405


def test_a_body_of_any_size_is_not_read(address: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 65536

    headers = {**ACCEPT, "Content-Type": "application/json"}
    assert httpx.post(f"{address}/mcp", content=endless(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("search", {}, "query: Field required"),
        ("search", {"query": " "}, "blank"),
        ("search", {"query": "x", "k": 0}, "k: "),
        ("search", {"query": "x", "labels": ["sre"]}, "labels: "),
        ("ask", {"question": ""}, "blank"),
        ("ask", {"question": "x" * 4001}, "4000"),
        ("fetch", {"id": "../../etc/passwd"}, "no document"),
    ],
)
def test_what_can_be_mended_comes_back_as_the_tools_error(
    address: str, tool: str, arguments: dict[str, Any], words: str
) -> None:
    result = over_http(address, calling(tool, **arguments))
    assert result.is_error
    assert words in text_of(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_tool_that_there_is_not(address: str, mode: str) -> None:
    with pytest.raises(MCPError, match="there are search, fetch, ask") as raised:
        over_http(address, calling("delete"), mode=mode)
    assert raised.value.error.code == -32602


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_unexpected_error_tells_nothing(tmp_path: Path, mode: str) -> None:
    broken = Scripted([RuntimeError("the password is swordfish")])
    with (
        served(an_app(broken, tmp_path / "keys.sqlite")) as address,
        pytest.raises(MCPError) as raised,
    ):
        over_http(address, calling("ask", question="q"), mode=mode)
    assert "swordfish" not in told_by(raised.value)
    assert "internal error" in str(raised.value)


def test_too_many_requests_are_told_as_such(tmp_path: Path) -> None:
    limited = Scripted([TooManyRequests("60 a minute: ask again in 17 s", 17)])
    with served(an_app(limited, tmp_path / "keys.sqlite")) as address:
        result = over_http(address, calling("ask", question="q"))
    assert result.is_error
    assert "17 s" in text_of(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_goes_away_ends_the_work(tmp_path: Path, mode: str) -> None:
    scripted = Scripted([None, Final(AN_ANSWER)])

    async def leaves(client: Client) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "ask", {"question": "q"})
            assert await anyio.to_thread.run_sync(scripted.stalled.wait, 10)
            tasks.cancel_scope.cancel()

    with served(an_app(scripted, tmp_path / "keys.sqlite")) as address:
        over_http(address, leaves, mode=mode)
        assert scripted.closed.wait(10)


def test_many_callers_at_once_get_each_their_own(world: World, tmp_path: Path) -> None:
    world.write("open.md", "# Drill\n\nThe drill runs every quarter.\n")
    world.write("vault.md", f"---\naccess: [sre]\n---\n# Vault\n\n{SECRET}\n")
    world.ingest()
    store = KeyStore(tmp_path / "keys.sqlite")
    key = store.create("ci", ["sre"]).secret
    assistant = world.assistant()
    counts: dict[str, list[int]] = {"keyed": [], "anonymous": []}

    def search(address: str, who: str) -> None:
        result = over_http(
            address, calling("search", query="vault code"), key if who == "keyed" else None
        )
        counts[who].append(text_of(result).count("canary"))

    with served(an_app(extractive(assistant), store.path)) as address:
        threads = [threading.Thread(target=search, args=(address, who)) for who in [*counts] * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assistant.close()
    assert counts["anonymous"] == [0] * 4
    assert len(counts["keyed"]) == 4
    assert all(counts["keyed"])


# --- standard input and output ----------------------------------------------------------------

CHATTY = """
import sys
from pathlib import Path
from assistant.assistant import open_assistant
from assistant.mcp.server import run_stdio
from assistant.settings import load_settings
from tests.assistant.services import extractive

answering = extractive(open_assistant(load_settings(index=Path(sys.argv[1]))))
answer = answering.answer

async def chatty(request, caller):
    print("this is not the protocol")
    return await answer(request, caller)

answering.answer = chatty
run_stdio(answering)
"""


@pytest.fixture(scope="module")
def stdio(case_studies_index: Path) -> StdioServerParameters:
    arguments = ["-m", "assistant.cli", "mcp", "--index", str(case_studies_index)]
    return StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)


def test_over_standard_input_and_output_it_is_the_local_caller(
    stdio: StdioServerParameters, assistant: Assistant
) -> None:
    async def used() -> tuple[CallToolResult, CallToolResult, CallToolResult]:
        async with Client(stdio) as client:
            found = await client.call_tool("search", {"query": "burn-rate alerts", "k": 1})
            hit = found.structured_content["results"][0]  # type: ignore[index]
            return (
                found,
                await client.call_tool("fetch", {"id": hit["id"]}),
                await client.call_tool("ask", {"question": QUESTION}),
            )

    found, fetched, asked = anyio.run(used)
    assert fetched.structured_content
    assert fetched.structured_content["metadata"]["access"] == ["public"]
    assert fetched.structured_content["url"] == "corpus/case-studies/slo-driven-monitoring.md"
    assert asked.structured_content
    assert asked.structured_content["answer"] == ask(assistant, QUESTION).answer
    assert found.structured_content


def test_nothing_but_the_protocol_is_on_standard_output(case_studies_index: Path) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "ask", "arguments": {"question": QUESTION}},
    }
    lines = [INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call]
    process = subprocess.Popen(
        [sys.executable, "-c", CHATTY, str(case_studies_index)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    rest, errors = process.communicate(timeout=30)
    assert [answer["id"] for answer in answers] == [1, 2]
    assert not answers[1]["result"]["isError"]
    assert rest == ""
    assert "this is not the protocol" in errors
    assert process.returncode == 0

"""The Python client over a real server: what it gives, and how it fails."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant import AsyncCasebook, Casebook, CasebookError, Filters, Turn, Unreachable
from assistant.access.caller import Forbidden, Unauthorized
from assistant.access.keys import KeyStore
from assistant.client.errors import IngestionFailed, ServiceError, error_of
from assistant.client.wire import EventReader
from assistant.events import Citations, Final, Said
from assistant.gateway.errors import TooManyRequests
from index.errors import Busy, IndexUnavailable, InvalidInput, NotFound
from tests.assistant.services import served
from tests.conftest import ROOT, serving

QUESTION = "What coordinates backup and restore actions?"


@pytest.fixture(scope="module")
def casebook(live_server: str) -> Iterator[Casebook]:
    with Casebook(live_server) as casebook:
        yield casebook


def test_a_question_is_answered_with_exact_citations(casebook: Casebook) -> None:
    answer = casebook.ask(QUESTION)
    assert answer.status == "answered"
    first = answer.citations[0]
    assert casebook.document(first.document_id).text[first.start : first.end] == first.quote
    assert answer.trace is None
    assert casebook.ask(QUESTION, explain=True).trace


def test_a_stream_ends_with_the_whole_answer(casebook: Casebook) -> None:
    events = list(casebook.stream(QUESTION))
    answer = casebook.ask(QUESTION)
    assert events == [
        Citations(tuple(answer.citations)),
        *[Said(sentence) for sentence in answer.sentences],
        Final(answer),
    ]


def test_filters_and_conversation_reach_the_service(casebook: Casebook) -> None:
    silent = casebook.ask(QUESTION, filters=Filters(kind=["ticket"]))
    assert silent.status == "abstained"
    earlier = [Turn(question="What is Velero used for?")]
    trace = casebook.ask("What was the result?", conversation=earlier, explain=True).trace
    assert trace
    assert trace.query.from_conversation


def test_searching_and_listing(casebook: Casebook) -> None:
    hits = casebook.search("burn-rate alerts", k=3).hits
    assert len(hits) == 3
    assert hits[0].document_id in {document.id for document in casebook.documents().documents}
    assert sum(source.documents for source in casebook.sources().sources) == 22


def test_an_ingestion_is_begun_and_waited_for(casebook: Casebook) -> None:
    job = casebook.ingest()
    done = casebook.wait(job)
    assert (done.job, done.state) == (job.job, "done")
    assert done.summary
    assert done.summary["unchanged"] == 22
    assert casebook.ingestion(job) == done


def test_an_ingestion_that_fails_says_why(tmp_path: Path) -> None:
    with serving(tmp_path) as address, Casebook(address) as casebook:
        job = casebook.ingest()
        with pytest.raises(IngestionFailed, match="corpus"):
            casebook.wait(job)
        with pytest.raises(IndexUnavailable, match="casebook ingest"):
            casebook.ask(QUESTION)


def test_the_async_client_does_all_of_it(casebook: Casebook, live_server: str) -> None:
    async def asked() -> None:
        async with AsyncCasebook(live_server) as own:
            answer = await own.ask(QUESTION)
            assert answer == casebook.ask(QUESTION)
            assert [event async for event in own.stream(QUESTION)][-1] == Final(answer)
            assert await own.search("restore", k=2) == casebook.search("restore", k=2)
            assert await own.documents() == casebook.documents()
            assert await own.sources() == casebook.sources()
            assert (await own.document(answer.citations[0].document_id)).text
            assert (await own.wait(await own.ingest())).state == "done"
            with pytest.raises(NotFound):
                await own.ingestion("nope")
            with pytest.raises(NotFound):
                await own.wait("nope")
            both = await asyncio.gather(own.ask(QUESTION), own.ask(QUESTION))
            assert both == [answer, answer]

    asyncio.run(asked())


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["", " \n", "x" * 4001])
def test_what_the_service_would_refuse_is_not_sent(question: str) -> None:
    with Casebook("http://127.0.0.1:9") as casebook, pytest.raises(InvalidInput, match="question"):
        casebook.ask(question)


def test_the_services_errors_are_raised_as_its_own(casebook: Casebook) -> None:
    with pytest.raises(NotFound, match="no document 'a b'"):
        casebook.document("a b")
    with pytest.raises(InvalidInput, match="blank"):
        casebook.search(" ")
    with pytest.raises(InvalidInput, match="k"):
        casebook.search("restore", k=101)
    with pytest.raises(NotFound, match="POST /ingest"):
        casebook.wait("nope")


def test_keys_are_sent_and_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "drill.md").write_text("# Drill\n\nThe drill runs every quarter.\n")
    store = KeyStore(tmp_path / ".casebook" / "keys.sqlite")
    admin = store.create("root", [], administrator=True).secret
    reader = store.create("reader", ["public"]).secret
    with serving(tmp_path) as address:
        with Casebook(address, key=admin) as casebook:
            assert casebook.wait(casebook.ingest()).state == "done"
            assert casebook.ask("How often does the drill run?").status == "answered"
        with Casebook(address, key=reader) as casebook:
            assert casebook.documents().total == 1
            with pytest.raises(Forbidden, match="no administrator"):
                casebook.ingest()
            store.revoke("reader")
            with pytest.raises(Unauthorized, match="cbk_…"):
                casebook.documents()
            with pytest.raises(Unauthorized):
                list(casebook.stream("How often does the drill run?"))
        with Casebook(address) as casebook, pytest.raises(Unauthorized, match="without a name"):
            casebook.ingest()


@pytest.mark.parametrize(
    ("status", "problem", "headers", "kind"),
    [
        (409, {"detail": "busy", "status": 409}, {}, Busy),
        (413, {"detail": "the body is over 1 MiB"}, {}, InvalidInput),
        (429, {"detail": "slow down"}, {"Retry-After": "17"}, TooManyRequests),
        (429, None, {"Retry-After": "soon"}, TooManyRequests),
        (503, {"detail": "no index", "title": "Index unavailable"}, {}, IndexUnavailable),
        (503, {"detail": "over", "title": "other"}, {}, ServiceError),
        (502, ["html"], {}, ServiceError),
        (307, {}, {}, ServiceError),
    ],
)
def test_every_status_is_an_error_of_ours(
    status: int, problem: Any, headers: dict[str, str], kind: type[CasebookError]
) -> None:
    error = error_of(problem, status, headers)
    assert type(error) is kind
    assert error.status == status or status == 413
    if headers.get("Retry-After") == "17":
        assert getattr(error, "headers") == {"Retry-After": "17"}  # noqa: B009
    if isinstance(problem, dict) and "detail" in problem:
        assert str(error) == problem["detail"]


def test_where_no_service_is_the_remedy_is_named() -> None:
    with Casebook("http://127.0.0.1:9") as casebook:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9.*casebook serve"):
            casebook.ask(QUESTION)
        with pytest.raises(Unreachable, match="casebook serve"):
            list(casebook.stream(QUESTION))

    async def asked() -> None:
        async with AsyncCasebook("http://127.0.0.1:9") as own:
            with pytest.raises(Unreachable, match="casebook serve"):
                await own.ask(QUESTION)
            with pytest.raises(Unreachable, match="casebook serve"):
                [event async for event in own.stream(QUESTION)]

    asyncio.run(asked())


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", ""])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(InvalidInput, match="is no address"):
        Casebook(address)


@pytest.mark.parametrize("key", ["", "cbk_…", "a\nb"])
def test_what_is_no_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Casebook(key=key)
    assert not key or key not in str(raised.value)


# --- services that misbehave ------------------------------------------------------------------


async def _ask_slowly(scope: Any, receive: Any, send: Any) -> None:
    """Answers by what is asked for: HTML, an endless wait, half a stream, or an error in one."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    start = {"type": "http.response.start", "status": 200}
    events = [(b"content-type", b"text/event-stream")]
    if b"html" in body:
        await send({**start, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<html>Sign in</html>"})
    elif b"slow" in body:
        await asyncio.sleep(2)
    else:
        await send({**start, "headers": events})
        more = b": ping\n\nevent: citations\ndata: []\n\nevent: news\ndata: {}\n\n"
        await send({"type": "http.response.body", "body": more, "more_body": True})
        problem = b'event: error\ndata: {"title": "Busy", "status": 409, "detail": "told"}\n\n'
        if b"error" in body:
            await send({"type": "http.response.body", "body": problem, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[str]:
    with served(_ask_slowly) as address:
        yield address


def test_what_is_not_casebook_is_told_from_it(misbehaving: str) -> None:
    with (
        Casebook(misbehaving) as casebook,
        pytest.raises(ServiceError, match="is the address right"),
    ):
        casebook.ask("html")


def test_a_service_that_does_not_answer_is_given_up(misbehaving: str) -> None:
    with (
        Casebook(misbehaving, timeout=0.2) as casebook,
        pytest.raises(Unreachable, match=r"for 0\.2 s"),
    ):
        casebook.ask("slow")


def test_half_a_stream_is_no_answer(misbehaving: str) -> None:
    with Casebook(misbehaving) as casebook:
        events = casebook.stream("half")
        assert next(events) == Citations(())
        with pytest.raises(Unreachable, match="ended the stream before the answer"):
            next(events)


def test_an_error_within_a_stream_is_raised(misbehaving: str) -> None:
    with Casebook(misbehaving) as casebook, pytest.raises(Busy, match="told"):
        list(casebook.stream("error"))


def test_a_stream_left_early_closes_its_connection(misbehaving: str) -> None:
    async def left() -> int:
        async with AsyncCasebook(misbehaving) as own:
            stream = own.stream("half")
            assert isinstance(stream, AsyncGenerator)
            async with aclosing(stream) as events:
                assert await anext(events) == Citations(())
            pool = own._http._transport._pool  # type: ignore[attr-defined]
            return sum(not connection.is_closed() for connection in pool.connections)

    assert asyncio.run(left()) == 0


def test_events_are_read_as_the_standard_has_them() -> None:
    reader = EventReader()
    lines = ["event: a", "data: one", "data:two", ": comment", "id: 7", "", "", "event: b", ""]
    assert [event for line in lines if (event := reader.feed(line))] == [("a", "one\ntwo")]


def test_fields_that_a_newer_service_adds_are_passed_over(casebook: Casebook) -> None:
    async def newer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            body = answer.model_dump() | {"mood": "good"}
            body["sentences"][0]["mood"] = "better"
            response = httpx.Response(200, json=body)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": response.content})

    answer = casebook.ask(QUESTION)
    with served(newer) as address, Casebook(address) as other:
        assert other.ask(QUESTION) == answer


# --- importing --------------------------------------------------------------------------------


def test_importing_the_client_loads_no_model_and_no_server() -> None:
    heavy = {"torch", "faiss", "fastapi", "numpy", "openvino", "starlette", "mcp", "openai"}
    script = (
        "import sys; from assistant import Casebook, AsyncCasebook; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_what_is_not_public_is_no_attribute() -> None:
    import assistant

    with pytest.raises(AttributeError, match="'Casebok'"):
        assistant.Casebok  # noqa: B018

"""Streams end what makes their events, however they end."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request

from assistant import problems
from assistant.streaming import BodyLimit, EventStream, Left, while_waited_for
from index.errors import NotFound


@pytest.mark.parametrize("leaves_after", [0, 1, 2, 3])
def test_a_client_that_leaves_closes_what_makes_the_events(leaves_after: int) -> None:
    """Also where it leaves while an event is being sent, or before the first was."""
    closed: list[str] = []

    async def numbers(name: str) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(3):
                yield f"data: {number}\n\n".encode()
        finally:
            closed.append(name)

    async def stream() -> None:
        made_from = numbers("made from")
        await anext(made_from)
        body = numbers("body")
        sent = 0
        left = anyio.Event()

        async def send(message: Any) -> None:
            nonlocal sent
            if sent == leaves_after:
                left.set()
                await anyio.sleep_forever()
            sent += 1

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        await EventStream(body, made_from)({"type": "http"}, receive, send)
        assert "made from" in closed
        assert leaves_after == 0 or "body" in closed

    anyio.run(stream)


@pytest.mark.parametrize("leaves", [True, False])
def test_work_ends_when_nobody_waits_for_it(leaves: bool) -> None:
    ended: list[str] = []

    async def work() -> str:
        try:
            await anyio.sleep(60 if leaves else 0)
            return "done"
        finally:
            ended.append("work")

    async def receive() -> Any:
        if not leaves:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def wait() -> str:
        with anyio.fail_after(5):
            return await while_waited_for(Request({"type": "http"}, receive), work())

    if leaves:
        with pytest.raises(Left):
            anyio.run(wait)
    else:
        assert anyio.run(wait) == "done"
        assert ended == ["work"]


def test_an_error_while_somebody_waits_is_raised_as_itself() -> None:
    async def work() -> str:
        raise NotFound("no such thing")

    async def wait() -> None:
        await while_waited_for(Request({"type": "http"}, anyio.sleep_forever), work())

    with pytest.raises(NotFound):
        anyio.run(wait)


def test_a_body_that_does_not_tell_its_length_is_bounded_too() -> None:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(BodyLimit, most=1000, detail="too long")

    @app.post("/")
    async def echo(body: dict[str, Any]) -> int:
        return len(body)

    def pieces(count: int) -> Iterator[bytes]:
        yield b'{"a": "'
        yield from (b"x" * 100 for _ in range(count))
        yield b'"}'

    with TestClient(app, headers={"Content-Type": "application/json"}) as client:
        assert client.post("/", content=pieces(5)).json() == 1
        refused = client.post("/", content=pieces(50))
    assert refused.status_code == 413
    assert refused.json()["detail"] == "too long"


def test_an_unexpected_error_is_a_problem_too() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/")
    def broken() -> None:
        raise ZeroDivisionError("with a secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text

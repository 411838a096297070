"""Streams: what comes in is bounded, and what goes out is made as long as somebody waits for it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from fastapi.sse import EventSourceResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from index.errors import CasebookError


class EventStream(EventSourceResponse):
    """Server-sent events that are made from something.

    When the last is sent, and when the client goes away before, `body` is closed and then `made_from`:
    Starlette leaves both to the garbage collector, and with them a model that goes on writing.
    """

    def __init__(
        self, body: AsyncGenerator[bytes, None], made_from: AsyncGenerator[Any, None]
    ) -> None:
        # Not `no-store`, of which Chromium, when it ends, says at times that it was broken off. A response to
        # POST is stored by nobody who was not told how long.
        super().__init__(body, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._body = body
        self._made_from = made_from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._made_from), aclosing(self._body):
            await super().__call__(scope, receive, send)


class WithHeaders:
    """An application whose every response has the headers that `headers` gives at that moment."""

    def __init__(self, app: ASGIApp, headers: Callable[[], Mapping[str, str]]) -> None:
        self.app = app
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to what is answered."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                given.update(self.headers())
                if "etag" not in given:  # a file that is the same for everybody
                    given.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


T = TypeVar("T")

CLIENT_CLOSED = 499
"""nginx's status for a client that went away; nobody reads it."""


class Left(Exception):
    """The client went away before it was answered."""


async def while_waited_for(request: Request, answer: Awaitable[T]) -> T:
    """An answer in one piece; the work for it ends, and `Left` is raised, when the client goes away."""
    outcome: list[T] = []
    problem: list[CasebookError] = []

    async def work() -> None:
        try:
            outcome.append(await answer)
        except CasebookError as error:  # as itself, not in a group
            problem.append(error)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()
    if problem:
        raise problem[0]
    if not outcome:
        raise Left
    return outcome[0]


class BodyLimit:
    """An application whose requests' bodies are no longer than `most` bytes, whatever they announce."""

    def __init__(self, app: ASGIApp, most: int, detail: str) -> None:
        self.app = app
        self.most = most
        self.detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what comes, or what is announced if that is too much."""
        came = 0
        size = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        if size.isdecimal() and int(size) > self.most:
            came = self.most  # and with the first byte it is too much

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.most:
                raise HTTPException(413, self.detail)
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)

"""The Model Context Protocol over HTTP: `POST /mcp`.

Each request stands for itself (no sessions), so any replica answers it, and is that of the caller whom its
Authorization header names. The SDK is loaded with the first request: a service that nobody asks over MCP
does not pay for it.
"""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from assistant.access.caller import Caller
from assistant.access.routes import Reader
from assistant.mcp.server import INTERNAL_ERROR, INVALID_REQUEST, From, mcp_server
from index.errors import CasebookError

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from assistant.answering import Answering

log = logging.getLogger("casebook.mcp")

MAX_BODY = 64 * 1024
"""Bytes of a request: a question of 4,000 characters takes 48 KiB of it if each is escaped."""

CALLER = "casebook.caller"
"""Where a request's ASGI scope holds its caller."""


class McpEndpoint:
    """`POST /mcp` of an application."""

    def __init__(self, answering: "Answering") -> None:
        self._answering = answering
        self._tasks: TaskGroup | None = None
        self._manager: StreamableHTTPSessionManager | None = None
        self._loading = anyio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the application's lifespan: requests are answered inside it."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = self._manager = None
                tasks.cancel_scope.cancel()

    def add_to(self, app: FastAPI) -> None:
        """Add the route. It declares its caller as any other does, and hands on what that lets through."""
        router = APIRouter(route_class=_McpRoute)

        @router.post("/mcp", include_in_schema=False)
        async def mcp(request: Request, caller: Reader) -> Response:
            manager = await self._loaded()
            return _HandedOn(manager, caller)

        app.include_router(router)

    async def _loaded(self) -> "StreamableHTTPSessionManager":
        if self._tasks is None:
            raise RuntimeError("McpEndpoint.running() is entered in the application's lifespan")
        async with self._loading:
            if self._manager is None:
                self._manager = await self._tasks.start(self._serve)
            return self._manager

    async def _serve(self, *, task_status: TaskStatus["StreamableHTTPSessionManager"]) -> None:
        manager = await anyio.to_thread.run_sync(_manager_of, self._answering)
        async with manager.run():
            task_status.started(manager)
            await anyio.sleep_forever()


class _McpRoute(APIRoute):
    """A route whose errors are in the shape of JSON-RPC, of which clients show what they say."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except CasebookError as error:
                log.warning("POST /mcp: %s", error)
                return told(error)

        return handled


def told(error: CasebookError) -> JSONResponse:
    """An error as a client of this protocol reads it."""
    code = INVALID_REQUEST if error.status < 500 else INTERNAL_ERROR
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": str(error)}}
    return JSONResponse(body, error.status, getattr(error, "headers", None))


class _HandedOn(Response):
    """A response that the SDK gives, to a request whose caller is known."""

    def __init__(self, manager: "StreamableHTTPSessionManager", caller: Caller) -> None:
        super().__init__()
        self._manager = manager
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request({**scope, CALLER: self._caller}, receive, send)


def _manager_of(answering: "Answering") -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    def sent_by(request: Any) -> From:
        return request.scope[CALLER], str(request.base_url)

    # Answers that take long come as events, so that a client who goes away ends the work.
    return StreamableHTTPSessionManager(
        mcp_server(answering, sent_by),
        stateless=True,
        json_response=False,
        max_request_body_size=MAX_BODY,
    )

"""Real servers in a thread, over the real assistant or over answers that a test has written."""

import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import uvicorn
from fastapi import FastAPI, Request, Response

from assistant import problems
from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller, anonymous
from assistant.access.keys import KeyStore
from assistant.access.routes import check_routes
from assistant.answering import Answering
from assistant.assistant import Assistant
from assistant.events import AnswerEvent, Final
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.hosts import KnownHosts
from assistant.mcp.http import McpEndpoint, told
from assistant.openai.routes import add_openai_routes
from assistant.schema import Answer, AskRequest


def extractive(assistant: Assistant) -> Answering:
    """Answering where no language model is configured."""
    return Answering(assistant, Gateway(GatewaySettings()))


@dataclass
class Scripted:
    """Answering with events that a test has written; None among them stands for a model that has stalled.

    `asked` are the questions that came, `closed` is set when a stream has ended, however it did.
    """

    events: Sequence[AnswerEvent | Exception | None]
    asked: list[AskRequest] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: AskRequest, caller: Caller) -> Answer:
        async for event in self.stream(request, caller):
            if isinstance(event, Final):
                return event.answer
        raise AssertionError

    async def stream(
        self, request: AskRequest, caller: Caller
    ) -> AsyncGenerator[AnswerEvent, None]:
        self.asked.append(request)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                if event is None:
                    self.stalled.set()
                    await anyio.sleep_forever()
                else:
                    yield event
        finally:
            self.closed.set()


def an_app(answering: Any, keys: Path) -> FastAPI:
    """The routes for other programs, put together as the service does it."""
    mcp = McpEndpoint(answering)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        check_routes(app)
        async with mcp.running():
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.authenticator = Authenticator(KeyStore(keys), None, anonymous({"public"}))
    problems.install(app)
    app.add_middleware(KnownHosts, told={"/mcp": told})

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        return cast(Response, await call_next(request))

    add_openai_routes(app, answering)
    mcp.add_to(app)
    return app


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of a real server of this application, in a thread of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()

"""The HTTP service: thin routes that parse, call one function and return a model."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import format_sse_event
from fastapi.staticfiles import StaticFiles

from assistant import problems
from assistant.access.authenticate import Authenticator
from assistant.access.routes import Reader, check_routes, describe_access
from assistant.admission import Admission
from assistant.answering import Answering
from assistant.described import describe_errors
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.health import add_health
from assistant.hosts import KnownHosts
from assistant.job_routes import add_ingestion
from assistant.jobs import Jobs
from assistant.mcp.http import McpEndpoint, told
from assistant.openai.routes import add_openai_routes
from assistant.responses import ERRORS, LIMITED, MISSING
from assistant.schema import (
    NOT_BLANK,
    Answer,
    AskRequest,
    CallerInfo,
    DocumentDetail,
    DocumentList,
    SearchResult,
    SourceList,
    Suggestions,
)
from assistant.sources import Sources
from assistant.status import add_status
from assistant.streaming import (
    CLIENT_CLOSED,
    BodyLimit,
    EventStream,
    Left,
    WithHeaders,
    while_waited_for,
)
from assistant.usage import add_usage

log = logging.getLogger("casebook.api")

WEB = Path(__file__).parent / "web"

OURS_ALONE: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry would tell of queries and of the words of errors: `assistant.telemetry` does not."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page loads its own files and asks its own server, and nothing else."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}

MAX_HITS = 100

MAX_BODY = 1024 * 1024
"""Bytes; twenty turns of ordinary answers take a tenth of it."""

TOO_LARGE = "the body is over 1 MiB: a conversation has at most 20 turns, send the last ones"


def create_app(
    answering: Answering,
    jobs: Jobs,
    sources: Sources,
    authenticator: Authenticator,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The application around one assistant and one gateway; `hosts` are names for it besides this machine's
    own. It refuses to start with a route that does not declare who
    may call it.
    """

    assistant = answering.assistant
    mcp = McpEndpoint(answering)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        check_routes(app)
        async with mcp.running():
            yield
        await answering.gateway.close()
        assistant.close()

    app = FastAPI(
        title="Casebook",
        description="Short answers made of cited passages, or an honest word that there is none.",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=OURS_ALONE,
    )
    app.state.authenticator = authenticator
    problems.install(app)
    app.add_middleware(KnownHosts, hosts=hosts, told={"/mcp": told})
    _guard(app, answering.admission)
    _add_answers(app, answering)
    _add_search(app, answering)
    add_openai_routes(app, answering)
    mcp.add_to(app)
    _add_documents(app, answering, sources, authenticator)
    add_ingestion(app, jobs, answering.admission)
    add_health(app, answering)
    add_status(app, answering, sources, authenticator)
    add_usage(app, answering.gateway.ledger, WEB)
    _add_page(app)
    describe_access(app)
    describe_errors(app)
    return app


def _guard(app: FastAPI, admission: Admission) -> None:
    def headers() -> dict[str, str]:
        return {**HEADERS, "Connection": "close"} if admission.draining else HEADERS

    app.add_middleware(BodyLimit, most=MAX_BODY, detail=TOO_LARGE)
    app.add_middleware(WithHeaders, headers=headers)

    @app.exception_handler(Left)
    def left(request: Request, error: Left) -> Response:
        return Response(status_code=CLIENT_CLOSED)


def _add_answers(app: FastAPI, answering: Answering) -> None:
    @app.post("/ask", responses=ERRORS | LIMITED, response_model=Answer)
    async def ask(request: Request, question: AskRequest, caller: Reader) -> Any:
        """Answer a question from the sources, or say that they hold no answer.

        With `Accept: text/event-stream` the answer comes as events: `citations`, one `sentence`
        after another, and `answer`, which is the whole answer as it would be returned here. Where a
        language model writes, `citations` come again whenever there are more of them.
        """
        if "text/event-stream" not in request.headers.get("accept", ""):
            return await while_waited_for(request, answering.answer(question, caller))
        events = answering.stream(question, caller)
        # What can fail does so before the first event, and is still told by a status.
        first = await while_waited_for(request, anext(events))
        return EventStream(_sent(first, events), events)


async def _sent(
    first: AnswerEvent, rest: AsyncGenerator[AnswerEvent, None]
) -> AsyncGenerator[bytes, None]:
    yield _event(first)
    try:
        async for event in rest:
            yield _event(event)
    except Exception:
        # The border of a response that has begun: its status is sent, so the client is told this way.
        log.exception("an answer broke off")
        told = problems.Problem(title="Internal error", status=500, detail=problems.UNEXPECTED)
        yield format_sse_event(event="error", data_str=told.model_dump_json(exclude_none=True))


def _event(event: AnswerEvent) -> bytes:
    match event:
        case Citations(citations):
            data = json.dumps([citation.model_dump() for citation in citations])
            return format_sse_event(event="citations", data_str=data)
        case Said(sentence):
            return format_sse_event(event="sentence", data_str=sentence.model_dump_json())
        case Final(answer):
            return format_sse_event(event="answer", data_str=answer.model_dump_json())


def _add_search(app: FastAPI, answering: Answering) -> None:
    @app.get("/search", responses=ERRORS)
    async def search(
        request: Request,
        caller: Reader,
        q: Annotated[
            str,
            Query(description="what to look for", max_length=4000, json_schema_extra=NOT_BLANK),
        ],
        k: Annotated[int, Query(ge=1, le=MAX_HITS, description="how many passages")] = 10,
    ) -> SearchResult:
        """The passages that fit a query, best first.

        Where many search at a time they are read less closely for their order, and `notice` says so.
        """
        return await while_waited_for(request, answering.search(q, k, caller))

    @app.get("/suggestions", responses=ERRORS)
    async def suggestions(request: Request, caller: Reader) -> Suggestions:
        """Questions to begin with."""
        look = answering.assistant.suggestions
        return await while_waited_for(request, answering.looked_up(look, caller))


def _add_documents(
    app: FastAPI, answering: Answering, sources: Sources, authenticator: Authenticator
) -> None:
    assistant = answering.assistant

    @app.get("/documents", responses=ERRORS)
    async def documents(request: Request, caller: Reader) -> DocumentList:
        """The documents there are, without their texts."""
        return await while_waited_for(request, answering.looked_up(assistant.documents, caller))

    @app.get("/documents/{document_id}", responses=ERRORS | MISSING)
    async def document(request: Request, document_id: str, caller: Reader) -> DocumentDetail:
        """One document, with the text that citations point into."""
        look = partial(assistant.document, document_id)
        return await while_waited_for(request, answering.looked_up(look, caller))

    @app.get("/sources", responses=ERRORS)
    def list_sources(caller: Reader) -> SourceList:
        """Where the documents come from, and how fresh each source is."""
        return sources.listed(caller, unclaimed=authenticator.unclaimed)

    @app.get("/me")
    def me(caller: Reader) -> CallerInfo:
        """Who the service takes you for."""
        return CallerInfo(
            name=caller.name,
            kind=caller.kind,
            administrator=caller.administrator or authenticator.unclaimed,
            labels=sorted(caller.labels),
        )


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=WEB), name="static")

"""The HTTP service: thin routes that parse, call one function and return a model."""

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from fastapi.staticfiles import StaticFiles

from assistant import problems
from assistant.access.authenticate import Authenticator
from assistant.access.routes import ANYONE, Administrator, Reader, check_routes, describe_access
from assistant.answering import Answering
from assistant.assistant import Assistant
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.jobs import Job, Jobs
from assistant.mcp.http import McpEndpoint
from assistant.openai.routes import add_openai_routes
from assistant.schema import (
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
from assistant.streaming import CLIENT_CLOSED, BodyLimit, EventStream, Left, while_waited_for
from assistant.usage import add_usage

log = logging.getLogger("casebook.api")

WEB = Path(__file__).parent / "web"

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
}

MAX_HITS = 100

MAX_BODY = 1024 * 1024
"""Bytes; twenty turns of ordinary answers take a tenth of it."""

TOO_LARGE = "the body is over 1 MiB: a conversation has at most 20 turns, send the last ones"

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": problems.Problem, "description": "Not signed in, or not with what holds"},
    403: {"model": problems.Problem, "description": "Not for this caller"},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    401: REFUSED[401],
    422: {"model": problems.Problem, "description": "The input can't be used"},
    503: {"model": problems.Problem, "description": "No index to answer from"},
}
LIMITED: dict[int | str, dict[str, Any]] = {
    429: {"model": problems.Problem, "description": "More than this caller may ask of a model"}
}
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "Not there"}
}


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
    mcp = McpEndpoint(answering, hosts)

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
    )
    app.state.authenticator = authenticator
    problems.install(app)
    _guard(app)
    _add_answers(app, answering)
    _add_search(app, assistant)
    add_openai_routes(app, answering)
    mcp.add_to(app)
    _add_documents(app, assistant, sources, authenticator)
    _add_ingestion(app, jobs)
    _add_health(app, assistant)
    add_usage(app, answering.gateway.ledger, WEB)
    _add_page(app)
    describe_access(app)
    return app


def _guard(app: FastAPI) -> None:
    app.add_middleware(BodyLimit, most=MAX_BODY, detail=TOO_LARGE)

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        size = request.headers.get("content-length", "0")
        response: Response
        if size.isdecimal() and int(size) > MAX_BODY:
            response = problems.problem(413, "Too large", TOO_LARGE)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response


def _add_answers(app: FastAPI, answering: Answering) -> None:
    @app.post("/ask", responses=ERRORS | LIMITED, response_model=Answer)
    async def ask(request: Request, question: AskRequest, caller: Reader) -> Any:
        """Answer a question from the sources, or say that they hold no answer.

        With `Accept: text/event-stream` the answer comes as events: `citations`, one `sentence`
        after another, and `answer`, which is the whole answer as it would be returned here. Where a
        language model writes, `citations` come again whenever there are more of them.
        """
        if "text/event-stream" not in request.headers.get("accept", ""):
            try:
                return await while_waited_for(request, answering.answer(question, caller))
            except Left:
                return Response(status_code=CLIENT_CLOSED)
        events = answering.stream(question, caller)
        # What can fail does so before the first event, and is still told by a status.
        first = await anext(events)
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


def _add_search(app: FastAPI, assistant: Assistant) -> None:
    @app.get("/search", responses=ERRORS)
    def search(
        caller: Reader,
        q: Annotated[str, Query(description="what to look for", max_length=4000)],
        k: Annotated[int, Query(ge=1, le=MAX_HITS, description="how many passages")] = 10,
    ) -> SearchResult:
        """The passages that fit a query, best first."""
        return assistant.search(q, k, caller)

    @app.get("/suggestions", responses=ERRORS)
    def suggestions(caller: Reader) -> Suggestions:
        """Questions to begin with."""
        return assistant.suggestions(caller)


def _add_documents(
    app: FastAPI, assistant: Assistant, sources: Sources, authenticator: Authenticator
) -> None:
    @app.get("/documents", responses=ERRORS)
    def documents(caller: Reader) -> DocumentList:
        """The documents there are, without their texts."""
        return assistant.documents(caller)

    @app.get("/documents/{document_id}", responses=ERRORS | MISSING)
    def document(document_id: str, caller: Reader) -> DocumentDetail:
        """One document, with the text that citations point into."""
        return assistant.document(document_id, caller)

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


def _add_ingestion(app: FastAPI, jobs: Jobs) -> None:
    conflict: dict[int | str, dict[str, Any]] = REFUSED | {
        409: {"model": problems.Problem, "description": "Another ingestion is running"}
    }

    @app.post("/ingest", status_code=202, responses=conflict)
    def ingest(response: Response, caller: Administrator) -> dict[str, Any]:
        """Bring the index up to date with the configured corpus; returns the job to ask after."""
        job = jobs.start()
        response.headers["Location"] = f"/ingest/{job.id}"
        return job.view()

    @app.get("/ingest/{job_id}", responses=REFUSED | MISSING)
    def ingest_job(request: Request, job_id: str, caller: Administrator) -> Any:
        """How far an ingestion is; as `progress` events with `Accept: text/event-stream`."""
        job = jobs.get(job_id)
        if "text/event-stream" in request.headers.get("accept", ""):
            return EventSourceResponse(_job_events(job))
        return job.view()


def _job_events(job: Job) -> Iterator[bytes]:
    while True:
        with job.changed:
            view = job.view()
        event = "progress" if view["state"] == "running" else view["state"]
        yield format_sse_event(event=event, data_str=json.dumps(view))
        if event != "progress":
            return
        with job.changed:
            if job.view() == view:
                job.changed.wait(timeout=10)


def _add_health(app: FastAPI, assistant: Assistant) -> None:
    @app.get("/health/live", dependencies=[ANYONE])
    def live() -> dict[str, str]:
        """The process runs; nothing else is asked."""
        return {"status": "live"}

    @app.get("/health/ready", responses=ERRORS, dependencies=[ANYONE])
    def ready() -> dict[str, str]:
        """Questions can be answered: there is an index, and the models are loaded."""
        assistant.ready()
        return {"status": "ready"}


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=WEB), name="static")

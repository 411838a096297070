"""OpenAI's chat completions over the same assistant: `POST /v1/chat/completions` and `GET /v1/models`."""

import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from assistant.access.caller import Caller
from assistant.access.routes import Reader
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.openai.errors import OpenAIRoute, openai_error
from assistant.openai.schema import (
    AssistantMessage,
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    Choice,
    ChunkChoice,
    CompletionUsage,
    Delta,
    ErrorBody,
    ModelInfo,
    ModelList,
    PromptTokensDetails,
)
from assistant.openai.text import AnswerText
from assistant.problems import UNEXPECTED
from assistant.schema import Answer, AskRequest
from assistant.streaming import CLIENT_CLOSED, EventStream, Left, while_waited_for
from index.errors import CasebookError, NotFound

if TYPE_CHECKING:
    from assistant.answering import Answering

log = logging.getLogger("casebook.openai")

MODEL = "casebook"
"""Answers as the service is configured: which language model writes them is not the client's choice."""

MADE = 1764028800
"""When the model was made, which OpenAI's shape asks for: 2025-11-25."""

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request can't be answered as it is"},
    "5XX": {"model": ErrorBody, "description": "The service can't answer now"},
}


class UnknownModel(NotFound):
    """A model was asked for that is not here."""

    def __init__(self, model: str) -> None:
        super().__init__(f"no model {model!r}: ask {MODEL!r}, as GET /v1/models says")


def add_openai_routes(app: FastAPI, answering: "Answering") -> None:
    """Add OpenAI's routes to an application."""
    router = APIRouter(prefix="/v1", route_class=OpenAIRoute)

    @router.post("/chat/completions", responses=ERRORS, response_model=ChatCompletion)
    async def chat(request: Request, asked: ChatRequest, caller: Reader) -> Any:
        """Answer the last message of the user from the sources, or say that they hold no answer.

        Marks like [1] in the text are what its `url_citation` annotations stand at. A stream brings a
        sentence in each chunk and the annotations in the one that ends the message.
        """
        if asked.model != MODEL:
            raise UnknownModel(asked.model)
        question = asked.question()
        completion = _Completion(AnswerText(str(request.base_url)))
        if not asked.stream:
            return await _whole(request, answering, question, caller, completion)
        events = answering.stream(question, caller)
        # What goes wrong goes wrong before the first event: with it comes the right status.
        first = await while_waited_for(request, anext(events))
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return EventStream(_told(first, events, completion, usage), events)

    @router.get("/models", responses=ERRORS)
    async def models(caller: Reader) -> ModelList:
        """The models there are: one, which answers as the service is configured."""
        return ModelList(data=[ModelInfo(id=MODEL, created=MADE)])

    @router.get("/models/{model}", responses=ERRORS)
    async def model(model: str, caller: Reader) -> ModelInfo:
        """One model."""
        if model != MODEL:
            raise UnknownModel(model)
        return ModelInfo(id=MODEL, created=MADE)

    app.include_router(router)


# --- answers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Completion:
    """An answer on its way: its id, when it was asked for, and its text so far."""

    text: AnswerText
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answer: Answer) -> ChatCompletion:
        content = "".join(self.text.rest(answer))
        message = AssistantMessage(content=content, annotations=self.text.annotations)
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=MODEL,
            choices=[Choice(message=message)],
            usage=_usage(answer),
        )

    def chunk(self, delta: Delta, *, ended: bool = False) -> bytes:
        choice = ChunkChoice(delta=delta, finish_reason="stop" if ended else None)
        return self._sent([choice], None)

    def usage(self, answer: Answer) -> bytes:
        return self._sent([], _usage(answer))

    def _sent(self, choices: list[ChunkChoice], usage: CompletionUsage | None) -> bytes:
        chunk = ChatCompletionChunk(
            id=self.id, created=self.created, model=MODEL, choices=choices, usage=usage
        )
        return _event(chunk)


async def _whole(
    request: Request,
    answering: "Answering",
    question: AskRequest,
    caller: Caller,
    completion: _Completion,
) -> ChatCompletion | Response:
    try:
        answer = await while_waited_for(request, answering.answer(question, caller))
    except Left:
        return Response(status_code=CLIENT_CLOSED)
    return completion.whole(answer)


async def _told(
    first: AnswerEvent,
    events: AsyncIterator[AnswerEvent],
    completion: _Completion,
    include_usage: bool,
) -> AsyncGenerator[bytes, None]:
    """The chunks of a stream."""
    yield completion.chunk(Delta(role="assistant", content=""))
    event: AnswerEvent | None = first
    try:
        while event is not None:
            for piece in _pieces(event, completion.text):
                yield completion.chunk(Delta(content=piece))
            if isinstance(event, Final):
                annotations = completion.text.annotations
                yield completion.chunk(Delta(annotations=annotations), ended=True)
                if include_usage:
                    yield completion.usage(event.answer)
            event = await anext(events, None)
    except CasebookError as error:
        log.warning("a stream ended early: %s", error)
        yield _event(openai_error(error.status, str(error)))
        return
    except Exception:
        # The border of a response that has begun: its status is sent, so the client is told this way.
        log.exception("a stream broke off")
        yield _event(openai_error(500, UNEXPECTED))
        return
    yield format_sse_event(data_str="[DONE]")


def _pieces(event: AnswerEvent, text: AnswerText) -> list[str]:
    match event:
        case Citations(citations):
            text.knows(citations)
            return []
        case Said(sentence):
            return [text.sentence(sentence)]
        case Final(answer):
            return list(text.rest(answer))


def _usage(answer: Answer) -> CompletionUsage:
    if answer.usage is None:
        return CompletionUsage()
    return CompletionUsage(
        prompt_tokens=answer.usage.input_tokens,
        completion_tokens=answer.usage.output_tokens,
        total_tokens=answer.usage.input_tokens + answer.usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=answer.usage.cached_tokens),
    )


def _event(model: BaseModel) -> bytes:
    return format_sse_event(data_str=model.model_dump_json(exclude_none=True))

"""Providers through pydantic-ai's model layer: OpenAI's API, which most servers speak, and Anthropic's.

Importing this takes a second or two: only a service with a model does.
"""

import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import anyio
import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from assistant.gateway.credentials import Credentials, NoKey
from assistant.gateway.failure import Failure
from assistant.gateway.faults import failure_of
from assistant.gateway.provider import HANG_UP_SECONDS, Ended, Piece, Thinking
from assistant.gateway.schema import Delta, Message, Usage
from assistant.gateway.settings import ModelEntry, Timeouts
from assistant.gateway.wire import base_url, client_for, hush, watching

log = logging.getLogger("casebook.gateway")

OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com"

NO_KEY = "none"
"""Sent to servers that want no key: the libraries insist on one."""

LIMIT_BY_ITS_NEW_NAME = (".openai.com", ".azure.com")
"""Whose newer models refuse `max_tokens`; other servers may not know `max_completion_tokens`."""

CHARACTERS_PER_TOKEN = 8
CHARACTERS_BESIDE = 256
"""More text than so many tokens can hold is of a server that ignores the limit it was given."""


class LibraryProvider:
    """One model behind an HTTP API. Nothing is tried twice in here."""

    def __init__(self, entry: ModelEntry, timeouts: Timeouts) -> None:
        hush()
        self._entry = entry
        self._credentials = Credentials(entry)
        self._client = client_for(entry, timeouts)
        self._model: tuple[str, Model] | None = None
        # Made here for the parts of the libraries that load late; the first call should not wait.
        with suppress(Failure):
            self._model_with_key()

    @property
    def entry(self) -> ModelEntry:
        """The model's settings."""
        return self._entry

    async def stream(
        self, messages: Sequence[Message], max_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """Ask once: see `Provider`."""
        model = self._model_with_key()
        settings = ModelSettings(max_tokens=max_tokens, temperature=0.0)
        asked = self._streamed if self._entry.stream else self._whole
        room = CHARACTERS_BESIDE + CHARACTERS_PER_TOKEN * max_tokens
        async with aclosing(asked(model, _history(messages), settings)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    piece = Delta(_encodable(piece.text))
                    if len(piece.text) > room:
                        yield Delta(piece.text[:room])
                        yield Ended(None, truncated=True)
                        return
                    room -= len(piece.text)
                yield piece

    async def close(self) -> None:
        """Hang up for good."""
        await self._client.aclose()

    async def _streamed(
        self, model: Model, history: list[ModelMessage], settings: ModelSettings
    ) -> AsyncGenerator[Piece, None]:
        opened = model_request_stream(model, history, model_settings=settings, instrument=False)
        with _as_failures(), watching(self._entry) as watch:
            response = await opened.__aenter__()
        try:
            with _as_failures(response):
                async for event in response:
                    if (piece := _piece(event)) is not None:
                        yield piece
            yield _ended(response.get(), watch.whole)
        finally:
            with anyio.move_on_after(HANG_UP_SECONDS, shield=True):
                await _hang_up(response)
                await opened.__aexit__(None, None, None)

    async def _whole(
        self, model: Model, history: list[ModelMessage], settings: ModelSettings
    ) -> AsyncGenerator[Piece, None]:
        with _as_failures(), watching(self._entry):
            response = await model_request(
                model, history, model_settings=settings, instrument=False
            )
        ended = _ended(response, whole=True)
        if response.text:
            yield Delta(response.text)
        yield ended

    def _model_with_key(self) -> Model:
        try:
            key = self._credentials.key() or NO_KEY
        except NoKey as error:
            log.error("%s", error)
            raise Failure("unauthorized", "no key") from None
        if self._model is None or self._model[0] != key:
            self._model = key, _model(self._entry, key, self._client)
        return self._model[1]


class _ChatModel(OpenAIChatModel):
    """Tells how many tokens were charged for a response without an answer, which the library drops."""

    def _validate_completion(self, response: ChatCompletion) -> Any:
        if not response.choices:
            usage = _usage(self._map_usage(response))
            raise Failure("invalid_response", "no choices", usage=usage)
        return super()._validate_completion(response)


def _model(entry: ModelEntry, key: str, client: httpx2.AsyncClient) -> Model:
    if entry.provider == "anthropic":
        address = base_url(entry, ANTHROPIC)
        claude = AsyncAnthropic(
            api_key=key, base_url=address, http_client=client, max_retries=0, open_telemetry=False
        )
        return AnthropicModel(entry.model, provider=AnthropicProvider(anthropic_client=claude))
    address = base_url(entry, OPENAI)
    openai = AsyncOpenAI(api_key=key, base_url=address, http_client=client, max_retries=0)
    # Read from the environment, and nothing to tell to other servers.
    openai.organization = openai.project = None
    host = "." + (httpx2.URL(address).host or "")
    profile = OpenAIModelProfile(
        openai_chat_supports_max_completion_tokens=host.endswith(LIMIT_BY_ITS_NEW_NAME)
    )
    return _ChatModel(entry.model, provider=OpenAIProvider(openai_client=openai), profile=profile)


def _history(messages: Sequence[Message]) -> list[ModelMessage]:
    history: list[ModelMessage] = []
    for message in messages:
        if message.role == "assistant":
            history.append(ModelResponse(parts=[TextPart(message.text)]))
            continue
        part = SystemPromptPart if message.role == "system" else UserPromptPart
        history.append(ModelRequest(parts=[part(message.text)]))
    return history


def _piece(event: ModelResponseStreamEvent) -> Delta | Thinking | None:
    match event:
        case PartStartEvent(part=TextPart(content=text)) if text:
            return Delta(text)
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if text:
            return Delta(text)
        case PartStartEvent(part=ThinkingPart(content=text)) if text:
            return Thinking()
        case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=text)) if text:
            return Thinking()
    return None


def _encodable(text: str) -> str:
    """A text without halves of surrogate pairs: JSON can hold one, UTF-8 and tokenizers can't."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _ended(response: ModelResponse, whole: bool) -> Ended:
    """The end of a response; raises `Failure` where it is none, or nothing was said."""
    usage = _usage(response.usage)
    reason = (response.provider_details or {}).get("finish_reason")
    if not whole or reason is None:
        raise Failure("broken", "ended early", usage=usage)
    if response.finish_reason == "content_filter":
        raise Failure("bad_request", "a content filter refused it", usage=usage)
    if not response.text or response.finish_reason not in ("stop", "length"):
        raise Failure("invalid_response", "no answer", usage=usage)
    return Ended(usage, truncated=response.finish_reason == "length")


def _usage(usage: RequestUsage) -> Usage | None:
    counts = usage.input_tokens, usage.output_tokens, usage.cache_read_tokens
    if not any(counts) or min(counts) < 0:
        return None
    return Usage(counts[0], counts[1], min(counts[2], counts[0]))


@contextmanager
def _as_failures(response: StreamedResponse | None = None) -> Iterator[None]:
    """Turn what the libraries raise into failures, with the tokens that were charged so far."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001
        # The libraries read what a stranger sent: whatever that makes them raise is a bad response.
        usage = None if response is None else _usage(response.usage)
        raise failure_of(error, usage) from None


async def _hang_up(response: StreamedResponse) -> None:
    """Close the connection, and run the libraries' generators to their end: one left over would be
    closed by the event loop, in a task of its own.
    """
    with suppress(Failure), _as_failures():
        await response.cancel()
        async for _ in response:
            pass

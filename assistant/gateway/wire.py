"""The HTTP client under a provider: short of patience, bounded in what it takes in, and discreet."""

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import anyio
import httpx2

from assistant.gateway.settings import ModelEntry, Timeouts

BYTES_PER_TOKEN = 1024
"""Of a response, at most: OpenAI's events take 250 to 400 bytes for a token."""
BYTES_BESIDE = 64 * 1024
"""For all that is not tokens: heads, comments, errors."""

IDLE_SECONDS = 30.0
"""How long an idle connection is kept for the next call."""

DONE = (b"data: [DONE]", b"data:[DONE]")
STOP = (b"event: message_stop", b"event:message_stop")
"""The lines by which OpenAI's and Anthropic's streams say that nothing was cut off."""
LONGEST = len(STOP[0]) + 1

DRAIN_SECONDS = 0.1
"""After `DONE`, for the end of the response: a connection that has come to it can be used again."""

CHATTY = ("openai", "anthropic", "httpx2", "httpcore2")
"""Libraries whose debug logs show prompts and addresses."""


class TooLong(httpx2.ReadError):
    """A response longer than an answer can be."""


class Watch:
    """What was seen of one response: how much of it, and whether it said that it was whole."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.over = False
        self._stopped = False
        self._bytes = 0
        self._line = b""

    @property
    def whole(self) -> bool:
        """Whether the stream said that it was at its end."""
        return self.over or self._stopped or self._line.rstrip() in DONE + STOP

    def see(self, chunk: bytes) -> bytes:
        """Take note of the next bytes, and give those before `DONE`; raises `TooLong`.

        `DONE` itself is kept from OpenAI's library: it would stop reading there and then, and leave
        its half-read generators to the event loop, which closes them in tasks of their own.
        """
        self._bytes += len(chunk)
        if self._bytes > self.most:
            raise TooLong("the response is longer than an answer can be")
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            line = self._line_with(chunk[start:end])
            if line.rstrip() in DONE:
                self.over = True
                return chunk[:start]
            self._stopped = self._stopped or line.rstrip() in STOP
            self._line, start = b"", end + 1
        self._line = self._line_with(chunk[start : start + LONGEST])
        return chunk

    def _line_with(self, more: bytes) -> bytes:
        return (self._line + more[:LONGEST])[:LONGEST]


class _Watched(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := await self._next(chunks)) is not None:
            if not self._watch.over:
                yield self._watch.see(chunk)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        with anyio.move_on_after(DRAIN_SECONDS if self._watch.over else None):
            return await anext(chunks, None)
        return None

    async def aclose(self) -> None:
        await self._stream.aclose()


_watching: ContextVar[Watch] = ContextVar("watching")


@contextmanager
def watching(entry: ModelEntry) -> Iterator[Watch]:
    """Watch the response to the request that is sent inside."""
    watch = Watch(BYTES_BESIDE + BYTES_PER_TOKEN * entry.max_output)
    token = _watching.set(watch)
    try:
        yield watch
    finally:
        _watching.reset(token)


async def _watch(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        # Not asked for, and a few bytes of it can stand for any number.
        raise httpx2.RemoteProtocolError("the response is compressed")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Watched(response.stream, _watching.get())


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates to believe, which take a while to load: once for all models."""
    return httpx2.create_ssl_context()


def client_for(entry: ModelEntry, timeouts: Timeouts) -> httpx2.AsyncClient:
    """A client that goes where the settings say and nowhere else: redirects are not followed.

    Reading has no limit of its own here: whoever reads sets it, from token to token.
    """
    address = entry.address
    auth = None
    if address is not None and (address.username or address.password):
        auth = httpx2.BasicAuth(unquote(address.username or ""), unquote(address.password or ""))
    return httpx2.AsyncClient(
        auth=auth,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        verify=_trusted(),
        timeout=httpx2.Timeout(timeouts.first_token, connect=timeouts.connect, read=None),
        limits=httpx2.Limits(
            max_connections=None, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS
        ),
        event_hooks={"response": [_watch]},
    )


def base_url(entry: ModelEntry, default: str) -> str:
    """Where the model is, without the name and password that the address may hold."""
    if entry.address is None:
        return default
    parts = urlsplit(str(entry.address))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def hush() -> None:
    """Keep prompts and addresses out of the logs, whatever the root logger lets through."""
    for name in CHATTY:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))

"""A model's server over real sockets that does what it is told, request by request."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """What came: the head in lower case, and the body."""

    head: str
    body: dict[str, Any]


class PlainServer:
    """Plays one script a request, the last one again and again. Entered inside the test's event loop."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[Request] = []
        self.accepted = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """The connections open now."""
        return len(self._serving)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer), name="PlainServer")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                length = int(head.partition("content-length: ")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.requests.append(Request(head, body))
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                playing = asyncio.create_task(script(writer), name="play")
                hung_up = asyncio.create_task(_closed(reader), name="hung_up")
                await asyncio.wait([playing, hung_up], return_when=asyncio.FIRST_COMPLETED)
                playing.cancel()
                hung_up.cancel()
                await asyncio.gather(playing, hung_up, return_exceptions=True)
                if reader.at_eof() or writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _closed(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.002)


def status(code: int, *headers: str, body: bytes = b"{}") -> Script:
    """An answer of one piece."""

    async def play(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers]
        if not any(header.lower().startswith("content-type") for header in headers):
            lines.append("Content-Type: application/json")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return play


def whole(text: str, finish: str = "stop", usage: dict[str, Any] | None = None) -> Script:
    """A whole chat completion, not streamed."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text},
    }
    shape = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return status(200, body=json.dumps({**shape, "choices": [choice], "usage": usage}).encode())


def chunk(text: str | None = None, finish: str | None = None, **other: Any) -> bytes:
    """One event of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    shape = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps({**shape, "choices": choices, **other}).encode()


def end(usage: dict[str, Any] | None = None, finish: str = "stop") -> list[bytes]:
    """The events that end a streamed chat completion."""
    counts = [] if usage is None else [chunk(choices=[], usage=usage)]
    return [chunk(finish=finish), *counts, b"data: [DONE]\n\n"]


def events(*data: bytes, stall: float = 0.0, hang_up: bool = True) -> Script:
    """A stream of events; then, after a while, the end of the connection."""

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for each in data:
            writer.write(b"%x\r\n%b\r\n" % (len(each), each))
            await writer.drain()
        if stall:
            await asyncio.sleep(stall)
        writer.write(b"0\r\n\r\n")
        if hang_up:
            writer.close()

    return play


def streamed(*texts: str, usage: dict[str, Any] | None = None) -> Script:
    """A streamed chat completion as it should be."""
    return events(*map(chunk, texts), *end(usage))


async def silence(writer: asyncio.StreamWriter) -> None:
    """Nothing at all."""
    await asyncio.sleep(60)

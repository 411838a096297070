"""One HTTP exchange at a time over connections that are kept: little enough that the generator takes no
more of the machine than it must.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field

SENTENCE = b"event: sentence"
ANSWER = b"event: answer"


@dataclass(frozen=True)
class Request:
    """What is sent. `leaves_after`: seconds after which the client goes away; None: it waits."""

    kind: str
    raw: bytes
    leaves_after: float | None = None


@dataclass(frozen=True)
class Reply:
    """What came: `spoke_at` and `ended_at` are `time.perf_counter` of the first sentence and the end."""

    status: int
    headers: dict[str, str]
    body: bytes
    ended_at: float
    spoke_at: float | None = None


def get(kind: str, path: str) -> Request:
    """A GET."""
    return Request(kind, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def post(kind: str, path: str, content: object, accept: str = "application/json") -> Request:
    """A POST of JSON."""
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Request(kind, head.encode() + body)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Client:
    """Connections to one server, each used again while the server keeps it."""

    port: int
    _idle: list[Connection] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        """Send a request and read what comes; raises `OSError` or `EOFError` where the server hangs up."""
        reader, writer = await self._connection()
        try:
            writer.write(request.raw)
            reply = await _read(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if reply.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return reply

    async def _connection(self) -> Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)


async def _read(reader: asyncio.StreamReader) -> Reply:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    body, spoke = b"", None
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += (await reader.readexactly(size + 2))[:-2]
            if spoke is None and (SENTENCE in body or ANSWER in body):
                spoke = time.perf_counter()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(lines[0].split(" ")[1]), headers, body, time.perf_counter(), spoke)

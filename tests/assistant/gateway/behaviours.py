"""How a model's provider behaves, well and badly: a function each, which is given one request.

What they choose (where to break, how long the pieces are) is chosen by `Wire.random`, so a seed
repeats it. Error bodies repeat the key they were called with, as some providers do.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

LATE = 30.0
"""Seconds that a slow provider takes: longer than anything here waits for it."""

LONG_LINE = 10_000_000


@dataclass
class Exchange:
    """One request and what was sent back to it: `said` is the text sent so far, `usage` the token
    counts that were sent, `whole` whether the reply came to its proper end.
    """

    provider: str
    body: dict[str, Any]
    authorization: str
    answer: str
    said: str = ""
    usage: dict[str, Any] | None = None
    whole: bool = False


@dataclass
class Wire:
    """The connection that one request came by."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    exchange: Exchange
    random: Random
    keep_alive: bool = False
    chunked: bool = field(default=False, init=False)

    @property
    def streamed(self) -> bool:
        return bool(self.exchange.body.get("stream"))

    async def send(self, data: bytes) -> None:
        """Bytes of the body, framed as the head said."""
        if self.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.writer.write(data)
        await self.writer.drain()

    async def head(
        self, status: str = "200 OK", media: str | None = None, *headers: tuple[str, str]
    ) -> None:
        """Status and headers of a reply whose length isn't told."""
        media = media or ("text/event-stream" if self.streamed else "application/json")
        chunked = self.random.random() < 0.7
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {media}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += ["Transfer-Encoding: chunked"] * chunked
        await self.send("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
        self.chunked = chunked

    async def end(self) -> None:
        """The proper end of a body."""
        if self.chunked:
            self.chunked = False
            await self.send(b"0\r\n\r\n")

    async def event(self, data: Any) -> None:
        await self.send(b"data: %b\n\n" % _json(data))

    async def say(self, text: str) -> None:
        """Text as deltas of random lengths."""
        while text:
            piece, text = _split(text, self.random.randint(1, 40))
            self.exchange.said += piece
            await self.event(chunk(self, {"content": piece}))

    async def begin(self) -> None:
        """A reply up to a random place: maybe before its first word, always before its last."""
        if self.random.random() < 0.2:
            return await self.head()
        cut = self.random.randrange(1, len(self.exchange.answer))
        await self.head()
        if self.streamed:
            await self.event(chunk(self, {"role": "assistant", "content": ""}))
            await self.say(self.exchange.answer[:cut])
        else:
            await self.send(_json(completion(self))[:-cut])
        return None

    async def wait(self, seconds: float) -> None:
        """Do nothing, until the client hangs up."""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except TimeoutError:
            return
        raise ConnectionResetError("the client hung up")

    async def dawdle(self) -> None:
        """Say nothing for long: in silence, or with signs of life that are no text."""
        signs = [b": still here\n\n", b"data: %b\n\n" % _json(chunk(self, {"content": ""}))]
        sign = self.random.choice([None, *signs] if self.streamed else [None, b" "])
        if sign is None:
            return await self.wait(LATE)
        for _ in range(int(LATE / 0.02)):
            await self.send(sign)
            await self.wait(0.02)
        return None

    def reset(self) -> None:
        """Hang up with RST instead of FIN."""
        plug = self.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    def complaint(self) -> dict[str, Any]:
        """An error as OpenAI's servers word it, with the key in it."""
        message = f"Not for {self.exchange.authorization}, sorry"
        return {"error": {"message": message, "type": "server_error", "code": None}}

    async def refuse(self, status: str, *headers: tuple[str, str]) -> None:
        """An error reply, with or without a body that says why."""
        body = self.random.choice([_json(self.complaint()), b"<h1>Sorry</h1>", b""])
        await self.head(status, "application/json", *headers)
        if body:
            await self.send(body)
        await self.end()


def chunk(wire: Wire, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One piece of a streamed reply."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_frame(wire, "chat.completion.chunk"), "choices": [choice]}


def completion(wire: Wire) -> dict[str, Any]:
    """A whole reply."""
    message = {"role": "assistant", "content": wire.exchange.answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_frame(wire, "chat.completion"), "choices": [choice]}


def _frame(wire: Wire, kind: str) -> dict[str, Any]:
    model = wire.exchange.body.get("model", "fake")
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": model}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _split(text: str, at: int) -> tuple[str, str]:
    return text[:at], text[at:]


def _usage(random: Random, cached: bool = False) -> dict[str, Any]:
    read, written = random.randint(10, 4000), random.randint(1, 400)
    counts: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written}
    if cached:
        counts["prompt_tokens_details"] = {"cached_tokens": random.randint(1, read)}
    return {**counts, "total_tokens": read + written}


async def _reply(wire: Wire, usage: dict[str, Any] | None = None, done: bool = True) -> None:
    """The whole answer as it should be; `done=False` leaves `[DONE]` away."""
    exchange = wire.exchange
    if wire.streamed:
        await wire.head()
        await wire.event(chunk(wire, {"role": "assistant", "content": ""}))
        await wire.say(exchange.answer)
        await wire.event(chunk(wire, {}, "stop"))
        if usage and exchange.body.get("stream_options", {}).get("include_usage"):
            exchange.usage = usage
            await wire.event(
                {**_frame(wire, "chat.completion.chunk"), "choices": [], "usage": usage}
            )
        exchange.whole = True  # told before the last bytes, which the client may act on at once
        if done:
            await wire.send(b"data: [DONE]\n\n")
    else:
        exchange.usage, exchange.said = usage, exchange.answer
        body = _json({**completion(wire), **({"usage": usage} if usage else {})})
        wire.keep_alive = exchange.whole = True
        wire.writer.write(_head_with_length(body) + body)
        await wire.writer.drain()
    await wire.end()


def _head_with_length(body: bytes, media: str = "application/json") -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )


async def plain(wire: Wire) -> None:
    """Well, without saying how many tokens it took."""
    await _reply(wire)


async def usage(wire: Wire) -> None:
    """Well, with token counts."""
    await _reply(wire, _usage(wire.random))


async def cached(wire: Wire) -> None:
    """Well, with token counts of which some were cached."""
    await _reply(wire, _usage(wire.random, cached=True))


async def instant(wire: Wire) -> None:
    """Well, with everything in one write, and the connection kept."""
    exchange = wire.exchange
    exchange.usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    if wire.streamed:
        frame = {**_frame(wire, "chat.completion.chunk"), "choices": [], "usage": exchange.usage}
        events = [chunk(wire, {"content": exchange.answer}), chunk(wire, {}, "stop"), frame]
        body = b"".join(b"data: %b\n\n" % _json(event) for event in events) + b"data: [DONE]\n\n"
    else:
        body = _json({**completion(wire), "usage": exchange.usage})
    wire.keep_alive = exchange.whole = True
    exchange.said = exchange.answer
    media = "text/event-stream" if wire.streamed else "application/json"
    wire.writer.write(_head_with_length(body, media) + body)
    await wire.writer.drain()


async def busy_seconds(wire: Wire) -> None:
    """429, to come back in so many seconds."""
    seconds = wire.random.choice(["0", "1", "2", "30", "86400"])
    await wire.refuse("429 Too Many Requests", ("Retry-After", seconds))


async def busy_date(wire: Wire) -> None:
    """429, to come back at a time."""
    wait = timedelta(seconds=wire.random.choice([-60, 0, 1, 2, 3600]))
    date = format_datetime(datetime.now(UTC) + wait, usegmt=True)
    await wire.refuse("429 Too Many Requests", ("Retry-After", date))


async def busy_rubbish(wire: Wire) -> None:
    """429, to come back nobody knows when."""
    dates = [
        "Wed, 99 Foo 2026 25:61:00 GMT",
        "Thu, 01 Jan 99999 00:00:00 GMT",
        "2026-01-01T00:00:00",
    ]
    numbers = ["-5", "1e999", "nan", "inf", "0x10", "²", "9" * 400, "9" * 5000, "1,5", "1_0"]
    value = wire.random.choice([*dates, *numbers, "soon", "", "\udcff\udcfe"])
    await wire.refuse("429 Too Many Requests", ("Retry-After", value))


async def error_500(wire: Wire) -> None:
    """A server's error."""
    statuses = ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"]
    await wire.refuse(wire.random.choice(statuses))


async def unauthorized_401(wire: Wire) -> None:
    """The key is not taken."""
    await wire.refuse("401 Unauthorized")


async def slow_headers(wire: Wire) -> None:
    """Nothing for long, or the beginning of a head."""
    if wire.random.random() < 0.5:
        wire.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
        await wire.writer.drain()
    await wire.wait(LATE)
    wire.reset()


async def slow_first_token(wire: Wire) -> None:
    """A head, then no text for long."""
    await wire.head()
    await wire.dawdle()


async def stall(wire: Wire) -> None:
    """Some text, then no more for long."""
    await wire.begin()
    await wire.dawdle()


async def reset(wire: Wire) -> None:
    """The connection breaks: before the head, or in the text."""
    if wire.random.random() < 0.8:
        await wire.begin()
        await asyncio.sleep(0.005)
    wire.reset()


async def no_done(wire: Wire) -> None:
    """The end without `[DONE]`: after all of the answer, or in its middle as if that were its end."""
    if wire.random.random() < 0.4:
        return await _reply(wire, _usage(wire.random), done=False)
    await wire.begin()
    await wire.end()
    return None


async def error_event(wire: Wire) -> None:
    """200, and then an error."""
    if not wire.streamed:
        await wire.head()
        await wire.send(_json(wire.complaint()))
        return await wire.end()
    await wire.begin()
    if wire.random.random() < 0.3:
        await wire.send(b"event: error\n")
    await wire.event(wire.complaint())
    if wire.random.random() < 0.5:
        await wire.send(b"data: [DONE]\n\n")
    return await wire.end()


async def split_utf8(wire: Wire) -> None:
    """Well, but every character of several bytes comes in two pieces."""
    send = wire.send

    async def in_pieces(data: bytes) -> None:
        start = 0
        for place in range(1, len(data)):
            if data[place] & 0xC0 == 0x80 and data[place - 1] >= 0xC0:
                await send(data[start:place])
                await asyncio.sleep(0)
                start = place
        await send(data[start:])

    wire.send = in_pieces  # type: ignore[method-assign]
    await _reply(wire, _usage(wire.random))


async def long_line(wire: Wire) -> None:
    """10 MB in one line: as text, as a comment, or with no meaning at all."""
    await wire.head()
    if wire.random.random() < 0.5 and wire.streamed:
        await wire.say(wire.exchange.answer[: wire.random.randrange(1, 20)])
    before, after = wire.random.choice(
        [(b"data: ", b"\n\n"), (b": ", b"\n\n")] if wire.streamed else [(b"{", b"}"), (b'"', b'"')]
    )
    if before == b"data: " and wire.random.random() < 0.7:
        event = _json(chunk(wire, {"content": "@"}))
        start, end = event.split(b"@")
        before, after = before + start, end + after
        wire.exchange.said += "x" * LONG_LINE
    for data in (before, *[b"x" * 100_000] * (LONG_LINE // 100_000), after):
        await wire.send(data)
    await wire.end()


async def html(wire: Wire) -> None:
    """200 with a page for people."""
    page = f"<!doctype html><html><p>Log in, {wire.exchange.authorization}</p></html>\n\n"
    await wire.head("200 OK", wire.random.choice(["text/html", None]))
    await wire.send(page.encode())
    await wire.end()


async def empty_choices(wire: Wire) -> None:
    """The shape is right and nothing is in it, but tokens are charged."""
    wire.exchange.usage = _usage(wire.random)
    name = "delta" if wire.streamed else "message"
    silent = {"index": 0, name: {"role": "assistant", "content": None}, "finish_reason": "stop"}
    blank = {**silent, name: {"role": "assistant", "content": ""}}
    choices = wire.random.choice([[], [], [silent], [blank]])
    frame = {**_frame(wire, "chat.completion" + ".chunk" * wire.streamed), "choices": choices}
    await wire.head()
    if wire.streamed:
        await wire.event({**frame, "usage": wire.exchange.usage})
        await wire.send(b"data: [DONE]\n\n")
    else:
        await wire.send(_json({**frame, "usage": wire.exchange.usage}))
    await wire.end()


async def wrong_json(wire: Wire) -> None:
    """JSON of another shape, or none; in a stream, maybe after some text."""
    shapes = [[], "text", 42, None, {}, {"choices": "no"}, {"choices": [7]}, {"choices": None}]
    inner = [{"content": {"a": 1}}, {"content": 5}, {"content": [7]}, "text", None]
    name = "delta" if wire.streamed else "message"
    shapes += [{"choices": [{"index": 0, name: value}]} for value in inner]
    raw = [_json(shape) for shape in shapes]
    raw += [b"{oops", b"[" * 100_000, b"NaN", b'{"choices": [\xff\xfe]}', b""]
    data = wire.random.choice(raw)
    await wire.head()
    if wire.streamed:
        await wire.say(wire.exchange.answer[: wire.random.choice([0, 0, 15])])
        await wire.send(b"data: %b\n\n" % data)
        await wire.send(b"data: [DONE]\n\n")
    else:
        await wire.send(data)
    await wire.end()


async def endless(wire: Wire) -> None:
    """Text that does not end, whatever was asked for."""
    await wire.head()
    if not wire.streamed:
        await wire.send(_json(completion(wire))[:-60])
    while True:
        if wire.streamed:
            await wire.say("and on and on ")
        else:
            await wire.send(b"and on and on ")
        await asyncio.sleep(0.001)


Behaviour = Callable[[Wire], Awaitable[None]]

WELL = (plain, usage, cached, instant, split_utf8)
BADLY = (
    *(busy_seconds, busy_date, busy_rubbish, error_500, unauthorized_401),
    *(slow_headers, slow_first_token, stall, reset, no_done, error_event),
    *(long_line, html, empty_choices, wrong_json, endless),
)
BEHAVIOURS: dict[str, Behaviour] = {each.__name__: each for each in (*WELL, *BADLY)}

"""A fake provider of language models over real sockets: it speaks OpenAI's chat completions, well or
badly. `python -m tests.assistant.gateway.misbehaving instant` serves by itself.

    with Misbehaving("usage", answers=lambda body: body["messages"][-1]["content"]) as server:
        ModelEntry(name="fake", model="fake", address=server.address, …)
"""

import asyncio
import json
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from socket import socket
from tempfile import TemporaryDirectory
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.assistant.gateway.behaviours import BEHAVIOURS, Exchange, Wire

UNREACHABLE = ("refused", "unknown_host", "bad_tls")
"""Behaviours of an address, not of a server: no request ever arrives."""

Answers = Callable[[dict[str, Any]], str]
WORDS = "a backup of the node naïve — Größe 東京 🚀 drains pods, then restarts them slowly".split()


class Misbehaving:
    """The server, running in a thread of its own while it is entered.

    `behaviour` is a name out of BEHAVIOURS or UNREACHABLE, and may be set to another at any time.
    `answers` computes the text of an answer from the request's body; without it, it is words that
    the seed, the provider and the number of the request choose. `exchanges` are the requests that came,
    `connections` counts those to the address of bad_tls, `open` the connections open now.
    """

    def __init__(
        self, behaviour: str = "usage", seed: int = 0, answers: Answers | None = None
    ) -> None:
        self.behaviour = behaviour
        self.seed = seed
        self.answers = answers
        self.exchanges: list[Exchange] = []
        self.connections: Counter[str] = Counter()
        self.open = 0
        self._ports: dict[str, int] = {}
        self._asked: Counter[str] = Counter()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake provider did not start: see the traceback of its thread")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def address(self) -> str:
        """The base URL at which `behaviour` is had, whatever it is set to later."""
        if self.behaviour in UNREACHABLE:
            return self.address_of(self.behaviour, self.seed)
        return self.address_of("now", self.seed)

    def address_of(self, behaviour: str, seed: int = 0, provider: str = "model") -> str:
        """The base URL of a provider of its own, told apart by `provider` in `exchanges`."""
        path = f"{behaviour}/{seed}/{provider}/v1"
        if behaviour == "unknown_host":
            return f"http://nowhere.invalid/{path}"
        if behaviour == "refused":
            return f"http://127.0.0.1:{self._ports['refused']}/{path}"
        if behaviour == "bad_tls":
            flavour = ("self_signed", "plaintext", "silent")[seed % 3]
            return f"https://127.0.0.1:{self._ports[flavour]}/{path}"
        return f"http://127.0.0.1:{self._ports['http']}/{path}"

    def seen(self, provider: str) -> list[Exchange]:
        """What came to one provider, in order."""
        return [each for each in self.exchanges if each.provider == provider]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        servers = [
            await self._listen("http", self._talk),
            await self._listen("self_signed", self._greet_self_signed),
            await self._listen("plaintext", self._greet_plaintext),
            await self._listen("silent", self._greet_silent),
        ]
        with socket() as refusing:
            refusing.bind(
                ("127.0.0.1", 0)
            )  # bound and not listening: the port refuses, and stays ours
            self._ports["refused"] = refusing.getsockname()[1]
            self._tls = _self_signed()
            self._ready.set()
            await self._stop.wait()
            for server in servers:
                server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, name: str, talk: Callable[..., Any]) -> asyncio.Server:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connection(name, talk, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1000)
        self._ports[name] = server.sockets[0].getsockname()[1]
        return server

    async def _connection(
        self,
        name: str,
        talk: Callable[..., Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.connections[name] += 1
        self.open += 1
        try:
            await talk(reader, writer)
        except (ConnectionError, EOFError, ssl.SSLError):
            pass  # the client hung up
        finally:
            self.open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until one of them is the connection's last."""
        keep_alive = True
        while keep_alive:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = head[0].split(" ")
            if method != "POST" or not path.endswith("/v1/chat/completions"):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            authorization = next(
                (each[15:] for each in head if each.lower()[:15] == "authorization: "), ""
            )
            wire = self._wire(path, json.loads(body), authorization, reader, writer)
            await BEHAVIOURS[self._behaviour(path)](wire)
            keep_alive = wire.keep_alive

    def _behaviour(self, path: str) -> str:
        name = path.split("/")[1]
        return self.behaviour if name == "now" else name

    def _wire(
        self,
        path: str,
        body: dict[str, Any],
        authorization: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Wire:
        _, _, seed, provider, *_ = path.split("/")
        self._asked[provider] += 1
        random = Random(f"{self._behaviour(path)}/{seed}/{provider}/{self._asked[provider]}")
        answer = self.answers(body) if self.answers else _words(random)
        exchange = Exchange(provider, body, authorization, answer)
        self.exchanges.append(exchange)
        return Wire(reader, writer, exchange, random)

    async def _greet_self_signed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await writer.start_tls(self._tls)
        await self._talk(reader, writer)

    async def _greet_plaintext(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async def _greet_silent(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await reader.read(10_000):
            pass


def _words(random: Random) -> str:
    """A sentence or two, with characters of up to four bytes."""
    return " ".join(random.choices(WORDS, k=random.randint(8, 25))) + f" 東{random.random()}."


def _self_signed() -> ssl.SSLContext:
    """A certificate that nobody has reason to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(private + certificate.public_bytes(pem))
        context.load_cert_chain(path)
    return context


def main() -> None:
    """Serve one behaviour, print its base URL, and go on until standard input ends."""
    with Misbehaving(*sys.argv[1:2]) as server:
        print(server.address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

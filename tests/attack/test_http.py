"""HTTP itself, bent: to a real server, byte by byte as no client would send it.

The server is uvicorn with httptools. It has no time limit for a request that never ends (slowloris): such a
connection costs a socket and some kilobytes until it closes, and blocks nobody else, which is tested here; a
proxy in front ends it (docs/security.md).
"""

import re
import socket
import time
from contextlib import closing
from select import select
from urllib.parse import urlsplit

import httpx
import pytest

from tests.attack.tenants import Service
from tests.conftest import ROOT

APP_JS = (ROOT / "assistant/web/app.js").read_bytes()


SILENCE = 1.0
"""Seconds after which nothing more is coming; some answers leave the connection open."""


def connect(service: Service) -> socket.socket:
    place = urlsplit(service.address)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def answer(service: Service, sent: bytes) -> bytes:
    """All that comes back to some bytes, until the server closes or is silent for a while."""
    with closing(connect(service)) as connection:
        connection.settimeout(SILENCE)
        got = b""
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
    return got


def statuses(got: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def alive(service: Service) -> bool:
    return httpx.get(f"{service.address}/health/live", timeout=10).status_code == 200


HOST = b"Host: localhost\r\n"
ASK = b"POST /ask HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
BODY = b'{"question": "Who unseals the production vault?"}'

BENT = {
    "no request": b"\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /documents HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /documents HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "another host": b"GET /documents HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "absolute form": b"GET http://evil.example/documents HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in a name": b"GET / HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n",
    "a NUL in a value": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a line of its own": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a bare line end": b"GET / HTTP/1.1\n" + HOST + b"X: a\rY: b\n\n",
    "no UTF-8 in a query": b"GET /search?q=%ff%fe HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw bytes in a query": b"GET /search?q=\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a NUL in a query": b"GET /search?q=a%00b HTTP/1.1\r\n" + HOST + b"\r\n",
    "a huge target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a huge header": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
    "two lengths": ASK + b"Content-Length: 5\r\nContent-Length: 49\r\n\r\n" + BODY,
    "length and chunks": ASK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + BODY,
    "odd encoding": ASK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "negative length": ASK + b"Content-Length: -1\r\n\r\n" + BODY,
    "a length in words": ASK + b"Content-Length: 0x31\r\n\r\n" + BODY,
    "a length past all": ASK + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
    "too short a body": ASK + b"Content-Length: 500\r\n\r\n" + BODY,
    "no length": ASK + b"\r\n" + BODY,
    "a chunk past all": ASK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + BODY,
    "a negative chunk": ASK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + BODY,
    "two tokens": b"GET /me HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "another type": b"POST /ask HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\nContent-Length: 49\r\n\r\n" + BODY,
    "deep JSON": ASK + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
    "a great number": ASK + b"Content-Length: 100000\r\n\r\n" + b"9" * 100_000,
    "a doubled name": ASK + b"Content-Length: 33\r\n\r\n" + b'{"question":"a","question":["b"]}',
    "an upgrade": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a socket": b"GET /ask HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", BENT)
def test_a_bent_request_is_refused_or_answered_and_breaks_nothing(
    service: Service, kind: str
) -> None:
    got = answer(service, BENT[kind])
    assert all(status < 500 for status in statuses(got)), got[:300]
    assert len(statuses(got)) <= 2  # what follows a request can't be more than one other
    assert b"Traceback" not in got
    assert alive(service)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("another host", 421), ("two hosts", 400), ("absolute form", 404), ("two tokens", 401)],
)
def test_what_could_be_read_in_two_ways_is_refused(
    service: Service, kind: str, status: int
) -> None:
    got = answer(service, BENT[kind])
    assert statuses(got)[0] == status, got[:300]
    assert b"evil.example" not in got.partition(b"\r\n\r\n")[0]


def test_a_body_over_the_limit_is_refused_before_it_has_all_come(service: Service) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with closing(connect(service)) as connection:
        connection.sendall(ASK + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 64 * 1024 * 1024 and not select([connection], [], [], 0.01)[0]:
            connection.sendall(piece)
            sent += len(piece)
        assert statuses(connection.recv(65536)) == [413]
    assert sent < 8 * 1024 * 1024  # what the sockets hold beside the one that is read
    assert alive(service)


def test_requests_in_one_go_are_answered_in_their_order(service: Service) -> None:
    paths = ["/health/live", "/nowhere", "/me", "/documents/absent", "/health/live"]
    sent = b"".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths)
    assert statuses(answer(service, sent)) == [200, 404, 200, 404, 200]


def test_requests_that_never_end_keep_nobody_else_waiting(service: Service) -> None:
    slow = [connect(service) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(
            ASK + b"Content-Length: 49\r\n\r\n" + BODY[: number % 40] if number % 2 else ASK
        )
    began = time.monotonic()
    assert alive(service)
    assert httpx.get(f"{service.address}/search?q=vault", timeout=20).status_code == 200
    assert time.monotonic() - began < 20
    for connection in slow:
        connection.close()
    assert alive(service)


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
    ],
)
def test_no_header_makes_another_request_of_one(service: Service, header: str) -> None:
    for value in ("POST", "DELETE", "/usage", "/ingest"):
        got = httpx.get(f"{service.address}/health/live", headers={header: value})
        assert (got.status_code, got.text) == (200, '{"status":"live"}')


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "X-Forwarded-User",
    ],
)
def test_no_header_makes_somebody_else_of_a_caller(service: Service, header: str) -> None:
    for value in ("127.0.0.1", "evil.example", "https", "root", "host=evil.example"):
        got = httpx.get(f"{service.address}/me", headers={header: value})
        assert got.json()["kind"] == "anonymous"
        assert httpx.post(f"{service.address}/ingest", headers={header: value}).status_code == 401
        assert "evil" not in str(got.headers)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
)
def test_no_other_page_may_read_an_answer(service: Service, origin: str) -> None:
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    for method, path in (
        ("OPTIONS", "/ask"),
        ("GET", "/documents"),
        ("OPTIONS", "/mcp"),
        ("GET", "/v1/models"),
    ):
        got = httpx.request(method, service.address + path, headers=asks)
        assert not [name for name in got.headers if name.startswith("access-control-")]
        assert got.status_code in (403, 405)


# --- ranges -----------------------------------------------------------------------------------

RANGES = {
    "many": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 3000, 2)),
    "overlapping": "bytes=" + ",".join(["0-"] * 500),
    "nested": "bytes=" + ",".join(f"{n}-{4000 - n}" for n in range(1000)),
    "backwards": "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(3000, 0, -3)),
    "empty": "bytes=" + "," * 5000,
    "huge numbers": "bytes=0-" + "9" * 5000,
    "from the end": "bytes=" + ",".join(f"-{n}" for n in range(1, 2000)),
    "spaces": "bytes=" + " " * 20_000 + "0-1",
    "another unit": "lines=0-1",
    "no numbers": "bytes=a-b,c-",
    "negative": "bytes=--5",
    "past the end": "bytes=999999999-",
}


@pytest.mark.parametrize("kind", RANGES)
def test_no_range_costs_more_than_the_file_a_few_times(service: Service, kind: str) -> None:
    began = time.monotonic()
    got = httpx.get(f"{service.address}/static/app.js", headers={"Range": RANGES[kind]}, timeout=30)
    assert time.monotonic() - began < 10
    assert got.status_code in (200, 206, 400, 416), got.text[:200]
    assert len(got.content) <= 20 * len(APP_JS)
    assert alive(service)


# --- headers of answers -----------------------------------------------------------------------


def test_nothing_private_is_kept_by_a_browser_or_a_cache(service: Service) -> None:
    key = dict(service.identities["an administrator"].sent)
    with httpx.Client(base_url=service.address, headers=key, timeout=30) as client:  # type: ignore[arg-type]
        for path in (
            "/documents",
            "/me",
            "/sources",
            "/usage",
            "/usage.csv",
            "/search?q=vault",
            "/nowhere",
        ):
            assert client.get(path).headers["cache-control"] == "no-store", path
        asked = {"question": "Who unseals the production vault?"}
        assert client.post("/ask", json=asked).headers["cache-control"] == "no-store"
        streamed = client.post("/ask", json=asked, headers={"Accept": "text/event-stream"})
        # `EventStream` says why not more; no cache keeps an answer to POST that says no time.
        assert streamed.headers["cache-control"] == "no-cache"
        # What is the same for everybody may be asked after by its tag.
        assert client.get("/").headers["cache-control"] == "no-cache"
        assert "no-store" not in client.get("/static/app.js").headers.get("cache-control", "")


def test_a_page_may_use_nothing_of_the_machine(service: Service) -> None:
    allowed = httpx.get(service.address).headers["permissions-policy"]
    for feature in ("camera", "microphone", "geolocation", "display-capture", "usb", "payment"):
        assert f"{feature}=()" in allowed

"""HTTP for sources: to one host only, patient when told to wait, and bounded in all it takes in."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from index.secret_file import NoSecret, SecretFile
from ingest.sources.source import SourceUnavailable

if TYPE_CHECKING:  # 100 ms, which only a sync with such a source has to spend
    import httpcore
    import httpx
    from tenacity import RetryCallState, Retrying

USER_AGENT = "casebook"
PAGE_LIMIT = 10 * 1024 * 1024
API_LIMIT = 50 * 1024 * 1024
"""Bytes of one unpacked body: a web page, and a page of an API or a sitemap (whose limit it is)."""

TRIES = 5
MAX_WAIT = 15 * 60
"""Seconds that a sync waits when told to; a longer wait is for the schedule, not for a sleep."""

SECONDARY_LIMIT_WAIT = 60
"""Seconds; GitHub asks for "at least one minute" where a secondary limit names no time."""

MAX_REDIRECTS = 5
BODY_SECONDS = 300
"""A body that drips for longer is given up: read timeouts alone let it last for ever."""

CONNECT_SECONDS, READ_SECONDS = 10, 30
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class AddressRefused(SourceUnavailable):
    """A host name leads to an address inside a network that a source has no business in."""


class RedirectRefused(SourceUnavailable):
    """An answer sends elsewhere: to another host, from https to http, or round and round."""


class BodyTooLarge(SourceUnavailable):
    """A body is larger, unpacked, than anything that is wanted."""


class ComeBackLater(SourceUnavailable):
    """The server takes no more requests for longer than a sync waits."""


class _TryAgain(Exception):
    """What may pass; `after` seconds if the server said."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class Reply:
    """An answer that was neither a redirect nor a passing fault: 200, but also 304, 404 and so on."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes

    def next_page(self) -> str | None:
        """The address of `Link: …; rel="next"`."""
        import httpx

        links = httpx.Response(200, headers={"link": self.headers.get("link", "")}).links
        return links.get("next", {}).get("url")

    def content_type(self) -> tuple[str, str]:
        """Its media type and charset, in lower case; empty where it says none."""
        import httpx

        stated = self.headers.get("content-type", "")
        charset = httpx.Response(200, headers={"content-type": stated}).charset_encoding
        return stated.partition(";")[0].strip().lower(), (charset or "").lower()


class HttpClient:
    """GET from the host of `base`, over connections to checked addresses only.

    `authorization` goes into that header and nowhere else. Each host name is resolved once a
    connection, each address it has must be a public one unless `allow_private`, and it is the
    checked address that is connected to. Proxies from the environment are not used, since they
    would resolve names themselves.
    """

    def __init__(
        self,
        base: str,
        *,
        authorization: str | None = None,
        allow_private: bool = False,
        clock: Clock = time.time,
        sleep: Sleep = time.sleep,
    ) -> None:
        import httpx

        self.base = parse_address(base)
        self._headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._clock = clock
        self._sleep = sleep
        self._client = httpx.Client(
            transport=_transport(allow_private),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def get(
        self,
        address: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = API_LIMIT,
        permit: Callable[[str], bool] = lambda address: True,
    ) -> Reply:
        """What is at an address, after redirects that `permit` allows; at most `TRIES` tries.

        Raises `SourceUnavailable` when they are used up, or when the wait asked for is over
        `MAX_WAIT`: the message says when to come back.
        """
        url = parse_address(address)
        if params:
            url = url.copy_merge_params(dict(params))
        sent = {**self._headers, **_sendable(headers or {})}
        try:
            return _retrying(self._sleep)(self._follow, url, sent, limit, permit)
        except _TryAgain as error:
            raise SourceUnavailable(
                f"{_shown(url)}: {error}, {TRIES} times: "
                "look whether the server is well; the next sync goes on from here"
            ) from error

    def _follow(
        self, url: httpx.URL, headers: dict[str, str], limit: int, permit: Callable[[str], bool]
    ) -> Reply:
        before = self.base
        for _ in range(MAX_REDIRECTS + 1):
            if not same_host(before, url) or not permit(str(url)):
                raise RedirectRefused(
                    f"{_shown(url)} is not where {self.base.host} may send a sync: "
                    "only its own host is read, and what robots.txt and the settings allow"
                )
            reply = self._once(url, headers, limit)
            if reply.status not in _MOVED or "location" not in reply.headers:
                return reply
            before, url = url, joined(url, reply.headers["location"])
        raise RedirectRefused(f"{_shown(url)} redirects over {MAX_REDIRECTS} times: mend the site")

    def _once(self, url: httpx.URL, headers: dict[str, str], limit: int) -> Reply:
        import httpx

        try:
            with self._client.stream("GET", url, headers=headers) as response:
                body = self._body(response, limit)
        except (
            httpx.InvalidURL
        ) as error:  # httpx looks at a redirect also where it does not follow it
            raise RedirectRefused(f"{_shown(url)} redirects to what is no address") from error
        except httpx.TransportError as error:
            raise _TryAgain(f"no whole answer ({type(error).__name__}: {error})") from error
        except zlib.error as error:
            raise _TryAgain(f"a damaged gzip body ({error})") from error
        finally:
            self._client.cookies.clear()
        reply = Reply(str(url), response.status_code, response.headers, body)
        wait = _asked_wait(reply, self._clock())
        if reply.status not in _TRANSIENT and wait is None:
            return reply
        if wait is not None and wait > MAX_WAIT:
            back = datetime.fromtimestamp(self._clock() + wait, UTC)
            raise ComeBackLater(
                f"{url.host} takes no more requests until {back:%Y-%m-%d %H:%M:%S} UTC: "
                "sync again then; it goes on from here"
            )
        raise _TryAgain(f"status {reply.status}", wait)

    def _body(self, response: httpx.Response, limit: int) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "", "gzip"):
            raise SourceUnavailable(f"{_shown(response.url)} is packed as {encoding}, unasked")
        collect = unzipped if encoding == "gzip" else collected
        return collect(_shown(response.url), self._in_time(response), limit)

    def _in_time(self, response: httpx.Response) -> Iterator[bytes]:
        began = self._clock()
        for piece in response.iter_raw():
            if self._clock() - began > BODY_SECONDS:
                raise _TryAgain(f"a body that takes over {BODY_SECONDS} s")
            yield piece


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Without what no header may hold: a validator is sent back as a server gave it."""
    return {
        name: value for name, value in headers.items() if value.isascii() and value.isprintable()
    }


# --- addresses --------------------------------------------------------------------------------


def parse_address(address: str) -> httpx.URL:
    """An http or https address in one spelling, without fragment; else `SourceUnavailable`."""
    import httpx

    try:
        url = httpx.URL(address).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise SourceUnavailable(f"{address[:200]!r} is no web address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise SourceUnavailable(
            f"{_shown(url)!r} is no address like https://host/path, without a user in it"
        )
    return url


def joined(url: httpx.URL, location: str) -> httpx.URL:
    """Where a relative or whole address leads from a page; raises `RedirectRefused`."""
    import httpx

    try:
        return parse_address(str(url.join(location)))
    except (httpx.InvalidURL, SourceUnavailable) as error:
        raise RedirectRefused(f"{_shown(url)} redirects to what is no address") from error


def same_host(before: httpx.URL, after: httpx.URL) -> bool:
    """The same scheme, host and port; or the same host by https with the ports of both usual."""
    if (before.scheme, before.host, before.port) == (after.scheme, after.host, after.port):
        return True
    upgrade = (before.scheme, after.scheme) == ("http", "https")
    return upgrade and before.host == after.host and before.port is None and after.port is None


def _shown(url: httpx.URL) -> str:
    """Without the query, where some keep secrets, or a user."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"[:300]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, also when IPv6 wraps an IPv4 address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = (
            ip.ipv4_mapped or ip.sixtofour
        )  # of Teredo nothing is public: its addresses are no one's
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class _GuardedBackend:
    """Resolves, checks, and connects to what was checked; TLS still sees the host's name.

    It stands for httpcore's `NetworkBackend`, of which a pool without retries calls this much.
    """

    def __init__(self, allow_private: bool) -> None:
        import httpcore

        self._allow_private = allow_private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        import httpcore

        fault: httpcore.NetworkError | httpcore.TimeoutException | None = None
        for address in self._addresses(host, port):
            try:
                return self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        raise fault or httpcore.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        import httpcore

        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} can't be resolved") from error
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        refused = [each for each in addresses if not (self._allow_private or is_public(each))]
        if refused:
            raise AddressRefused(
                f"{host} leads to {refused[0]}, which is no public address: "
                "if that is meant, say `allow_private = true` for this source"
            )
        return addresses


@cache
def _tls() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()  # 45 ms, most of them for the certificates


def _transport(allow_private: bool) -> httpx.HTTPTransport:
    """httpx has no public place for a network backend; a test fails if this one goes unused."""
    import httpcore
    import httpx

    backend = cast("httpcore.NetworkBackend", _GuardedBackend(allow_private))
    transport = httpx.HTTPTransport(verify=_tls(), trust_env=False)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=_tls(), network_backend=backend, max_connections=1
    )
    return transport


# --- waiting ----------------------------------------------------------------------------------


def _retrying(sleep: Sleep) -> Retrying:
    """As long as the server asks for, else with full jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    from tenacity import Retrying
    from tenacity.retry import retry_if_exception_type
    from tenacity.stop import stop_after_attempt
    from tenacity.wait import wait_random_exponential

    full_jitter = wait_random_exponential(multiplier=1, max=60)

    def wait(state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        asked = fault.after if isinstance(fault, _TryAgain) else None
        return full_jitter(state) if asked is None else asked

    return Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait,
        retry=retry_if_exception_type(_TryAgain),
        sleep=sleep,
        reraise=True,
    )


def _asked_wait(reply: Reply, now: float) -> float | None:
    """The seconds that an answer asks to wait, if it does.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api: a limit is a
    403 or 429, with `Retry-After`, or with nothing remaining and a reset, or only with its words.
    """
    if reply.status not in _TRANSIENT | {403}:
        return None
    after = _retry_after(reply.headers.get("retry-after", ""), now)
    if after is not None:
        return after
    if reply.status not in (403, 429):
        return None
    if reply.headers.get("x-ratelimit-remaining") == "0":
        reset = reply.headers.get("x-ratelimit-reset", "")
        return max(0.0, _number(reset) + 1 - now) if reset.isdecimal() else SECONDARY_LIMIT_WAIT
    if b"secondary rate limit" in reply.body[:4096]:
        return SECONDARY_LIMIT_WAIT
    return None


def _retry_after(value: str, now: float) -> float | None:
    if value.strip().isdecimal():
        return _number(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(digits: str) -> float:
    return min(float(digits), 1e10)  # seconds past the year 2200 are no time that a clock has


# --- bodies -----------------------------------------------------------------------------------


def collected(name: str, pieces: Iterable[bytes], limit: int) -> bytes:
    """The pieces in one; raises `BodyTooLarge` past `limit` bytes."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > limit:
            raise BodyTooLarge(f"{name} holds over {limit / 2**20:.3g} MiB: leave it out")
    return bytes(body)


def unzipped(name: str, pieces: Iterable[bytes], limit: int) -> bytes:
    """Gzipped pieces as one body, never holding much more than `limit` bytes of it.

    Raises `BodyTooLarge` past them, `zlib.error` for what is damaged or cut.
    """
    unzip = zlib.decompressobj(31)
    body = collected(name, (unzip.decompress(piece, limit + 1) for piece in pieces), limit)
    if not unzip.eof and (body or unzip.unconsumed_tail):
        raise zlib.error("it ends too early")
    return body


# --- tokens -----------------------------------------------------------------------------------


def read_token(variable: str | None, file: Path | None) -> str | None:
    """The token that an environment variable or a file holds now, if either is named.

    Raises `SourceUnavailable`, which never quotes what it found.
    """
    if variable:
        place, token = f"${variable}", os.environ.get(variable, "")
    elif file:
        return token_in(file)
    else:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SourceUnavailable(f"{place} holds no token: put one there, on one line")
    return token


def token_in(file: Path) -> str:
    """The token that a file holds now; raises `SourceUnavailable`."""
    try:
        return SecretFile(file, "a token").read()
    except NoSecret as error:
        raise SourceUnavailable(str(error)) from None

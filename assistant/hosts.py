"""Names: a request is answered if it was sent to a name of this service, by no page or by one of its own.

A page from elsewhere can have its own name resolve to this machine (DNS rebinding), and would then read what
this machine or network alone may. It can send no key, but what anyone may read here would be open to it. A
browser says in `Host` under which name it came, and in `Origin` for which page; both are checked for
every route. An address instead of a name is answered always: no resolver comes between it and us.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.problems import from_error
from index.errors import CasebookError

log = logging.getLogger("casebook.access")

OWN = ("localhost", "127.0.0.1", "[::1]")

SHOWN = 80
"""Characters that are repeated of a name."""

Told = Callable[[CasebookError], Response]


class Elsewhere(CasebookError):
    """A browser was led here under another name, or by a page from elsewhere."""

    title = "Not known by this name"

    def __init__(self, name: str, status: int) -> None:
        super().__init__(
            f"{name[:SHOWN]!r} is not a name of this service: use its address or localhost, or add the "
            "name to `hosts` in the service's settings"
        )
        self.status = status


class KnownHosts:
    """An application that answers under its own names. `hosts` are those besides this machine's, each for every
    port unless it has one; `told` says, by path, what a refusal looks like where it is no problem+json.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] = (), told: Mapping[str, Told] | None = None
    ) -> None:
        self.app = app
        self._names = frozenset(_plain(name) for name in (*OWN, *hosts))
        self._told = told or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes under a known name."""
        refused = self._refused(scope["headers"]) if scope["type"] == "http" else None
        if refused is None:
            await self.app(scope, receive, send)
        else:
            log.warning("%s %s: %s", scope["method"], scope["path"], refused)
            response = self._told.get(scope["path"], from_error)(refused)
            await response(scope, receive, send)

    def _refused(self, headers: Iterable[tuple[bytes, bytes]]) -> Elsewhere | None:
        """Every `Host` and `Origin` counts: who comes after us may look at another one."""
        sent = [(name, value.decode("latin-1")) for name, value in headers]
        asked = [value for name, value in sent if name == b"host"]
        for host in asked:
            if not (self._knows(host) or _is_address(host)):
                return Elsewhere(host, 421)
        own = {_plain(host) for host in asked}
        for origin in (value for name, value in sent if name == b"origin"):
            place = _place(origin)
            if _plain(place) not in own and not self._knows(place):
                return Elsewhere(origin, 403)
        return None

    def _knows(self, host: str) -> bool:
        return not self._names.isdisjoint({_plain(host), _plain(_without_port(host))})


def _place(origin: str) -> str:
    """The host and port of an origin; `null`, which sandboxed pages send, is no name."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _plain(host: str) -> str:
    return host.strip().lower().removesuffix(".")


def _without_port(host: str) -> str:
    name, colon, port = host.strip().rpartition(":")
    return name if colon and port.isdecimal() else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(_without_port(host).strip("[]"))
    except ValueError:
        return False
    return True

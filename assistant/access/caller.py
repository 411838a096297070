"""A caller: who asks, and what they may read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from index.errors import CasebookError
from index.schema import Labels

SIGN_IN = "send an API key, made with `casebook keys create`, as `Authorization: Bearer cbk_…`"


class Unauthorized(CasebookError):
    """What was sent to sign in with does not hold.

    The message is the same whether a key is unknown, revoked, expired or mistyped: only the log
    tells them apart. `headers` belong on the response (RFC 6750, section 3).
    """

    status = 401
    exit_code = 9
    title = "Not signed in"
    headers: Mapping[str, str] = {
        "WWW-Authenticate": 'Bearer realm="casebook", error="invalid_token"'
    }

    def __init__(self, message: str = "") -> None:
        super().__init__(message or f"the Authorization header is not accepted: {SIGN_IN}")


class SignInNeeded(Unauthorized):
    """Nothing was sent to sign in with, and the route is not for everyone."""

    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="casebook"'}

    def __init__(self) -> None:
        super().__init__(f"this is not for callers without a name: {SIGN_IN}")


class Forbidden(CasebookError):
    """The caller is known, and may not do this."""

    status = 403
    exit_code = 9
    title = "Forbidden"


class SignInUnavailable(CasebookError):
    """Whether a caller is who they say can't be told now: the keys or the issuer can't be asked."""

    status = 503
    exit_code = 10
    title = "Sign-in unavailable"


class Refused(Exception):
    """Why a key or a token does not hold: for the log, never for the client."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `name` is that of a key, or the subject of a token; `team` is empty for those of none,
    and says whose budget a call counts against, never what may be read.
    """

    name: str
    labels: Labels
    administrator: bool
    kind: Literal["anonymous", "key", "oidc", "local"]
    team: str = ""

    def may_read(self, labels: Labels) -> bool:
        """Whether a document with these labels may be read.

        A document without labels is for administrators alone.
        """
        return self.administrator or not self.labels.isdisjoint(labels)

    def shown(self, labels: Labels) -> Labels:
        """Those labels of a document that this caller may see named: their own."""
        return labels if self.administrator else labels & self.labels


def anonymous(labels: Iterable[str]) -> Caller:
    """Whoever sends nothing to sign in with, and the labels the settings give them."""
    return Caller("anonymous", frozenset(labels), administrator=False, kind="anonymous")


LOCAL = Caller("local", frozenset(), administrator=True, kind="local")
"""Whoever runs the command line: the index's files are theirs to read already."""

"""From an Authorization header to a caller."""

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.access.caller import Caller, Refused, Unauthorized
from assistant.access.keys import KeyStore
from assistant.access.loopback import is_loopback
from assistant.access.secret import PREFIX
from index.errors import InvalidInput

if TYPE_CHECKING:  # without OIDC neither PyJWT nor httpx is loaded
    from assistant.access.oidc import OidcVerifier

log = logging.getLogger("casebook.access")

BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""RFC 6750, section 2.1."""


class Authenticator:
    """Tells callers apart by API key or OIDC token.

    Who is signed in also reads what anyone may: they could get it by sending nothing. `host` is the
    address that the service listens on.
    """

    def __init__(
        self,
        keys: KeyStore | None,
        oidc: "OidcVerifier | None",
        anonymous: Caller,
        *,
        host: str | None = None,
    ) -> None:
        self.keys = keys
        self.oidc = oidc
        self.anonymous = anonymous
        # Decided once: a key file that is moved away under a running service opens nothing.
        self._may_be_unclaimed = host is not None and is_loopback(host) and not self.configured

    @property
    def configured(self) -> bool:
        """Whether anyone could sign in: there is a key that still holds, or an issuer."""
        return self.oidc is not None or (self.keys is not None and self.keys.any_active())

    @property
    def unclaimed(self) -> bool:
        """Whether nobody has made a key or named an issuer yet, on a service that only this machine can
        reach: then whoever is at it may do what is for administrators, though not read more.
        """
        return (
            self._may_be_unclaimed
            and self.oidc is None
            and (self.keys is None or not self.keys.list())
        )

    def caller(self, authorization_header: str | None) -> Caller:
        """Who sends this header; without one, the anonymous caller.

        Raises `Unauthorized` for anything else that does not hold, so that nobody with an expired
        key silently gets an anonymous caller's answers, and `SignInUnavailable` where it can't be told.
        """
        if authorization_header is None:
            return self.anonymous
        try:
            caller = self._signed_in(authorization_header)
        except Refused as refused:
            log.warning("sign-in refused: %s", refused)
            raise Unauthorized() from None
        return replace(caller, labels=caller.labels | self.anonymous.labels)

    def _signed_in(self, header: str) -> Caller:
        shaped = BEARER.fullmatch(header)
        if not shaped:
            raise Refused("the header is not `Bearer` and one token")
        token = shaped[1]
        if token.startswith(PREFIX):
            if self.keys is None:
                raise Refused("there are no keys here")
            key = self.keys.find(token)
            return Caller(key.name, key.labels, key.administrator, "key", key.team)
        if self.oidc is None:
            raise Refused("it is no API key, and no OIDC issuer is configured")
        return self.oidc.caller(token)


def check_bind(host: str, authenticator: Authenticator) -> None:
    """Raise `InvalidInput` where others could reach a service that nobody can sign in to."""
    if is_loopback(host) or authenticator.configured:
        return
    raise InvalidInput(
        f"{host!r} can be reached from other machines, and no sign-in is configured: make a key "
        "with `casebook keys create NAME --admin`, configure OIDC, or serve on 127.0.0.1"
    )

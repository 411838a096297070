"""OIDC tokens: signed by the issuer, for us, and not too old; their groups become labels."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from assistant.access.caller import Caller, Refused, SignInUnavailable
from assistant.access.loopback import is_loopback
from index.errors import InvalidInput
from index.schema import Labels

log = logging.getLogger("casebook.access")

ALGORITHMS = frozenset("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split())
"""Signatures by a private key. Never `none`; never HS…, where whoever can check can also sign, and
where the issuer's public key would pass for the secret."""

LEEWAY_SECONDS = 30.0
"""How far the issuer's clock may be from ours."""

KEPT_SECONDS = 300.0
"""How long the issuer's keys are believed, and so how long a withdrawn one still signs."""

UNKNOWN_KEY_SECONDS = 30.0
"""A token may name a key that the issuer has just begun to use, or one made up to make us ask: the
issuer is asked at most this often, and a new key counts after at most as long."""

RETRY_SECONDS = 5.0
"""How long an issuer that did not answer is left alone."""

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class _IssuerKeys:
    """The issuer's public keys as JWKs by `kid`, and when they were asked for."""

    by_id: Mapping[str, dict[str, Any]]
    fetched_at: float


class OidcVerifier:
    """Tells who a token of one issuer stands for. Safe to share between threads.

    Groups become labels by `labels_by_group`; without it each group is a label itself, and with it
    a group that it does not name is none. Members of `administrators` read and do everything.
    `team_claim` is the claim that names a person's team; a token without it is of no team.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        groups_claim: str = "groups",
        team_claim: str | None = None,
        labels_by_group: Mapping[str, Labels] | None = None,
        administrators: frozenset[str] = frozenset(),
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _may_be_asked(issuer):
            raise InvalidInput(f"the OIDC issuer {issuer!r} can't be used: give its https address")
        if not audience:
            raise InvalidInput(
                "the OIDC audience is empty: give the client id that tokens are made for"
            )
        self.issuer = issuer
        self.audience = audience
        self.groups_claim = groups_claim
        self.team_claim = team_claim
        self.labels_by_group = labels_by_group
        self.administrators = administrators
        self._client = client or httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: _IssuerKeys | None = None
        self._failure: tuple[float, str] | None = None
        self._jwt = jwt.PyJWT({"enforce_minimum_key_length": True})

    def caller(self, token: str) -> Caller:
        """Who the token stands for; raises `Refused`, or `SignInUnavailable` without the issuer."""
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            raise Refused(f"token: {type(error).__name__}") from error
        groups = self._groups(claims)
        return Caller(
            name=claims["sub"],
            labels=self._labels(groups),
            administrator=not groups.isdisjoint(self.administrators),
            kind="oidc",
            team=self._team(claims),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError
        key = self._key(header.get("kid"))
        if key.get("alg", algorithm) != algorithm:
            raise jwt.InvalidAlgorithmError
        claims: dict[str, Any] = self._jwt.decode(
            token,
            jwt.PyJWK(key, algorithm),
            algorithms=[algorithm],
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if not claims["sub"]:
            raise jwt.MissingRequiredClaimError("sub")
        return claims

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        stated = claims.get(self.groups_claim, [])
        groups = [stated] if isinstance(stated, str) else stated
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise Refused(f"token: its claim {self.groups_claim!r} is no list of names")
        return frozenset(group for group in groups if group)

    def _team(self, claims: Mapping[str, Any]) -> str:
        """The team that a token names; one that can't be read would let its holder pass a team's budget."""
        team = None if self.team_claim is None else claims.get(self.team_claim)
        if team is not None and not isinstance(team, str):
            raise Refused(f"token: its claim {self.team_claim!r} is no name")
        return team or ""

    def _labels(self, groups: frozenset[str]) -> Labels:
        if self.labels_by_group is None:
            return groups
        given = self.labels_by_group
        return frozenset(label for group in groups for label in given.get(group, ()))

    # --- the issuer's keys --------------------------------------------------------------------

    def _key(self, key_id: Any) -> dict[str, Any]:
        """The issuer's key of that id, or its only one for a token that names none."""
        known = self._keys
        if not known or not self._fresh(known) or not _pick(known, key_id):
            known = self._ask_again(known)
        if not (key := _pick(known, key_id)):
            raise Refused("token: it names a key that the issuer does not have")
        return key

    def _fresh(self, keys: _IssuerKeys) -> bool:
        return self._clock() - keys.fetched_at < KEPT_SECONDS

    def _ask_again(self, seen: _IssuerKeys | None) -> _IssuerKeys:
        """The issuer's keys, asked for anew unless that was just done; raises `SignInUnavailable`."""
        with self._lock:
            known, now = self._keys, self._clock()
            if known and known is not seen:  # another thread asked while this one waited
                return known
            if known and now - known.fetched_at < UNKNOWN_KEY_SECONDS:
                return known
            if self._failure and now - self._failure[0] < RETRY_SECONDS:
                raise SignInUnavailable(self._failure[1])
            try:
                self._keys = _IssuerKeys(self._fetch(), now)
            except SignInUnavailable as error:
                self._failure = (now, str(error))
                log.error("%s", error)
                raise
            return self._keys

    def _fetch(self) -> dict[str, dict[str, Any]]:
        """The issuer's signing keys, found by its discovery document (OIDC Discovery 1.0, 4)."""
        discovery = self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if discovery.get("issuer") != self.issuer:
            raise self._unavailable(f"it calls itself {discovery.get('issuer')!r}")
        address = discovery.get("jwks_uri")
        if not isinstance(address, str) or not _may_be_asked(address):
            raise self._unavailable(f"its jwks_uri {address!r} is no https address")
        keys = self._get(address).get("keys")
        if not isinstance(keys, list):
            raise self._unavailable(f"{address} holds no keys")
        return {
            str(key.get("kid", "")): key
            for key in keys
            if isinstance(key, dict)
            and key.get("kty") in ("RSA", "EC", "OKP")
            and key.get("use", "sig") == "sig"
        }

    def _get(self, address: str) -> dict[str, Any]:
        try:
            response = self._client.get(address)
            response.raise_for_status()
            found = response.json()
        except httpx.HTTPError as error:
            raise self._unavailable(f"{address}: {error or type(error).__name__}") from error
        except ValueError as error:
            raise self._unavailable(f"{address} answers with something else than JSON") from error
        if not isinstance(found, dict):
            raise self._unavailable(f"{address} answers with no JSON object")
        return found

    def _unavailable(self, why: str) -> SignInUnavailable:
        return SignInUnavailable(
            f"tokens can't be checked: the issuer {self.issuer} can't be asked ({why}): try again "
            "later, or sign in with an API key"
        )


def _pick(keys: _IssuerKeys, key_id: Any) -> dict[str, Any] | None:
    if key_id is None and len(keys.by_id) == 1:
        return next(iter(keys.by_id.values()))
    return keys.by_id.get(key_id) if isinstance(key_id, str) else None


def _may_be_asked(address: str) -> bool:
    """Whether what is read there can be believed: https, or this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))

"""OIDC tokens, checked against a real issuer on a local socket."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from assistant.access.authenticate import Authenticator, check_bind
from assistant.access.caller import Caller, Refused, SignInUnavailable, Unauthorized, anonymous
from assistant.access.oidc import OidcVerifier
from index.errors import InvalidInput

ANONYMOUS = anonymous(["public"])
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, key_id: str | None = "one", **members: str) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((kinds[kind] for kind in kinds if isinstance(key, kind)), OKPAlgorithm)
    found = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**found, **({"kid": key_id} if key_id else {}), **members}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Issuer:
    """An issuer: its keys, how often it was asked, and what it answers when told to misbehave."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA)]
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                status, body = issuer.answers.get(self.path) or issuer.answer(self.path)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        if path == "/.well-known/openid-configuration":
            found = {"issuer": self.address, "jwks_uri": f"{self.address}/keys"}
            return 200, json.dumps(found).encode()
        return (200, json.dumps({"keys": self.keys}).encode()) if path == "/keys" else (404, b"")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": "casebook",
            "sub": "ada",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "groups": ["sre"],
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def token(
        self, key: Any = RSA, algorithm: str = "RS256", key_id: str | None = "one", **changes: Any
    ) -> str:
        headers = {"kid": key_id} if key_id else {}
        return jwt.encode(self.claims(**changes), key, algorithm, headers)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(issuer: Issuer, clock: Clock) -> OidcVerifier:
    return OidcVerifier(issuer.address, "casebook", clock=clock)


def reason(verifier: OidcVerifier, token: str) -> str:
    with pytest.raises(Refused) as refused:
        verifier.caller(token)
    return str(refused.value).removeprefix("token: ")


# --- tokens that hold -------------------------------------------------------------------------


def test_a_token_of_the_issuer_signs_in(issuer: Issuer, verifier: OidcVerifier) -> None:
    authenticator = Authenticator(None, verifier, ANONYMOUS)
    caller = authenticator.caller(f"Bearer {issuer.token()}")
    assert caller == Caller("ada", frozenset({"sre", "public"}), False, "oidc")
    check_bind("0.0.0.0", authenticator)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")],
)
def test_private_key_signatures_hold(
    issuer: Issuer, verifier: OidcVerifier, key: Any, algorithm: str
) -> None:
    issuer.keys = [jwk(OTHER_RSA, "other"), jwk(key)]
    assert verifier.caller(issuer.token(key, algorithm)).name == "ada"


def test_a_token_without_a_key_id_is_checked_against_an_only_key(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    issuer.keys = [jwk(RSA, None), {"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]
    assert verifier.caller(issuer.token(key_id=None)).name == "ada"
    issuer.keys = [jwk(RSA, "one"), jwk(OTHER_RSA, "two")]
    clock.time += 301
    assert "does not have" in reason(verifier, issuer.token(key_id=None))


def test_a_clock_a_little_off_is_forgiven(issuer: Issuer, verifier: OidcVerifier) -> None:
    now = int(time.time())
    assert verifier.caller(issuer.token(exp=now - 10)).name == "ada"
    assert verifier.caller(issuer.token(nbf=now + 10, iat=now + 10)).name == "ada"


# --- groups -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "labels"),
    [
        (["sre", "legal"], {"sre", "legal"}),
        ("sre", {"sre"}),
        ([], set()),
        (None, set()),
        ("", set()),
    ],
)
def test_groups_are_labels_where_nothing_maps_them(
    issuer: Issuer, verifier: OidcVerifier, stated: Any, labels: set[str]
) -> None:
    assert verifier.caller(issuer.token(groups=stated)).labels == labels


@pytest.mark.parametrize("stated", [7, {"sre": True}, ["sre", 7], [["sre"]]])
def test_groups_of_another_shape_are_refused(
    issuer: Issuer, verifier: OidcVerifier, stated: Any
) -> None:
    assert "no list of names" in reason(verifier, issuer.token(groups=stated))


def test_only_mapped_groups_give_labels_and_only_named_ones_administer(issuer: Issuer) -> None:
    verifier = OidcVerifier(
        issuer.address,
        "casebook",
        groups_claim="roles",
        labels_by_group={"eng": frozenset({"sre", "platform"}), "hr": frozenset({"people"})},
        administrators=frozenset({"root"}),
    )
    caller = verifier.caller(issuer.token(roles=["eng", "people", "finance"]))
    assert caller.labels == {"sre", "platform"}
    assert not caller.administrator
    assert verifier.caller(issuer.token(roles="root")) == Caller("ada", frozenset(), True, "oidc")


def test_a_token_names_its_holders_team(issuer: Issuer) -> None:
    verifier = OidcVerifier(issuer.address, "casebook", team_claim="department")
    caller = Authenticator(None, verifier, ANONYMOUS).caller(
        f"Bearer {issuer.token(department='sre')}"
    )
    assert (caller.team, caller.labels) == ("sre", {"sre", "public"})
    assert verifier.caller(issuer.token()).team == ""
    for stated in (["sre"], 7, {"name": "sre"}, False):
        assert reason(verifier, issuer.token(department=stated)) == (
            "its claim 'department' is no name"
        )


def test_without_a_claim_for_it_nobody_has_a_team(issuer: Issuer, verifier: OidcVerifier) -> None:
    assert verifier.caller(issuer.token(team="sre")).team == ""


# --- tokens that do not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": 1_700_000_000}, "ExpiredSignatureError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"nbf": 9_000_000_000}, "ImmatureSignatureError"),
        ({"aud": "another"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"iss": "https://evil.example"}, "InvalidIssuerError"),
        ({"iss": None}, "MissingRequiredClaimError"),
        ({"sub": None}, "MissingRequiredClaimError"),
        ({"sub": ""}, "MissingRequiredClaimError"),
    ],
)
def test_a_token_that_is_not_for_us_or_not_for_now_is_refused(
    issuer: Issuer, verifier: OidcVerifier, changes: dict[str, Any], why: str
) -> None:
    assert reason(verifier, issuer.token(**changes)) == why


def unsafe(header: dict[str, Any], claims: dict[str, Any], secret: bytes = b"") -> str:
    """A token as an attacker would put it together, with an HMAC or no signature."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256) if secret else b""
    return f"{signed}.{part(mac)}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, ["RS256"], {}, 7])
def test_a_token_without_a_signature_is_refused(
    issuer: Issuer, verifier: OidcVerifier, algorithm: Any
) -> None:
    for header in ({"alg": algorithm, "kid": "one"}, {"kid": "one"}):
        assert reason(verifier, unsafe(header, issuer.claims())).endswith("Error")
    assert issuer.asked == []


def test_the_public_key_is_no_secret_to_sign_with(issuer: Issuer, verifier: OidcVerifier) -> None:
    public = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for secret in (public, json.dumps(issuer.keys[0]).encode()):
        token = unsafe({"alg": "HS256", "kid": "one"}, issuer.claims(), secret)
        assert reason(verifier, token) == "InvalidAlgorithmError"


def test_a_shared_secret_among_the_keys_signs_nothing(
    issuer: Issuer, verifier: OidcVerifier
) -> None:
    issuer.keys.append({"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"})
    for algorithm in ("HS256", "RS256"):
        token = unsafe({"alg": algorithm, "kid": "shared"}, issuer.claims(), b"secret")
        reason(verifier, token)


def test_another_key_than_the_issuers_signs_nothing(issuer: Issuer, verifier: OidcVerifier) -> None:
    assert reason(verifier, issuer.token(OTHER_RSA)) == "InvalidSignatureError"
    embedded = jwt.encode(
        issuer.claims(),
        OTHER_RSA,
        "RS256",
        {"kid": "one", "jwk": jwk(OTHER_RSA), "jku": f"{issuer.address}/evil"},
    )
    assert reason(verifier, embedded) == "InvalidSignatureError"
    assert "/evil" not in issuer.asked


def test_a_key_signs_only_what_it_is_for(issuer: Issuer, verifier: OidcVerifier) -> None:
    issuer.keys = [
        jwk(RSA, "for RS512", alg="RS512"),
        jwk(RSA, "for encryption", use="enc"),
        jwk(EC, "one"),
    ]
    assert reason(verifier, issuer.token(key_id="for RS512")) == "InvalidAlgorithmError"
    assert "does not have" in reason(verifier, issuer.token(key_id="for encryption"))
    assert reason(verifier, issuer.token(key_id="one")) == "InvalidKeyError"


def test_a_short_key_signs_nothing(issuer: Issuer, verifier: OidcVerifier) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.keys = [jwk(short)]
    with pytest.warns(UserWarning, match="2048"):
        token = issuer.token(short)
    assert reason(verifier, token) == "InvalidKeyError"


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "....", "e30.e30.", "é.é.é", "a" * 9000]
)
def test_what_is_no_token_is_refused(verifier: OidcVerifier, token: str) -> None:
    reason(verifier, token)


def test_a_changed_token_is_refused(issuer: Issuer, verifier: OidcVerifier) -> None:
    header, _, signature = issuer.token().split(".")
    _, claims, _ = issuer.token(groups=["root"]).split(".")
    assert reason(verifier, f"{header}.{claims}.{signature}") == "InvalidSignatureError"


# --- the issuer's keys ------------------------------------------------------------------------


def test_the_issuer_is_asked_once_in_five_minutes(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    for _ in range(5):
        verifier.caller(issuer.token())
        clock.time += 70
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    verifier.caller(issuer.token())
    assert issuer.asked.count("/keys") == 2


def test_a_withdrawn_key_signs_for_five_minutes_at_most(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    verifier.caller(issuer.token())
    issuer.keys = [jwk(OTHER_RSA, "two")]
    clock.time += 300
    assert "does not have" in reason(verifier, issuer.token())


def test_a_new_key_counts_as_soon_as_a_token_names_it(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    verifier.caller(issuer.token())
    clock.time += 31
    issuer.keys = [jwk(RSA), jwk(EC, "two")]
    assert verifier.caller(issuer.token(EC, "ES256", "two")).name == "ada"
    assert verifier.caller(issuer.token()).name == "ada"


def test_made_up_key_ids_do_not_hammer_the_issuer(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    for number in range(300):
        assert "does not have" in reason(verifier, issuer.token(key_id=f"made-up-{number}"))
        clock.time += 0.3
    assert issuer.asked.count("/keys") <= 90 / 30 + 1
    assert verifier.caller(issuer.token()).name == "ada"


def test_many_threads_ask_the_issuer_once(issuer: Issuer, verifier: OidcVerifier) -> None:
    token, names = issuer.token(), []
    threads = [
        threading.Thread(target=lambda: names.append(verifier.caller(token).name))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["ada"] * 16
    assert issuer.asked.count("/keys") == 1


# --- an issuer that can't be asked ------------------------------------------------------------


def test_an_issuer_that_is_gone_is_an_error_of_its_own_and_never_anonymous(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    token = issuer.token()
    authenticator = Authenticator(None, verifier, ANONYMOUS)
    issuer.answers["/keys"] = (500, b"")
    for _ in range(20):
        with pytest.raises(SignInUnavailable, match=issuer.address) as error:
            authenticator.caller(f"Bearer {token}")
        assert error.value.status == 503
        clock.time += 0.1
    assert issuer.asked.count("/keys") == 1
    issuer.answers.clear()
    clock.time += 5
    assert authenticator.caller(f"Bearer {token}").name == "ada"


def test_known_keys_serve_while_the_issuer_is_gone(
    issuer: Issuer, verifier: OidcVerifier, clock: Clock
) -> None:
    token, unknown = issuer.token(), issuer.token(key_id="two")
    verifier.caller(token)
    issuer.close()
    clock.time += 60
    with pytest.raises(SignInUnavailable):
        verifier.caller(unknown)
    assert verifier.caller(token).name == "ada"
    clock.time += 240
    with pytest.raises(SignInUnavailable):
        verifier.caller(token)


@pytest.mark.parametrize(
    ("path", "status", "body", "message"),
    [
        ("/.well-known/openid-configuration", 404, b"", "404"),
        ("/.well-known/openid-configuration", 200, b"<html>", "something else than JSON"),
        ("/.well-known/openid-configuration", 200, b"[]", "no JSON object"),
        (
            "/.well-known/openid-configuration",
            200,
            b'{"issuer": "https://x.example"}',
            "calls itself",
        ),
        ("/.well-known/openid-configuration", 302, b"http://127.0.0.1:1/", "302"),
        ("/keys", 200, b'{"keys": {}}', "holds no keys"),
        ("/keys", 200, b"\xff\xfe", "something else than JSON"),
    ],
)
def test_an_issuer_that_answers_nonsense_is_named(
    issuer: Issuer, verifier: OidcVerifier, path: str, status: int, body: bytes, message: str
) -> None:
    issuer.answers[path] = (status, body)
    with pytest.raises(SignInUnavailable, match=message):
        verifier.caller(issuer.token())


@pytest.mark.parametrize("address", ["http://198.51.100.1/keys", "file:///etc/passwd", 7, None])
def test_keys_are_read_from_nowhere_that_could_be_forged(
    issuer: Issuer, verifier: OidcVerifier, address: Any
) -> None:
    found = json.dumps({"issuer": issuer.address, "jwks_uri": address}).encode()
    issuer.answers["/.well-known/openid-configuration"] = (200, found)
    with pytest.raises(SignInUnavailable, match="no https address"):
        verifier.caller(issuer.token())


@pytest.mark.parametrize(
    "address", ["", "issuer", "http://issuer.invalid", "ftp://127.0.0.1", "https://"]
)
def test_an_issuer_must_be_an_https_address(address: str) -> None:
    with pytest.raises(InvalidInput, match="https"):
        OidcVerifier(address, "casebook")


def test_keys_and_tokens_do_not_stand_in_for_each_other(
    issuer: Issuer, verifier: OidcVerifier
) -> None:
    for authenticator in (
        Authenticator(None, None, ANONYMOUS),
        Authenticator(None, verifier, ANONYMOUS),
    ):
        with pytest.raises(Unauthorized):
            authenticator.caller("Bearer cbk_" + issuer.token())
    with pytest.raises(Unauthorized):
        Authenticator(None, None, ANONYMOUS).caller(f"Bearer {issuer.token()}")

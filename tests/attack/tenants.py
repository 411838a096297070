"""A service of two tenants on a real socket, and everybody who may come to it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi import FastAPI

from assistant.access.authenticate import Authenticator
from assistant.access.caller import anonymous
from assistant.access.keys import KeyStore
from assistant.access.oidc import OidcVerifier
from assistant.answering import Answering
from assistant.api import create_app
from assistant.assistant import Assistant
from assistant.freshness import Freshness
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.jobs import Jobs
from assistant.models import Models
from assistant.sources import Known, Sources
from assistant.telemetry import start
from assistant.telemetry.settings import TelemetrySettings
from index.reader import IndexReader
from ingest.access import AccessRules
from ingest.sources.folder import FolderSource
from ingest.sync import Report, Summary, Synced, sync
from tests.assistant.access.test_access_oidc import OTHER_RSA, Issuer
from tests.assistant.services import served
from tests.conftest import quiet

QUESTION = "Who unseals the production vault?"
"""What every document here speaks of, with words of its own."""


@dataclass(frozen=True)
class Tenant:
    """Documents of one label, or of none, and the words that stand in nobody else's: each in another
    place of a document, so that a leak tells where from.
    """

    name: str
    labels: frozenset[str]

    @property
    def words(self) -> tuple[str, ...]:
        """In the source's name, the path, the title, a heading, the text, a tag, the kind, a field."""
        places = ("source", "path", "title", "heading", "text", "tag", "kind", "field")
        return tuple(f"{self.name}{place}quartz" for place in places)

    @property
    def also(self) -> str:
        """Another label of the document, which nobody here holds: not even its readers are told of it."""
        return f"{self.name}labelquartz"

    @property
    def document(self) -> str:
        _, _, title, heading, text, tag, kind, field = self.words
        access = "" if self.labels else "access: []\n"
        return (
            f"---\nkind: {kind}\ntags: [{tag}]\nowner: {field}\n{access}---\n"
            f"# Production vault of {title}\n\n## Holders in {heading}\n\n"
            f"The production vault is unsealed by three of the five {text} card holders.\n"
        )


PUBLIC = Tenant("open", frozenset({"public"}))
ACME = Tenant("acme", frozenset({"tenant:acme"}))
BOLT = Tenant("bolt", frozenset({"tenant:bolt"}))
NOBODY = Tenant("sealed", frozenset())
TENANTS = (PUBLIC, ACME, BOLT, NOBODY)


@dataclass(frozen=True)
class Identity:
    """Someone who calls: what they send, whether it is accepted, and what they may do and read."""

    name: str
    sent: tuple[tuple[str, str | bytes], ...] = ()
    accepted: bool = True
    named: bool = True
    administrator: bool = False
    operator: bool = False
    reads: Sequence[Tenant] = (PUBLIC,)

    @property
    def hidden(self) -> list[bytes]:
        """The words that nothing sent to them may hold."""
        readable = self.reads if self.accepted else ()
        others = [tenant for tenant in TENANTS if tenant not in readable]
        words = [word for tenant in others for word in (*tenant.words, *tenant.labels)]
        unnamed = [] if self.administrator else [tenant.also for tenant in TENANTS]
        return [word.encode() for word in (*words, *unnamed)]


@dataclass
class Service:
    """The running service, its application, and who comes to it, by name."""

    address: str
    app: FastAPI
    identities: dict[str, Identity]
    jobs: Jobs
    job: str
    documents: dict[str, str]
    """Ids of the tenants' documents, by the tenant's name."""


@contextmanager
def two_tenants(folder: Path, models: Models) -> Iterator[Service]:
    """The service over a document of each tenant, with an administrator's key and an OIDC issuer."""
    index = folder / "index"
    sources = list(_sources(folder))
    for source in sources:
        sync([source], index, models.embedder, report=quiet)

    def ingest(names: Sequence[str] | None, report: Report) -> Summary:
        return sync(sources, index, models.embedder, report=report, all_there_are=True, wait=60)

    reader = IndexReader(index)
    assistant = Assistant(reader, models, Freshness(folder))
    jobs = Jobs(ingest, folder / "jobs.json")
    gateway = Gateway(GatewaySettings(ledger=folder / "usage.sqlite"))
    issuer = Issuer()
    store = KeyStore(folder / "keys.sqlite")
    verifier = OidcVerifier(issuer.address, "casebook", administrators=frozenset({"sre-leads"}))
    known = {source.source.name: Known("folder") for source in sources}
    app = create_app(
        Answering(assistant, gateway),
        jobs,
        Sources(reader, known),
        Authenticator(store, verifier, anonymous(PUBLIC.labels)),
    )
    start(TelemetrySettings()).instrument(app)
    people = {each.name: each for each in _identities(store, issuer)}
    ids = {row.title.split()[-1]: row.id for row in reader.current().documents}
    job = jobs.start()
    jobs.wait(job)
    try:
        with served(app) as address:
            documents = {each.name: ids[each.words[2]] for each in TENANTS}
            yield Service(address, app, people, jobs, job.id, documents)
    finally:
        issuer.close()


def _sources(folder: Path) -> Iterator[Synced]:
    for tenant in TENANTS:
        name, path, *_ = tenant.words
        place = folder / name
        place.mkdir()
        (place / f"{path}.md").write_text(tenant.document, encoding="utf-8")
        yield Synced(
            FolderSource(name, (place,), folder), AccessRules(tenant.labels | {tenant.also})
        )


def _identities(store: KeyStore, issuer: Issuer) -> Iterator[Identity]:
    """Who may come, and whoever should not."""
    yield Identity("nobody", named=False)
    for name, *sent in _malformed(store):
        yield Identity(name, tuple(("Authorization", value) for value in sent), accepted=False)
    for name, token in _tokens_that_do_not_hold(issuer):
        yield Identity(name, _bearer(token), accepted=False)
    store.create("gone", ["public", "tenant:acme"], administrator=True)
    gone = store.create("revoked", ["public", "tenant:acme"], administrator=True).secret
    store.revoke("revoked")
    yield Identity("a revoked key", _bearer(gone), accepted=False)
    now = datetime.now(UTC)
    then = KeyStore(store.path, lambda: now - timedelta(days=2))
    yesterday = now - timedelta(days=1)
    old = then.create("old", ["tenant:acme"], administrator=True, expires_at=yesterday).secret
    yield Identity("an expired key", _bearer(old), accepted=False)
    # --- who is accepted
    reader = store.create("reader", ["public"]).secret
    yield Identity("a reader", _bearer(reader))
    acme = store.create("acme-ci", ["tenant:acme"]).secret
    yield Identity("a tenant", _bearer(acme), reads=(PUBLIC, ACME))
    bolt = issuer.token(sub="bolt-person", groups=["tenant:bolt"])
    yield Identity("the other tenant, by token", _bearer(bolt), reads=(PUBLIC, BOLT))
    operator = store.create("operator", ["casebook:operator"]).secret
    yield Identity("an operator", _bearer(operator), operator=True)
    root = store.create("root", [], administrator=True).secret
    everything = {"administrator": True, "operator": True, "reads": TENANTS}
    yield Identity("an administrator", _bearer(root), **everything)  # type: ignore[arg-type]
    lead = issuer.token(sub="lead", groups=["sre-leads"])
    yield Identity("an administrator, by token", _bearer(lead), **everything)  # type: ignore[arg-type]


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer {secret}"),)


def _malformed(store: KeyStore) -> Iterator[tuple[str | bytes, ...]]:
    """Headers that are none: a name, and the values sent. Those with a key in them hold a good one."""
    key = store.create("for-headers", ["tenant:acme"], administrator=True).secret
    yield "an empty header", ""
    yield "only the scheme", "Bearer"
    yield "another scheme", f"Basic {key}"
    yield "no scheme", key
    yield "two keys in one header", f"Bearer {key}, Bearer {key}"
    yield "two headers", f"Bearer {key}", f"Bearer {key}"
    yield "a header and an empty one", f"Bearer {key}", ""
    yield "something behind the key", f"Bearer {key} x"
    yield "a tab before the key", f"Bearer\t{key}"
    yield "a quoted key", f'Bearer "{key}"'
    yield "a key cut off", f"Bearer {key[:-1]}"
    yield "a key with another end", f"Bearer {key[:-1]}{'a' if key[-1] != 'a' else 'b'}"
    yield "a key in capitals", f"Bearer {key.upper()}"
    yield "a key of nobody", "Bearer cbk_00000000_" + "0" * 49
    yield "bytes that are no text", b"Bearer \xff\xfe\xe9"
    yield "a long header", "Bearer " + "a" * 20_000


def _tokens_that_do_not_hold(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Tokens of an administrator, if only they held."""
    leads = {"groups": ["sre-leads"]}
    past = int(time.time()) - 3600
    yield "an expired token", issuer.token(exp=past, iat=past - 60, nbf=past - 60, **leads)
    yield "a token not valid yet", issuer.token(nbf=past + 7200, **leads)
    yield "a token for another service", issuer.token(aud="wiki", **leads)
    yield "a token of another issuer", issuer.token(iss="http://127.0.0.1:1", **leads)
    yield "a token signed by another", issuer.token(OTHER_RSA, **leads)
    yield "an unsigned token", issuer.token(None, "none", **leads)
    head, body, signature = issuer.token(groups=["tenant:acme"]).split(".")
    _, forged, _ = issuer.token(**leads).split(".")
    yield "a token with other claims", f"{head}.{forged}.{signature}"
    yield "a token without its signature", f"{head}.{body}."

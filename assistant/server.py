"""The server process: one assistant, its models loaded, behind uvicorn."""

import logging
import socket
import sys
from datetime import timedelta

import uvicorn

from assistant.access.authenticate import Authenticator, check_bind
from assistant.access.caller import anonymous
from assistant.access.keys import KeyStore
from assistant.admission import Admission
from assistant.answering import Answering
from assistant.api import create_app
from assistant.assistant import Assistant, open_assistant
from assistant.draining import DrainingServer
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.ingestion import ingest
from assistant.jobs import Jobs
from assistant.settings import Settings
from assistant.sources import Sources, known_sources, targets
from assistant.telemetry import start as start_telemetry
from assistant.tls import open_certificate
from assistant.watch import Watch, Watched
from index.errors import Busy, IndexUnavailable
from ingest.sources.settings import FolderEntry

EVERY = timedelta(hours=1)
"""Time between two syncs of a remote source that has no schedule of its own."""

WAIT = 600.0
"""Seconds that a job waits for another process, say `casebook ingest`, to be done with the index."""


def run(settings: Settings, *, watching: bool = False) -> None:
    """Serve until stopped; raises `Busy` where the port is taken, `InvalidInput` for an address that others
    can reach while nobody can sign in.

    A missing index is no reason not to start: `POST /ingest` can build it. Until then questions
    get a 503 that says so.
    """
    authenticator = open_authenticator(settings)
    check_bind(settings.host, authenticator)
    tls = open_certificate(settings.tls_certificate, settings.tls_key)
    listener = _listen(settings.host, settings.port)
    telemetry = start_telemetry(settings.telemetry)
    assistant = open_assistant(settings)
    try:
        assistant.ready()
    except IndexUnavailable as error:
        print(f"casebook: {error}", file=sys.stderr, flush=True)
    jobs = Jobs(
        lambda names, report: ingest(settings, assistant.embedder, report, names, WAIT),
        settings.index.parent / "jobs.json",
    )
    watch = _watch(settings, jobs, assistant) if watching else None
    sources = Sources(
        assistant.reader,
        known_sources(settings),
        watch.next_run if watch else lambda name: None,
    )
    admission = Admission(settings.limits)
    answering = Answering(assistant, _gateway(settings.gateway), admission)
    app = create_app(answering, jobs, sources, authenticator, [settings.host, *settings.hosts])
    telemetry.instrument(app)
    due = targets(settings, EVERY if watching else None)
    telemetry.show(assistant.reader, answering.gateway, due)
    assistant.warm_up()
    jobs.resume()
    if watch:
        watch.start()
    host, port = listener.getsockname()[:2]
    print(f"Casebook is ready: http{'s' if tls else ''}://{host}:{port}", flush=True)
    config = uvicorn.Config(
        app,
        log_config=None,  # its lines go where ours go
        log_level=logging.WARNING,
        server_header=False,
        ssl_context_factory=(lambda *_: tls.context()) if tls else None,
    )
    DrainingServer(config, admission).run(sockets=[listener])


def _gateway(settings: GatewaySettings) -> Gateway:
    gateway = Gateway(settings)
    if gateway.unpriced and any(budget.dollars is not None for budget in settings.budgets):
        print(
            f"casebook: no price is known of {', '.join(gateway.unpriced)}, so budgets in dollars do "
            "not bind it: give the model a `price`",
            file=sys.stderr,
            flush=True,
        )
    return gateway


def open_authenticator(settings: Settings) -> Authenticator:
    """Sign-in as the settings have it."""
    oidc = None
    if settings.oidc:
        from assistant.access.oidc import OidcVerifier

        by_group = settings.oidc.labels_by_group
        oidc = OidcVerifier(
            settings.oidc.issuer,
            settings.oidc.audience,
            groups_claim=settings.oidc.groups_claim,
            team_claim=settings.oidc.team_claim,
            labels_by_group={group: frozenset(labels) for group, labels in by_group.items()}
            if by_group is not None
            else None,
            administrators=frozenset(settings.oidc.administrators),
        )
    # With a name for others it is reached by them, through a proxy, whatever it listens on.
    host = None if settings.hosts else settings.host
    return Authenticator(
        KeyStore(settings.keys), oidc, anonymous(settings.anonymous_access), host=host
    )


def _watch(settings: Settings, jobs: Jobs, assistant: Assistant) -> Watch:
    """Folders by their files, other sources by their schedule, or hourly."""
    watched = [
        Watched(entry.name, entry.every.total_seconds() if entry.every else None, (entry.path,))
        if isinstance(entry, FolderEntry)
        else Watched(entry.name, (entry.every or EVERY).total_seconds())
        for entry in settings.sources
    ]
    if settings.corpus_paths:
        watched.append(Watched("", None, tuple(settings.corpus_paths)))

    def failed(name: str) -> bool:
        return bool(assistant.reader.catalog.source_statuses().get(name, {}).get("error"))

    return Watch(watched, jobs, failed)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Busy(
            f"can't listen on {host}:{port} ({error.strerror}): stop what uses it, or choose "
            "another with --port (0 takes any that is free)"
        ) from error
    return listener

"""The server process: one assistant, its models loaded, behind uvicorn."""

import logging
import socket
import sys
from pathlib import Path

import uvicorn

from assistant.api import create_app
from assistant.assistant import Assistant, open_assistant
from assistant.jobs import Jobs
from assistant.settings import Settings
from index.errors import Busy, IndexUnavailable
from ingest.sync import Report, Summary, sync


def run(settings: Settings) -> None:
    """Serve until stopped; raises `Busy` where the port is taken.

    A missing index is no reason not to start: `POST /ingest` can build it. Until then questions
    get a 503 that says so.
    """
    listener = _listen(settings.host, settings.port)
    assistant = open_assistant(settings)
    try:
        assistant.ready()
    except IndexUnavailable as error:
        print(f"casebook: {error}", file=sys.stderr, flush=True)
    app = create_app(assistant, Jobs(lambda report: _ingest(settings, assistant, report)))
    host, port = listener.getsockname()[:2]
    print(f"Casebook is ready: http://{host}:{port}", flush=True)
    config = uvicorn.Config(
        app, log_level=logging.WARNING, timeout_graceful_shutdown=20, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listener])


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


def _ingest(settings: Settings, assistant: Assistant, report: Report) -> Summary:
    return sync(
        settings.corpus,
        settings.index,
        assistant.embedder,
        base=Path.cwd(),
        default_access=frozenset(settings.default_access),
        report=report,
    )

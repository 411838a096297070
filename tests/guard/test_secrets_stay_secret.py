"""Secrets that were sown everywhere come up nowhere: no answer, header, log, file or error holds one."""

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from assistant.access.keys import KeyStore
from tests.assistant.access.test_access_oidc import Issuer
from tests.conftest import ROOT, World, casebook
from tests.guard.servers import served

pytestmark = pytest.mark.slow

SIGNS = "/+=?&"
"""Written differently in a URL, in base64 and in JSON: a search for one form would not find another."""

LOUD = """import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("openai", "anthropic", "httpx2", "httpcore2"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""
"""`sitecustomize.py` of the servers: every logger at its most talkative, before Casebook is loaded."""


def forms(secret: str) -> set[bytes]:
    """A secret as it is, quoted, in JSON, and in base64 wherever it begins among the bytes encoded."""
    found = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    raw = secret.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + raw).decode()
        found.add(encoded[4 if offset else 0 : -4])
        found.add(encoded[4 if offset else 0 : -4].replace("+", "-").replace("/", "_"))
    return {each.encode() for each in found}


@dataclass
class Sown:
    """The secrets by name, and everything that came out, by where it did."""

    secrets: dict[str, str]
    out: dict[str, bytes] = field(default_factory=dict)

    def keep(self, where: str, content: bytes | str) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.out[where] = self.out.get(where, b"") + b"\n" + content

    def found(self) -> list[str]:
        """Which secret came up where."""
        return [
            f"{name} in {where}"
            for name, secret in self.secrets.items()
            for where, content in self.out.items()
            if any(form in content for form in forms(secret))
        ]


class Echo:
    """A stranger who answers each request with an error that repeats all of it, headers first."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                said = f"{self.requestline}\n{self.headers}\n{body.decode()}"
                echo.seen.append(said)
                status = int((re.search(r"/(\d{3})/", self.path) or ["", "401"])[1])
                error = json.dumps(
                    {"error": {"message": said, "type": said}, "errorMessages": [said]}
                )
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"/401/?{said[:300]}".splitlines()[0])
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", str(len(error.encode())))
                self.end_headers()
                self.wfile.write(error.encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


def settings(folder: Path, echo: Echo, issuer: Issuer, secrets: dict[str, str]) -> str:
    """A `casebook.toml` in which every credential that can be configured is."""
    models = "".join(
        f"""
        [[gateway.models]]
        name = "echo{status}-{how}"
        model = "m"
        address = "http://{echo.host}/{status}/v1"
        {f'key_file = "{folder}/secrets/provider"' if how == "file" else 'key_env = "PROVIDER_KEY"'}
        """
        for status, how in ((401, "file"), (400, "env"), (500, "file"), (302, "env"))
    )
    password = quote(secrets["git password"], safe="")
    return f"""
        corpus = ["docs"]
        index = "index/index"
        keys = "keys.sqlite"
        [oidc]
        issuer = "{issuer.address}"
        audience = "casebook"
        [gateway]
        ledger = "usage.sqlite"
        timeouts = {{ total = 8 }}
        budgets = [{{ per = "all", requests = 1 }}]
        alerts = {{ url_file = "{folder}/secrets/hook", at = [0.1] }}
        {models}
        [[sources]]
        name = "docs"
        type = "folder"
        path = "docs"
        access = ["public"]
        [[sources]]
        name = "git-url"
        type = "git"
        url = "http://robot:{password}@{echo.host}/acme/a.git"
        [[sources]]
        name = "git-file"
        type = "history"
        url = "http://{echo.host}/acme/b.git"
        token_file = "{folder}/secrets/git"
        [[sources]]
        name = "jira"
        type = "jira"
        base_url = "http://{echo.host}/401"
        project = "OPS"
        email = "bot@acme.example"
        token_file = "{folder}/secrets/jira"
        allow_private = true
        [[sources]]
        name = "web"
        type = "web"
        pages = ["http://{echo.host}/302/page"]
        allow_private = true
        delay = 0
    """


def ask_all(sown: Sown, address: str, headers: dict[str, dict[str, str]]) -> None:
    """Every route that anything comes out of, as everybody, rightly and wrongly."""
    ask = {"question": "How often does the restore drill run?", "explain": True}
    chat = {"model": "casebook", "messages": [{"role": "user", "content": ask["question"]}]}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/ask", ask),
        ("POST", "/v1/chat/completions", chat),
        ("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        ("POST", "/ask", {"question": 7}),
        *(("GET", path, None) for path in ("/sources", "/me", "/usage", "/usage.csv", "/metrics")),
        *(("GET", path, None) for path in ("/status", "/openapi.json", "/documents", "/nothing")),
    ]
    with httpx.Client(base_url=address, timeout=60) as client:
        for who, sent in headers.items():
            for method, path, body in requests:
                response = client.request(method, path, json=body, headers=sent)
                sown.keep(f"{method} {path} as {who}", f"{response.headers}\n{response.text}")


def ingest(sown: Sown, address: str, headers: dict[str, str]) -> None:
    """Sync all sources, of which all but one refuse, and look at how it went until it is over."""
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        started = client.post("/ingest")
        assert started.status_code == 202, started.text
        for _ in range(600):
            job = client.get(started.headers["location"])
            if job.json()["state"] != "running":
                break
            time.sleep(0.2)
        sown.keep("the job", job.text)
        assert "401" in job.text or "can't be reached" in job.text, job.text


def test_no_secret_comes_out_anywhere(world: World, echo: Echo, issuer: Issuer) -> None:
    folder = world.base
    names = (
        "provider",
        "provider env",
        "hook",
        "git",
        "git password",
        "jira",
        "bucket",
        "bucket id",
    )
    secrets = {name: f"sow{n}{SIGNS}{os.urandom(9).hex()}" for n, name in enumerate(names)}
    store = KeyStore(folder / "keys.sqlite")
    root = store.create("root", ["public"], administrator=True).secret
    token = issuer.token(groups=["public"])
    expired = issuer.token(groups=["public"], exp=1)
    sown = Sown({**secrets, "root": root, "token": token, "expired": expired})

    (folder / "secrets").mkdir()
    for name in ("provider", "git", "jira"):
        (folder / "secrets" / name).write_text(f"{secrets[name]}\n")
    hook = f"http://{echo.host}/500/{quote(secrets['hook'], safe='')}"
    (folder / "secrets" / "hook").write_text(hook)
    (folder / "loud").mkdir()
    (folder / "loud" / "sitecustomize.py").write_text(LOUD)
    (folder / "casebook.toml").write_text(settings(folder, echo, issuer, secrets))
    world.write("drill.md", "# Restore drill\n\nThe restore drill runs every quarter.\n")
    environment = {
        "PROVIDER_KEY": secrets["provider env"],
        "AWS_SECRET_ACCESS_KEY": secrets["bucket"],
        "AWS_ACCESS_KEY_ID": secrets["bucket id"],
        "PYTHONPATH": os.pathsep.join([str(folder / "loud"), str(ROOT)]),
    }
    said = casebook("ingest", cwd=folder, **environment)
    sown.keep("casebook ingest", said.stdout + said.stderr)
    assert "DEBUG" in said.stderr
    headers = {
        "nobody": {},
        "root": {"Authorization": f"Bearer {root}"},
        "person": {"Authorization": f"Bearer {token}"},
        "expired": {"Authorization": f"Bearer {expired}"},
        "mistyped": {"Authorization": f"Bearer {root[:-1]}x"},
        "wrong scheme": {"Authorization": f"Basic {root}"},
    }
    with served(folder, **environment) as server:
        ask_all(sown, server.address, headers)
        ingest(sown, server.address, headers["root"])
        ask_all(sown, server.address, headers)
    sown.keep("the server's output", server.output)
    for command in (("usage", "--csv"), ("sources",), ("ask", "How often does the drill run?")):
        said = casebook(*command, cwd=folder, **environment)
        sown.keep(f"casebook {' '.join(command)}", said.stdout + said.stderr)
    left_out = {folder / "casebook.toml", *(folder / "secrets").iterdir()}
    for file in folder.rglob("*"):
        if file.is_file() and file not in left_out:
            sown.keep(f"file {file.relative_to(folder)}", file.read_bytes())

    seen = "\n".join(echo.seen).encode()
    for name in ("provider", "provider env", "hook", "git", "git password", "jira"):
        assert any(form in seen for form in forms(secrets[name])), f"{name} was never used"
    assert "DEBUG" in server.output
    assert any(where.startswith("file ") and "usage.sqlite" in where for where in sown.out)
    assert sown.found() == []


def test_the_search_itself_finds_every_form() -> None:
    secret = f"sow1{SIGNS}0123456789abcdef01"
    for hidden in (
        secret.encode(),
        quote(secret, safe="").encode(),
        base64.b64encode(f"user:{secret}".encode()),
        base64.b64encode(f"bot@acme.example:{secret}:".encode()),
        base64.urlsafe_b64encode(f"a:{secret}".encode()),
        json.dumps({"key": secret}).encode(),
    ):
        sown = Sown({"it": secret})
        sown.keep("here", b"before " + hidden + b" after")
        assert sown.found() == ["it in here"], hidden

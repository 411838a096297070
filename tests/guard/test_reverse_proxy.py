"""The reverse proxy of docs/security.md, run as it is written there, before a real server."""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from tests.conftest import ROOT
from tests.guard.servers import served

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
NAME = "casebook.example"
QUESTION = {"question": "What coordinates backup and restore actions?"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light"),
]


@dataclass
class Proxy:
    """Where nginx listens, what to trust, and a client that finds the documented name there."""

    port: int
    trust: ssl.SSLContext

    def client(self, name: str = NAME) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": name},
            verify=self.trust,
            timeout=60,
        )


def documented() -> str:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[int]:
    """nginx with the documented block, its addresses and files put in the place of those of the document."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    block = documented()
    for old, new in (
        ("server 127.0.0.1:8000;", f"server {upstream};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/casebook/", f"{folder}/"),
    ):
        assert old in block
        block = block.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser root;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{block}}}\n"
    )
    process = subprocess.Popen(
        [str(NGINX), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def proxy(case_studies_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", NAME)
    (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    (folder / "tls.key").write_bytes(leaf.private_key_pem.bytes())
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with (
        served(
            ROOT,
            CASEBOOK_INDEX=str(case_studies_index),
            CASEBOOK_KEYS=str(folder / "keys.sqlite"),
            CASEBOOK_HOSTS=f'["{NAME}"]',
        ) as server,
        nginx(folder, server.address.removeprefix("http://")) as port,
    ):
        yield Proxy(port, trust)


def test_pages_and_answers_come_through(proxy: Proxy) -> None:
    with proxy.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert page.headers["strict-transport-security"]
        assert page.headers["content-security-policy"]
        own = {"Origin": f"https://{NAME}"}
        answer = client.post("/ask", json=QUESTION, headers=own)
        assert answer.json()["status"] == "answered", answer.text


def test_events_come_through_as_they_are(proxy: Proxy) -> None:
    stream = {"Accept": "text/event-stream"}
    with (
        proxy.client() as client,
        client.stream("POST", "/ask", json=QUESTION, headers=stream) as r,
    ):
        assert r.headers["content-type"].startswith("text/event-stream")
        told = [line for line in r.iter_lines() if line.startswith("event: ")]
    assert told[0] == "event: citations"
    assert told[-1] == "event: answer"


def test_whoever_comes_through_the_proxy_is_no_administrator(proxy: Proxy) -> None:
    """The service listens on this machine alone and has no key yet, but others reach it."""
    with proxy.client() as client:
        assert client.get("/me").json()["administrator"] is False
        assert client.post("/ingest").status_code == 401


def test_what_the_service_would_refuse_is_refused(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.post("/ask", content=b"x" * (1024 * 1024 + 1)).status_code == 413
        assert (
            client.get("/documents", headers={"Origin": "https://evil.example"}).status_code == 403
        )
    with proxy.client("evil.example") as client:
        assert client.get("/documents").status_code == 421

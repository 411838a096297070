"""Secrets from files: read when they are used, exchanged under a running service, and never repeated."""

import base64
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from assistant.gateway.settings import Alerts
from index.secret_file import MOST, NoSecret, SecretFile
from ingest.sources.history import HistorySettings, HistorySource
from ingest.sources.settings import Entry, GitEntry
from ingest.sources.source import SourceUnavailable
from tests.assistant.gateway.misbehaving import Misbehaving
from tests.conftest import ROOT
from tests.guard.servers import served

TRUE = "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]."


def mounted(folder: Path, *versions: str) -> tuple[Path, list[Path]]:
    """A secret as Kubernetes mounts it: `key -> ..data/key`, and `..data` a link to one of the versions."""
    folders = []
    for number, content in enumerate(versions):
        version = folder / f"..version{number}"
        version.mkdir(parents=True)
        (version / "key").write_text(content)
        (version / "key").chmod(0o600)
        folders.append(version)
    (folder / "..data").symlink_to(folders[0].name)
    (folder / "key").symlink_to("..data/key")
    return folder / "key", folders


def exchange(folder: Path, version: Path) -> None:
    """Point the link elsewhere in one step, as the kubelet does."""
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")


def test_a_secret_is_read_each_time(tmp_path: Path) -> None:
    key, versions = mounted(tmp_path, "one\n", "two")
    secret = SecretFile(key, "a key")
    assert secret.read() == "one"
    exchange(tmp_path, versions[1])
    assert secret.read() == "two"
    (versions[1] / "key").write_text("six")  # of the same length, within a tick of the clock
    assert secret.read() == "six"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "does not hold a key"),
        (b" \n", "does not hold a key"),
        (b"hunter2\nhunter3", "does not hold a key"),
        (b"hunter2 hunter3", "does not hold a key"),
        (b"hunter2\x00", "does not hold a key"),
        (b"hunter2\xff", "does not hold a key"),
        (b"hunter2" * MOST, "too long"),
    ],
)
def test_what_is_no_secret_is_told_with_its_place_and_not_repeated(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NoSecret, match=told) as raised:
        SecretFile(file, "a key").read()
    assert str(file) in str(raised.value)
    assert "hunter" not in repr(raised.value)
    assert raised.value.__cause__ is None


def test_a_folder_or_an_endless_file_is_no_secret(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(NoSecret):
            SecretFile(path, "a key").read()


def test_a_file_that_everybody_can_read_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text("hunter2")
    secret = SecretFile(file, "a key")
    for mode, told in ((0o644, 1), (0o644, 1), (0o640, 1), (0o604, 2)):
        file.chmod(mode)
        assert secret.read() == "hunter2"
        assert caplog.text.count(f"the permissions of {file} let every user") == told
    assert "hunter2" not in caplog.text


@pytest.mark.slow
def test_a_providers_key_is_exchanged_under_a_running_server(
    case_studies_index: Path, tmp_path: Path
) -> None:
    key, versions = mounted(tmp_path / "secret", "sk-old-4711", "sk-new-0815")
    with Misbehaving("usage", answers=lambda body: TRUE) as provider:
        model = {"name": "m", "model": "m", "address": provider.address, "key_file": str(key)}
        gateway = {"models": [model], "ledger": str(tmp_path / "usage.sqlite"), "cache": 0}
        with served(
            ROOT, CASEBOOK_INDEX=str(case_studies_index), CASEBOOK_GATEWAY=json.dumps(gateway)
        ) as server:

            def ask() -> tuple[str, list[str]]:
                before = len(provider.exchanges)
                body = {"question": "What coordinates backup and restore actions?"}
                answer = httpx.post(f"{server.address}/ask", json=body, timeout=60).json()
                sent = [each.authorization for each in provider.exchanges[before:]]
                return answer["mode"], sent

            assert ask() == ("generated", ["Bearer sk-old-4711"])
            exchange(tmp_path / "secret", versions[1])
            (versions[0] / "key").unlink()
            for _ in range(3):
                assert ask() == ("generated", ["Bearer sk-new-0815"])
            (versions[1] / "key").write_text("")
            assert ask() == ("extractive", [])
            (versions[1] / "key").write_text("sk-newest")
            assert ask() == ("generated", ["Bearer sk-newest"])
        assert f"{key} does not hold the key of model 'm'" in server.output
        assert "sk-" not in server.output


@contextmanager
def closed_repository() -> Iterator[tuple[str, list[str]]]:
    """The URL of a repository that lets nobody in, and the users and passwords that were tried."""
    tried: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            if scheme == "Basic":
                tried.append(base64.b64decode(encoded).decode())
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/acme/closed.git", tried
        server.shutdown()


def test_a_repositorys_token_is_read_at_each_sync(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with closed_repository() as (url, tried):
        source = HistorySource("h", HistorySettings(url, token_file=token), tmp_path / "copy")
        for content in ("glpat-old", "glpat-new"):
            token.write_text(content)
            with pytest.raises(SourceUnavailable, match="token_file") as raised:
                source.list()
            assert "glpat" not in str(raised.value)
        token.unlink()
        with pytest.raises(SourceUnavailable, match="No such file"):
            source.list()
        named = url.replace("://", "://deploy@")
        token.write_text("glpat-named")
        source = HistorySource("h", HistorySettings(named, token_file=token), tmp_path / "copy")
        with pytest.raises(SourceUnavailable):
            source.list()
    assert list(dict.fromkeys(tried)) == [
        "x-access-token:glpat-old",
        "x-access-token:glpat-new",
        "deploy:glpat-named",
    ]
    kept = [file.read_bytes() for file in (tmp_path / "copy").rglob("*") if file.is_file()]
    assert kept
    assert not any(b"glpat" in each for each in kept)


def test_a_repository_has_one_password() -> None:
    def entry(url: str) -> GitEntry:
        stated = {"type": "git", "name": "g", "url": url, "token_file": "/run/secrets/git"}
        found = TypeAdapter(Entry).validate_python(stated)
        assert isinstance(found, GitEntry)
        return found

    assert entry("https://deploy@git.example/a.git").token_file == Path("/run/secrets/git")
    assert entry("https://git.example/a:b@c.git").token_file
    for url in ("https://u:p@git.example/a.git", "git@git.example:a.git", "/srv/a.git"):
        with pytest.raises(ValidationError, match="token_file"):
            entry(url)


def test_a_webhook_has_one_address() -> None:
    assert Alerts(url_file=Path("/run/secrets/hook")).url_env is None
    for both in ({}, {"url_env": "HOOK", "url_file": "/run/secrets/hook"}):
        with pytest.raises(ValidationError, match="url_env or url_file"):
            Alerts.model_validate(both)


def test_a_key_that_is_not_there_at_the_start_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from assistant.gateway.pydantic_ai_provider import LibraryProvider
    from assistant.gateway.settings import ModelEntry, Timeouts

    entry = ModelEntry(name="m", model="m", key_file=tmp_path / "absent")
    with caplog.at_level(logging.ERROR):
        LibraryProvider(entry, Timeouts())
    assert "key of model 'm'" in caplog.text
    assert "`key_file`" in caplog.text

"""TLS by certificate files: exchanged under a running server, and never worse than what was there."""

import logging
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from assistant.settings import load_settings
from assistant.tls import AHEAD, Certificate, open_certificate
from index.errors import InvalidInput
from tests.guard.servers import over_tls


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


class Files:
    """A certificate and its key where a server looks for them, issued by one authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"

    def issue(self, days: float = 60, of: float = 90) -> trustme.LeafCert:
        """A new pair that ends in some days of all that it holds for."""
        ends = datetime.now(UTC) + timedelta(days=days)
        return self.authority.issue_cert(
            "127.0.0.1", "localhost", not_before=ends - timedelta(days=of), not_after=ends
        )

    def put(self, leaf: trustme.LeafCert) -> trustme.LeafCert:
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        self.key.write_bytes(leaf.private_key_pem.bytes())
        return leaf

    def connect(self, port: int, name: str | None = "localhost", **versions: Any) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        context.check_hostname = name is not None
        for setting, value in versions.items():
            setattr(context, setting, value)
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        return context.wrap_socket(plain, server_hostname=name)


def serial(connection: ssl.SSLSocket) -> int:
    presented = connection.getpeercert(binary_form=True)
    assert presented
    return x509.load_der_x509_certificate(presented).serial_number


def serial_of(leaf: trustme.LeafCert) -> int:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number


def ask(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    said = b""
    while not said.endswith(b"\r\n\r\nok"):
        more = connection.recv(1000)
        assert more
        said += more
    return said[:15]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def served(files: Files) -> Iterator[tuple[Files, trustme.LeafCert, int]]:
    first = files.put(files.issue())
    with over_tls(echo, Certificate(files.certificate, files.key)) as port:
        yield files, first, port


def test_new_connections_get_the_new_certificate_and_old_ones_live_on(
    served: tuple[Files, trustme.LeafCert, int],
) -> None:
    files, first, port = served
    with files.connect(port) as old:
        assert ask(old) == b"HTTP/1.1 200 OK"
        assert serial(old) == serial_of(first)
        second = files.put(files.issue())
        with files.connect(port) as new, files.connect(port, name=None) as unnamed:
            assert serial(new) == serial(unnamed) == serial_of(second) != serial_of(first)
            assert ask(new) == ask(old) == ask(unnamed) == b"HTTP/1.1 200 OK"


def test_a_link_that_kubernetes_points_elsewhere_is_followed(files: Files, tmp_path: Path) -> None:
    """A mounted secret is `tls.crt -> ..data/tls.crt`, and `..data` a link that is replaced as a whole."""
    leaves = [files.issue(), files.issue()]
    for number, leaf in enumerate(leaves):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "tls.crt").write_bytes(leaf.cert_chain_pems[0].bytes())
        (folder / "tls.key").write_bytes(leaf.private_key_pem.bytes())
    (tmp_path / "..data").symlink_to("..0")
    for file in (files.certificate, files.key):
        file.symlink_to(f"..data/{file.name}")
    with over_tls(echo, Certificate(files.certificate, files.key)) as port:
        with files.connect(port) as old:
            assert serial(old) == serial_of(leaves[0])
        (tmp_path / "..new").symlink_to("..1")
        (tmp_path / "..new").replace(tmp_path / "..data")
        with files.connect(port) as new:
            assert serial(new) == serial_of(leaves[1])


@pytest.mark.parametrize(
    "broken", ["other_certificate", "half_certificate", "half_key", "empty", "gone"]
)
def test_what_cannot_be_used_leaves_the_former_pair_and_is_told_once(
    served: tuple[Files, trustme.LeafCert, int], broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    files, first, port = served
    second = files.issue()
    chain = second.cert_chain_pems[0].bytes()
    match broken:
        case "other_certificate":  # whose key has yet to be written
            files.certificate.write_bytes(chain)
        case "half_certificate":
            files.certificate.write_bytes(chain[: len(chain) // 2])
        case "half_key":
            files.certificate.write_bytes(chain)
            files.key.write_bytes(second.private_key_pem.bytes()[:60])
        case "empty":
            files.certificate.write_bytes(b"")
        case "gone":
            files.key.unlink()
    for _ in range(3):
        with files.connect(port) as connection:
            assert serial(connection) == serial_of(first)
            assert ask(connection) == b"HTTP/1.1 200 OK"
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(told) == 1, told
    assert "the former certificate stays in use" in told[0]
    assert "PRIVATE" not in caplog.text
    files.put(second)
    with files.connect(port) as connection:
        assert serial(connection) == serial_of(second)


def test_nothing_older_than_tls_1_2_is_spoken(
    served: tuple[Files, trustme.LeafCert, int],
) -> None:
    files, _, port = served
    with files.connect(port, maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="deprecated"), pytest.raises(ssl.SSLError):
        files.connect(
            port, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
        )


def test_it_does_not_start_with_what_cannot_be_used(files: Files) -> None:
    leaf = files.put(files.issue())
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for content in (locked, b"", b"nonsense", files.issue().private_key_pem.bytes()):
        files.key.write_bytes(content)
        with pytest.raises(InvalidInput, match="`tls_key`"):
            open_certificate(files.certificate, files.key)
    files.key.unlink()
    with pytest.raises(InvalidInput, match="No such file"):
        open_certificate(files.certificate, files.key)
    assert open_certificate(None, None) is None


def test_a_certificate_is_set_with_its_key_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="tls_key"):
        load_settings(tls_certificate=tmp_path / "tls.crt")


@pytest.mark.parametrize(
    ("days", "of", "told"),
    [
        (60, 90, None),
        (AHEAD.days + 1, 90, None),
        (AHEAD.days - 0.5, 90, "ends in 13.5 days"),
        (3, 6, None),  # a short-lived one, in its first half
        (1.9, 6, "ends in 1.9 days"),
        (-1.5, 90, "ended 1.5 days ago"),
    ],
)
def test_its_end_is_told_ahead(
    files: Files, caplog: pytest.LogCaptureFixture, days: float, of: float, told: str | None
) -> None:
    files.put(files.issue(days, of))
    certificate = Certificate(files.certificate, files.key)
    assert abs(certificate.expires_in() - days * 86400) < 60
    said = [each.getMessage() for each in caplog.records if each.name == "casebook.tls"]
    assert [told in each for each in said if told] == ([True] if told else [])
    assert bool(said) is bool(told)


def test_its_end_is_told_again_each_day_until_it_is_replaced(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.put(files.issue(days=3))
    hours = [0.0]
    began = datetime.now(UTC)
    certificate = Certificate(
        files.certificate, files.key, now=lambda: began + timedelta(hours=hours[0])
    )
    with over_tls(echo, certificate) as port:
        for hour in (1, 2, 23, 25, 30, 50):
            hours[0] = hour
            files.connect(port, name=None).close()
        assert caplog.text.count("replace it and its key") == 3
        files.put(files.issue())
        files.connect(port, name=None).close()
        assert certificate.expires_in() > 50 * 86400
        assert caplog.text.count("replace it and its key") == 3

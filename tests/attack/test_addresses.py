"""Addresses that lead inside: what a server that is read may name, and what its names may resolve to.

The resolver is the test's own and nothing is connected to: a connection to any address but the one public one
fails the test. Addresses of OIDC issuers, of language models and of alerts are the operator's to set, and may
be inside; they are no part of this.
"""

import socket
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from index.errors import CasebookError
from ingest.sources.http import AddressRefused, HttpClient, RedirectRefused, parse_address

PUBLIC = "93.184.215.14"
NAMES = {
    "public.example": [PUBLIC],
    "inside.example": ["127.0.0.1"],
    "inside6.example": ["::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "both.example": [PUBLIC, "169.254.169.254"],
    "last.example": [PUBLIC, PUBLIC, "fd00::1"],
    "metadata.example": ["169.254.169.254"],
    "zoned.example": ["fe80::1%eth0"],
    "link-local6.example": ["fe80::1"],
    "nowhere.example": [],
}

INSIDE = (
    # spellings of loopback
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1",
    "017700000001", "0177.0.0.1", "0177.1", "00000177.0.0.1", "0x7F.0x0.0x0.0x1", "127.0.0.1.", "localhost",
    "LOCALHOST", "localhost.", "ip6-localhost", "0", "0.0.0.0", "00.0.0.0", "0x0", "[::]", "[::1]",
    "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b:1::7f00:1]", "\u2460\u2461\u2466.0.0.1", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
    "127%2e0%2e0%2e1",
    # private, shared, link-local and metadata
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.100.100.200",
    "169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "[fc00::1]",
    "[fe80::1]", "[fec0::1]", "[ff02::1]", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "[100::1]", "[2001:db8::1]", "[2001::7f00:1]",
    # names that resolve inside, if only to one of several addresses
    *(name for name in NAMES if name not in ("public.example", "nowhere.example")),
)  # fmt: skip

ELSEWHERE = (
    "http://public.example@127.0.0.1/", "http://127.0.0.1#@public.example/", "http://127.0.0.1\\@public.example/",
    "http://user:pass@127.0.0.1/", "http://public.example:80@127.0.0.1/", "//127.0.0.1/", "http:127.0.0.1",
    "http:///127.0.0.1/", "\\\\127.0.0.1\\", "/\\127.0.0.1/", "http://public.example:22/",
    "http://public.example:6379/", "https://public.example:8443/", "ftp://public.example/", "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "data:text/plain,x",
    "javascript:1", "jar:http://127.0.0.1!/", "unix:/var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fx/",
    "http://public.example.127.0.0.1.nip.io/", "http://PUBLIC.example.evil.example/", "http://evil-public.example/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://[::1]/",
    "http://public.example%00.evil.example/", "http://public.example%2f@127.0.0.1/", "http://[", "http://",
    "http://public.example:99999/", "http://public.example:-1/", "http://\x00/", "http://public.example\t@127.0.0.1/",
)  # fmt: skip


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names resolve as the table has it; addresses, in whatever spelling, as the system reads them."""
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if (found := NAMES.get(name.lower().rstrip("."))) is not None:
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "not known")
            return [
                (
                    socket.AF_INET6 if ":" in ip else socket.AF_INET,
                    socket.SOCK_STREAM,
                    6,
                    "",
                    (ip, port),
                )
                for ip in found
            ]
        if name.rstrip(".").lower() in ("localhost", "ip6-localhost"):
            return system("127.0.0.1", port, *more, **options)
        return system(host, port, *more, **{**options, "flags": socket.AI_NUMERICHOST})

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Where a connection was wanted: a stream of the test's own stands for it."""
    wanted: list[str] = []
    answers: list[bytes] = []

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *more: Any, **options: Any) -> Any:
            wanted.append(host)
            return httpcore.MockStream(
                [answers[0] if answers else b"HTTP/1.1 204 No Content\r\n\r\n"]
            )

    monkeypatch.setattr(httpcore, "SyncBackend", Backend)
    wanted_and_answers[:] = [wanted, answers]
    yield wanted
    assert set(wanted) <= {PUBLIC}


wanted_and_answers: list[Any] = []


def get(address: str) -> int:
    with HttpClient(address, sleep=lambda seconds: None) as http:
        return http.get(address).status


def test_a_public_name_is_asked(connected: list[str]) -> None:
    """So that the refusals below say something."""
    assert get("http://public.example/") == 204
    assert connected == [PUBLIC]


@pytest.mark.parametrize("host", INSIDE)
def test_no_spelling_of_an_address_leads_inside(connected: list[str], host: str) -> None:
    with pytest.raises(CasebookError) as refused:
        get(f"http://{host}/")
    assert connected == []
    if "%2e" not in host and not isinstance(refused.value, AddressRefused):
        assert "resolved" in str(refused.value) or "no web address" in str(refused.value)


def test_a_name_that_is_nowhere_is_a_plain_error(connected: list[str]) -> None:
    with pytest.raises(CasebookError, match="can't be resolved"):
        get("http://nowhere.example/")


@pytest.mark.parametrize("location", ELSEWHERE)
def test_no_redirect_leads_elsewhere(connected: list[str], location: str) -> None:
    sent = location.encode().replace(b"\x00", b"%00")
    wanted_and_answers[1][:] = [
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % sent
    ]
    with pytest.raises(CasebookError) as refused:
        get("http://public.example/")
    if isinstance(refused.value, RedirectRefused):
        assert len(connected) <= 7


@pytest.mark.parametrize("address", ELSEWHERE)
def test_an_address_that_hides_its_host_is_refused_or_is_that_host(address: str) -> None:
    try:
        url = parse_address(address)
    except CasebookError:
        return
    assert url.scheme in ("http", "https")
    assert not url.userinfo


def test_a_name_that_resolves_elsewhere_the_second_time_is_checked_the_second_time(
    connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: what is connected to is what was checked, each time."""
    with HttpClient("http://public.example/", sleep=lambda seconds: None) as http:
        assert http.get("http://public.example/").status == 204
        monkeypatch.setitem(NAMES, "public.example", ["127.0.0.1"])
        http._client.close()
    with pytest.raises(AddressRefused):
        get("http://public.example/")

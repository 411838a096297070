"""Every route answers under the service's own names alone, and to no page from elsewhere."""

import socket

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from assistant.access.authenticate import Authenticator
from assistant.access.caller import anonymous
from assistant.access.keys import KeyStore
from assistant.access.routes import declared_routes
from assistant.api import HEADERS, create_app
from assistant.assistant import Assistant
from assistant.hosts import KnownHosts
from assistant.jobs import Jobs
from assistant.sources import Sources
from tests.assistant.services import extractive, served
from tests.conftest import PUBLIC

HOSTS = ["casebook.example", "other.example:8443"]


@pytest.fixture(scope="module")
def client(assistant: Assistant, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder = tmp_path_factory.mktemp("hosts")
    app = create_app(
        extractive(assistant),
        Jobs(lambda names, report: pytest.fail("an ingestion was started"), folder / "jobs.json"),
        Sources(assistant.reader, {}),
        # As on a fresh machine: nobody has made a key, and who is at it is an administrator.
        Authenticator(KeyStore(folder / "keys"), None, anonymous(PUBLIC), host="127.0.0.1"),
        HOSTS,
    )
    return TestClient(app, base_url="http://localhost")


def test_no_route_answers_under_another_name(client: TestClient) -> None:
    routes = [route for route in declared_routes(client.app) if "{" not in route.path]  # type: ignore[arg-type]
    assert len(routes) > 12
    for route in routes:
        for method in {"GET", "POST", *route.methods} - {"ANY", "MOUNT"}:
            response = client.request(
                method, route.path.removesuffix("*"), headers={"Host": "rebound.example:8000"}
            )
            assert response.status_code == 421, (method, route.path)
            if method == "HEAD":
                continue
            said = response.json()
            assert "`hosts`" in (said.get("detail") or said["error"]["message"])
            assert all(response.headers[name] == value for name, value in HEADERS.items())


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost", None, 200),
        ("LOCALHOST:8000", None, 200),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", 200),
        ("[::1]:8000", "http://[::1]:8000", 200),
        ("10.1.2.3:8000", None, 200),  # a pod's address, as probes use it
        ("10.1.2.3:8000", "http://10.1.2.3:8000", 200),
        ("[2001:db8::1]", None, 200),
        ("casebook.example", "https://casebook.example", 200),
        ("casebook.example.:8000", None, 200),
        ("127.0.0.1:8000", "https://casebook.example", 200),  # a proxy that says its own name
        ("other.example:8443", None, 200),
        ("other.example:8000", None, 421),
        ("evil.casebook.example", None, 421),
        ("casebook.example.evil.example", None, 421),
        ("localhost.evil.example", None, 421),
        ("127.0.0.1.evil.example:80", None, 421),
        ("evil.example#localhost", None, 421),
        ("localhost@evil.example", None, 421),
        ("", None, 421),
        ("localhost", "null", 403),
        ("localhost", "", 403),
        ("localhost", "http://evil.example", 403),
        ("localhost", "http://10.1.2.3", 403),  # an address is nobody's word for whose page it is
        ("localhost", "http://localhost.evil.example", 403),
        ("localhost", "http://[", 403),
    ],
)
def test_names_and_pages(client: TestClient, host: str, origin: str | None, status: int) -> None:
    headers = {"Host": host} | ({"Origin": origin} if origin is not None else {})
    response = client.get("/documents", headers=headers)
    assert response.status_code == status, response.text
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"


def test_a_page_from_elsewhere_cannot_start_an_ingestion_on_a_fresh_machine(
    client: TestClient,
) -> None:
    assert client.get("/me").json()["administrator"]
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert client.post("/ingest", headers=headers).status_code in (403, 421)


def test_each_of_several_hosts_has_to_be_known(client: TestClient) -> None:
    """Who comes after us may look at another one of them."""
    with served(client.app) as address:
        place = address.removeprefix("http://")
        for hosts in ((place, "evil.example"), ("evil.example", place)):
            lines = "".join(f"Host: {host}\r\n" for host in hosts)
            with socket.create_connection(tuple(place.split(":")), timeout=10) as raw:  # type: ignore[arg-type]
                raw.sendall(f"GET /documents HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
                assert raw.recv(100).split()[1] in (b"400", b"421")


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_header_breaks_it_and_no_made_up_name_is_known(host: str, origin: str) -> None:
    guard = KnownHosts(app=pytest.fail, hosts=HOSTS)  # type: ignore[arg-type]
    raw = [
        (b"host", host.encode("utf-8", "replace")),
        (b"origin", origin.encode("utf-8", "replace")),
    ]
    refused = guard._refused(raw)
    if refused is None:
        assert origin
    else:
        assert refused.status in (403, 421)
        assert len(str(refused)) < 1000


def test_a_long_name_is_not_repeated(client: TestClient) -> None:
    response = client.get("/documents", headers={"Host": "x" * 9000})
    assert response.status_code == 421
    assert len(response.content) < 500

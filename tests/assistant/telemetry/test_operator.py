"""Who may see how the service is doing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from assistant import problems
from assistant.access.authenticate import Authenticator
from assistant.access.caller import anonymous
from assistant.access.keys import KeyStore
from assistant.access.routes import (
    OPERATOR_LABEL,
    Operator,
    Role,
    check_routes,
    declared_routes,
    describe_access,
)

Client = Callable[..., TestClient]


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite")


def client(store: KeyStore, host: str = "127.0.0.1", *labels: str) -> TestClient:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/metrics")
    def metrics(caller: Operator) -> str:
        return caller.name

    problems.install(app)
    app.state.authenticator = Authenticator(store, None, anonymous(labels), host=host)
    check_routes(app)
    describe_access(app)
    return TestClient(app, base_url="http://127.0.0.1")


def bearer(store: KeyStore, name: str, *labels: str, administrator: bool = False) -> dict[str, str]:
    made = store.create(name, labels, administrator=administrator)
    return {"Authorization": f"Bearer {made.secret}"}


def test_administrators_and_holders_of_the_label_may(store: KeyStore) -> None:
    with client(store) as service:
        root = service.get("/metrics", headers=bearer(store, "root", administrator=True))
        ops = service.get("/metrics", headers=bearer(store, "ops", OPERATOR_LABEL))
        reader = service.get("/metrics", headers=bearer(store, "ci", "sre", "operator"))
        nobody = service.get("/metrics")
    assert [each.status_code for each in (root, ops, reader, nobody)] == [200, 200, 403, 401]
    assert "--access casebook:operator" in reader.json()["detail"]
    assert nobody.headers["www-authenticate"] == 'Bearer realm="casebook"'


def test_anyone_at_this_machine_may_while_nobody_has_a_key(store: KeyStore) -> None:
    elsewhere = {"Origin": "https://elsewhere.example"}
    with client(store) as service:
        assert service.get("/metrics").status_code == 200
        assert service.get("/metrics", headers=elsewhere).status_code == 401
        bearer(store, "first", "public")
        assert service.get("/metrics").status_code == 401
    with client(KeyStore(store.path.with_name("none.sqlite")), "0.0.0.0") as service:
        assert service.get("/metrics").status_code == 401


def test_the_label_alone_is_no_administrators(store: KeyStore) -> None:
    app = client(store).app
    assert isinstance(app, FastAPI)
    roles = {route.path: route.roles for route in declared_routes(app)}
    assert roles["/metrics"] == {Role.OPERATOR}
    assert app.openapi()["paths"]["/metrics"]["get"]["security"] == [{"bearer": []}]

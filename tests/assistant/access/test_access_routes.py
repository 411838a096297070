"""Each route says who may call it, and an application with one that does not refuses to start."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from assistant import problems
from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller, Unauthorized, anonymous
from assistant.access.keys import KeyStore
from assistant.access.routes import (
    ANYONE,
    OPEN,
    Administrator,
    Reader,
    Role,
    UndeclaredRoutes,
    allow,
    check_routes,
    declared_routes,
    describe_access,
)

READER = Depends(allow(Role.READER))
ADMINISTRATOR = Depends(allow(Role.ADMINISTRATOR))


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    """Keys of a service that someone has claimed by making one."""
    store = KeyStore(tmp_path / "keys.sqlite")
    store.create("first", [], administrator=True)
    return store


@pytest.fixture
def app(store: KeyStore) -> FastAPI:
    """An application as the service makes it: declared routes, and the check in its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        check_routes(app)
        yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.authenticator = Authenticator(store, None, anonymous(["public"]))

    @app.get("/live", dependencies=[ANYONE])
    def live() -> str:
        return "live"

    @app.get("/ask")
    def ask(caller: Reader) -> list[str]:
        return sorted(caller.labels)

    @app.post("/ingest")
    def ingest(caller: Administrator) -> str:
        return caller.name

    @app.exception_handler(Unauthorized)
    def unauthorized(request: Request, error: Unauthorized) -> Response:
        response = problems.from_error(error)
        response.headers.update(error.headers)
        return response

    problems.install(app)
    return app


def refusal(app: FastAPI) -> str:
    with pytest.raises(UndeclaredRoutes) as error, TestClient(app):
        pass
    return str(error.value)


def starts(app: FastAPI) -> bool:
    with TestClient(app):
        return True


def endpoint() -> str:
    return "secret"


def starlette_endpoint(request: Request) -> Response:
    return PlainTextResponse("secret")


async def socket_endpoint(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("secret")(scope, receive, send)


# --- what a role asks -------------------------------------------------------------------------


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_readers_get_what_their_labels_let_them(client: TestClient, store: KeyStore) -> None:
    key = store.create("ci", ["sre"]).secret
    assert client.get("/ask").json() == ["public"]
    assert client.get("/ask", headers=bearer(key)).json() == ["public", "sre"]
    store.revoke("ci")
    refused = client.get("/ask", headers=bearer(key))
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="casebook", error="invalid_token"'
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_administration_is_for_administrators(client: TestClient, store: KeyStore) -> None:
    nobody = client.post("/ingest")
    assert nobody.status_code == 401
    assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="casebook"'
    reader = client.post("/ingest", headers=bearer(store.create("ci", ["sre"]).secret))
    assert reader.status_code == 403
    assert "'ci' is no administrator" in reader.json()["detail"]
    root = store.create("root", [], administrator=True).secret
    assert client.post("/ingest", headers=bearer(root)).json() == "root"


def test_until_the_first_key_nobody_is_asked_and_after_its_revocation_everybody(
    app: FastAPI, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "unclaimed.sqlite")
    app.state.authenticator = Authenticator(store, None, anonymous(["public"]), host="127.0.0.1")
    with TestClient(app) as client:
        assert client.post("/ingest").json() == "anonymous"
        elsewhere = {"Origin": "https://elsewhere.example"}
        assert client.post("/ingest", headers=elsewhere).status_code == 401
        assert client.post("/ingest", headers={"Origin": "http://testserver"}).status_code == 200
        store.create("root", [], administrator=True)
        assert client.post("/ingest").status_code == 401
        store.revoke("root")
        assert client.post("/ingest").status_code == 401


@pytest.mark.parametrize("host", [None, "0.0.0.0", "192.0.2.7"])
def test_a_service_that_others_can_reach_is_never_open_to_whoever_comes(
    app: FastAPI, tmp_path: Path, host: str | None
) -> None:
    store = KeyStore(tmp_path / "absent.sqlite")
    app.state.authenticator = Authenticator(store, None, anonymous(["public"]), host=host)
    with TestClient(app) as client:
        assert client.post("/ingest").status_code == 401


def test_where_anyone_may_call_nothing_is_looked_at(client: TestClient) -> None:
    assert client.get("/live", headers={"Authorization": "Bearer nonsense"}).json() == "live"
    assert client.get("/ask", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_two_headers_are_refused_whatever_they_say(client: TestClient, store: KeyStore) -> None:
    key = f"Bearer {store.create('ci', ['sre']).secret}"
    sent = [("Authorization", key), ("Authorization", key)]
    assert client.get("/ask", headers=sent).status_code == 401
    assert client.get("/ask", headers=[("Authorization", "")]).status_code == 401


def test_damaged_keys_are_unavailable_and_not_anonymous(
    client: TestClient, store: KeyStore
) -> None:
    key = store.create("ci", ["sre"]).secret
    store.path.write_bytes(b"garbage" * 1000)
    refused = client.get("/ask", headers=bearer(key))
    assert (refused.status_code, refused.json()["title"]) == (503, "Sign-in unavailable")


def test_the_stricter_of_two_roles_counts(app: FastAPI, store: KeyStore) -> None:
    router = APIRouter(dependencies=[ADMINISTRATOR])

    @router.get("/export")
    def export(caller: Reader) -> str:
        return caller.name

    app.include_router(router)
    with TestClient(app) as client:
        assert client.get("/export").status_code == 401


def test_a_socket_without_a_caller_is_not_accepted(app: FastAPI, store: KeyStore) -> None:
    @app.websocket("/events")
    async def events(socket: WebSocket, caller: Administrator) -> None:
        await socket.accept()
        await socket.send_text(caller.name)
        await socket.close()

    root = store.create("root", [], administrator=True).secret
    with TestClient(app) as client:
        with client.websocket_connect("/events", headers=bearer(root)) as socket:
            assert socket.receive_text() == "root"
        with pytest.raises(Exception), client.websocket_connect("/events"):  # noqa: B017, PT011
            pytest.fail("it was accepted")


# --- what starts ------------------------------------------------------------------------------


def test_declared_routes_start(app: FastAPI, tmp_path: Path) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> str:
        return "page"

    app.mount("/static", StaticFiles(directory=tmp_path))
    inner = APIRouter()
    inner.add_api_route("/deep", endpoint, dependencies=[READER])
    outer = APIRouter(prefix="/v1")
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer)
    guarded = APIRouter()
    guarded.add_api_route("/keys", endpoint)
    app.include_router(guarded, prefix="/admin", dependencies=[ADMINISTRATOR])

    def indirect(caller: Annotated[Caller, READER]) -> str:
        return caller.name

    @app.get("/indirect")
    def whose(name: Annotated[str, Depends(indirect)]) -> str:
        return name

    assert starts(app)
    roles = {route.name: route.roles for route in declared_routes(app)}
    assert roles["GET /v1/inner/deep"] == {Role.READER}
    assert roles["GET /admin/keys"] == {Role.ADMINISTRATOR}
    assert roles["GET /indirect"] == {Role.READER}
    assert roles["GET /live"] == {Role.ANYONE}


def test_a_mounted_application_with_its_own_declarations_starts(app: FastAPI) -> None:
    mounted = FastAPI(openapi_url=None)
    mounted.add_api_route("/x", endpoint, dependencies=[READER])
    app.mount("/sub", mounted)
    assert "without an authenticator: GET /sub/x" in refusal(app)
    mounted.state.authenticator = app.state.authenticator
    assert starts(app)


def test_every_open_route_has_a_reason() -> None:
    assert all(len(reason) > 10 for reason in OPEN.values())


# --- what does not ----------------------------------------------------------------------------


class Unknown(BaseRoute):
    """A route of a kind nobody has heard of."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.FULL, {}


class AnswersByItself(Starlette):
    """An application without a route, which answers all the same."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asgi(scope, receive, send)


def in_router(app: FastAPI) -> None:
    inner = APIRouter()
    inner.add_api_route("/x", endpoint)
    outer = APIRouter()
    outer.include_router(inner, prefix="/b")
    app.include_router(outer, prefix="/a")


def after_inclusion(app: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/y", endpoint, dependencies=[READER])
    app.include_router(router, prefix="/a")
    router.add_api_route("/x", endpoint)  # FastAPI 0.165 serves it, 0.135 does not
    if not any(route.path == "/a/x" for route in declared_routes(app)):
        assert TestClient(app).get("/a/x").status_code == 404
        app.add_api_route("/a/x", endpoint)


def in_mounted_application(app: FastAPI) -> None:
    mounted = FastAPI(openapi_url=None)
    mounted.add_api_route("/x", endpoint)
    app.mount("/a", mounted)


def in_mounted_documentation(app: FastAPI) -> None:
    app.mount("/a", FastAPI())


def mounted_where_the_page_is(app: FastAPI) -> None:
    app.mount("/static", Starlette(routes=[Route("/x", starlette_endpoint)]))


def starlette_socket_in_router(app: FastAPI) -> None:
    router = APIRouter()
    router.add_websocket_route("/x", socket_endpoint)
    app.include_router(router, prefix="/a")


def mount_in_router(app: FastAPI) -> None:
    router = APIRouter()
    router.mount("/b", Router(routes=[Route("/x", starlette_endpoint)]))
    app.include_router(router, prefix="/a")
    if not any(route.path == "/a/b/x" for route in declared_routes(app)):  # FastAPI 0.135 loses it
        app.mount("/a/b", Router(routes=[Route("/x", starlette_endpoint)]))


UNDECLARED: dict[str, tuple[Callable[[FastAPI], Any], str]] = {
    "a route": (lambda app: app.add_api_route("/x", endpoint), "GET /x"),
    "a hidden one": (
        lambda app: app.add_api_route("/x", endpoint, include_in_schema=False),
        "GET /x",
    ),
    "a changing method where reading is open": (
        lambda app: app.add_api_route("/", endpoint, methods=["POST"]),
        "POST /",
    ),
    "Starlette's": (lambda app: app.add_route("/x", starlette_endpoint), "GET|HEAD /x"),
    "an ASGI application as a route": (
        lambda app: app.router.routes.append(Route("/x", Starlette())),
        "ANY /x",
    ),
    "in routers": (in_router, "GET /a/b/x"),
    "in a router already included": (after_inclusion, "GET /a/x"),
    "in a mount": (in_mounted_application, "GET /a/x"),
    "a mounted application's documentation": (in_mounted_documentation, "/a/openapi.json"),
    "a mount in a router": (mount_in_router, "GET|HEAD /a/b/x"),
    "an application at an open path": (mounted_where_the_page_is, "GET|HEAD /static/x"),
    "an ASGI application": (lambda app: app.mount("/static", asgi), "MOUNT /static"),
    "an application that answers by itself": (
        lambda app: app.mount("/a", AnswersByItself()),
        "MOUNT /a",
    ),
    "files elsewhere": (
        lambda app: app.mount("/files", StaticFiles(directory="/tmp")),
        "MOUNT /files",
    ),
    "routes in a mount": (
        lambda app: app.router.routes.append(
            Mount("/a", routes=[Mount("/b", routes=[Route("/x", starlette_endpoint)])])
        ),
        "GET|HEAD /a/b/x",
    ),
    "a host": (
        lambda app: app.router.routes.append(
            Host("x.example", Router(routes=[Route("/x", starlette_endpoint)]))
        ),
        "x.example/x",
    ),
    "a socket": (lambda app: app.add_api_websocket_route("/x", socket_endpoint), "WEBSOCKET /x"),
    "Starlette's socket": (
        lambda app: app.router.routes.append(WebSocketRoute("/x", socket_endpoint)),
        "WEBSOCKET /x",
    ),
    "a socket in a router": (starlette_socket_in_router, "WEBSOCKET /a/x"),
    "a socket at an open path": (
        lambda app: app.add_api_websocket_route("/", socket_endpoint),
        "WEBSOCKET /",
    ),
    "of an unknown kind": (lambda app: app.router.routes.append(Unknown()), "Unknown /"),
    "what answers where no route does": (
        lambda app: setattr(app.router, "default", asgi),
        "ANY /*",
    ),
    "documentation": (lambda app: setattr(app, "docs_url", "/docs") or app.setup(), "/docs"),
}


@pytest.mark.parametrize("kind", UNDECLARED)
def test_an_application_with_an_undeclared_route_does_not_start(app: FastAPI, kind: str) -> None:
    add, name = UNDECLARED[kind]
    assert starts(app)
    add(app)
    assert name in refusal(app)


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="not in FastAPI 0.135")
@pytest.mark.parametrize("included", [False, True])
def test_a_frontend_is_a_route_too(app: FastAPI, tmp_path: Path, included: bool) -> None:
    router = APIRouter()
    (router if included else app).frontend("/x", directory=tmp_path)
    if included:
        app.include_router(router, prefix="/a")
    assert "FrontendRoute" in refusal(app)


def test_all_undeclared_routes_are_named_at_once(app: FastAPI) -> None:
    app.add_api_route("/x", endpoint)
    app.add_api_route("/y", endpoint, methods=["PUT"])
    assert "GET /x, PUT /y" in refusal(app)


def test_an_application_without_an_authenticator_does_not_start(app: FastAPI) -> None:
    del app.state.authenticator
    assert "without an authenticator: GET /ask, POST /ingest" in refusal(app)


# --- OpenAPI ----------------------------------------------------------------------------------


def test_openapi_says_what_each_route_asks(app: FastAPI) -> None:
    describe_access(app)
    with TestClient(app) as client:
        schema = client.get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert schema["components"]["securitySchemes"]["bearer"]["type"] == "http"
    assert schema["paths"]["/ask"]["get"]["security"] == [{}, {"bearer": []}]
    assert schema["paths"]["/ingest"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in schema["paths"]["/live"]["get"]
    assert "parameters" not in schema["paths"]["/ask"]["get"]

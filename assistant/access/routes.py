"""What each route asks of a caller, and the proof that each route says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, routing
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller, Forbidden, SignInNeeded, anonymous
from index.errors import CasebookError

OPEN: Mapping[str, str] = {
    "/": "the page: it holds nothing, and asks for what it shows",
    "/dashboard": "the page of usage, likewise",
    "/static": "the pages' own files",
    "/openapi.json": "says which routes there are, not what is behind them",
}
"""Routes that are read without a word about the caller, and why they may be: they show the same to
everyone. Only GET and HEAD, and of mounts only static files."""


class Role(Enum):
    """Who may call a route."""

    ANYONE = "anyone: nobody is asked for anything"
    READER = "any caller, who gets what their labels let them read"
    OPERATOR = "administrators, and callers with the label casebook:operator"
    ADMINISTRATOR = "administrators"


NOBODY = anonymous(())

OPERATOR_LABEL = "casebook:operator"
"""Lets a caller who is no administrator see how the service is doing."""


class _Bearer(SecurityBase):
    """Describes the Authorization header to OpenAPI, and gives it as it came.

    Two headers are joined, as HTTP has it, and then refused: a proxy may have looked at the other.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An API key of Casebook, or an OIDC token.")
        self.scheme_name = "bearer"

    async def __call__(self, connection: HTTPConnection) -> str | None:
        sent = connection.headers.getlist("authorization")
        return ", ".join(sent) if sent else None


_bearer = _Bearer()


@dataclass(frozen=True)
class _Anyone:
    role = Role.ANYONE

    async def __call__(self) -> Caller:  # not in a thread: health is asked while all are busy
        return NOBODY


@dataclass(frozen=True)
class _Allowed:
    """A dependency that lets only callers of a role through, and gives the caller."""

    role: Role

    def __call__(
        self,
        connection: HTTPConnection,
        authorization: Annotated[str | None, Depends(_bearer)],
    ) -> Caller:
        authenticator: Authenticator = connection.app.state.authenticator
        caller = authenticator.caller(authorization)
        if self._lets_through(caller) or (authenticator.unclaimed and _from_own_page(connection)):
            return caller
        if caller.kind == "anonymous":
            raise SignInNeeded()
        if self.role is Role.OPERATOR:
            raise Forbidden(
                f"{caller.name!r} may not see how the service is doing: use a key made with "
                f"`casebook keys create --access {OPERATOR_LABEL}`, or an administrator's"
            )
        raise Forbidden(
            f"{caller.name!r} is no administrator, and this is for administrators: use a key "
            "made with `casebook keys create --admin`"
        )

    def _lets_through(self, caller: Caller) -> bool:
        operates = self.role is Role.OPERATOR and OPERATOR_LABEL in caller.labels
        return self.role is Role.READER or caller.administrator or operates


def _from_own_page(connection: HTTPConnection) -> bool:
    """Whether a request comes from no page, or from one that this service has sent: a browser says where
    the page it acts for is from, and a page from elsewhere must not act for whoever is at the machine.
    """
    origin = connection.headers.get("origin")
    return origin is None or origin == f"{connection.url.scheme}://{connection.url.netloc}"


def allow(role: Role) -> _Anyone | _Allowed:
    """The dependency by which a route declares who may call it; it yields the caller."""
    return _Anyone() if role is Role.ANYONE else _Allowed(role)


ANYONE = Depends(allow(Role.ANYONE))
"""For `dependencies=[ANYONE]`: routes that look at no caller."""

Reader = Annotated[Caller, Depends(allow(Role.READER))]
Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Administrator = Annotated[Caller, Depends(allow(Role.ADMINISTRATOR))]


class UndeclaredRoutes(CasebookError):
    """The service has routes that do not say who may call them, and so does not start."""

    title = "Undeclared routes"


def check_routes(app: FastAPI, open_routes: Mapping[str, str] = OPEN) -> None:
    """Raise `UndeclaredRoutes`, naming each route of the application that declares no role.

    Call it in the application's lifespan, when the last route has been added. Middleware that
    answers by itself is no route and is not seen.
    """
    undeclared, unasked = [], []
    for route in declared_routes(app):
        if not route.roles and not (route.only_reads and route.path in open_routes):
            undeclared.append(route.name)
        elif route.roles - {Role.ANYONE} and not route.has_authenticator:
            unasked.append(route.name)
    if undeclared:
        raise UndeclaredRoutes(
            f"these routes do not say who may call them: {', '.join(undeclared)}. Give each a "
            "caller (Reader, Operator, Administrator), dependencies=[ANYONE], or a reason in OPEN "
            "(assistant/access/routes.py)"
        )
    if unasked:
        raise UndeclaredRoutes(
            f"these routes belong to an application without an authenticator: {', '.join(unasked)}. "
            "Set its state.authenticator"
        )


def describe_access(app: FastAPI) -> None:
    """Have OpenAPI say that readers may also come without a token: FastAPI calls each one required."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for route in declared_routes(app):
            if route.roles == {Role.READER}:
                for method in route.methods:
                    operation = schema["paths"].get(route.path, {}).get(method.lower())
                    if operation:
                        operation["security"] = [{}, {_bearer.scheme_name: []}]
        return schema

    # The way that FastAPI documents for adding to the schema.
    app.openapi = openapi  # type: ignore[method-assign]


# --- every route there is ---------------------------------------------------------------------


@dataclass(frozen=True)
class DeclaredRoute:
    """A route and the roles it declares: all of them are asked of a caller, and none is an omission."""

    path: str
    methods: tuple[str, ...]
    roles: frozenset[Role]
    only_reads: bool
    has_authenticator: bool

    @property
    def name(self) -> str:
        """The route as a person would call it: `POST /ingest`."""
        return f"{'|'.join(self.methods)} {self.path}"


def declared_routes(app: Starlette) -> Iterator[DeclaredRoute]:
    """Every route of an application, with those of what is included in it and mounted on it.

    What is of an unknown kind is given as a route that declares nothing.
    """
    yield from _routes_of(app.router, "", app)


def _routes_of(router: Router, prefix: str, app: Starlette) -> Iterator[DeclaredRoute]:
    for route in _with_included(router):
        yield from _declared(route, prefix, app)
    if router.default != router.not_found:
        yield _leaf(f"{prefix}/*", ("ANY",), None, app)


def _declared(route: Any, prefix: str, app: Starlette) -> Iterator[DeclaredRoute]:
    original = getattr(route, "original_route", route)
    route = getattr(route, "starlette_route", None) or route  # FastAPI 0.137 to 0.14x
    path = prefix + (getattr(route, "path_format", None) or getattr(route, "path", None) or "")
    if isinstance(original, Mount | Host):
        path = prefix + (route.host if isinstance(original, Host) else route.path)
        inner = route.app
        if type(inner) in (Starlette, FastAPI):  # what derives from them may answer by itself
            yield from _routes_of(inner.router, path, inner)
        elif type(inner) in (Router, APIRouter):
            yield from _routes_of(inner, path, app)
        else:
            yield _leaf(path, ("MOUNT",), None, app, only_reads=type(inner) is StaticFiles)
    elif isinstance(original, Route):
        methods = tuple(sorted(route.methods or ("ANY",)))
        only_reads = {"GET", "HEAD"}.issuperset(methods)
        yield _leaf(path, methods, route, app, only_reads=only_reads)
    elif isinstance(original, WebSocketRoute):
        yield _leaf(path, ("WEBSOCKET",), route, app)
    else:
        yield _leaf(path or "/", (type(original).__name__,), route, app)


def _with_included(router: Router) -> Iterator[Any]:
    """The routes of a router as they are served: with the prefix and dependencies of each inclusion.

    FastAPI copied included routes before 0.137, and since then works them out when asked. Frontends,
    looked at after every other route, are kept apart from the rest.
    """
    contexts = getattr(routing, "iter_route_contexts", iter)
    yield from contexts(router.routes)
    later = getattr(router, "_iter_low_priority_routes", tuple)
    yield from later()


def _leaf(
    path: str, methods: tuple[str, ...], route: Any, app: Starlette, *, only_reads: bool = False
) -> DeclaredRoute:
    dependant = getattr(route, "dependant", None)
    authenticator = getattr(app.state, "authenticator", None)
    return DeclaredRoute(
        path,
        methods,
        frozenset(_roles(dependant)) if dependant else frozenset(),
        only_reads,
        isinstance(authenticator, Authenticator),
    )


def _roles(dependant: Dependant) -> Iterator[Role]:
    for needed in dependant.dependencies:
        if isinstance(needed.call, _Anyone | _Allowed):
            yield needed.call.role
        yield from _roles(needed)

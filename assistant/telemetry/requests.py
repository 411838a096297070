"""Requests: a span and a time for each, by its route as it is written and not as it was called."""

import time
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.streaming import CLIENT_CLOSED
from assistant.telemetry import content, conventions
from assistant.telemetry.asked import Asked, beginning
from assistant.telemetry.instruments import REQUEST_DURATION
from assistant.telemetry.questions import ROUTES, closed
from index.instruments import TRACER, failed

HEADER = b"trace-id"
"""Tells a client under which id its request stands in traces and in the log."""

UNTRACED = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Called by machines all day: timed, and no trace."""

_PROPAGATOR = TraceContextTextMapPropagator()


class Watched:
    """An application whose requests are traced, timed and, where they are questions, counted.

    It stands around everything, so that what goes wrong anywhere is seen. The path is left out: it may name
    a document. So is the query, which may be a question, and `tracestate`, which a caller may fill.
    """

    def __init__(self, app: ASGIApp, *, telling: bool) -> None:
        self.app = app
        self._telling = telling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, send)
        around = beginning(request.asked, trace.set_span_in_context(request.span, request.parent))
        token = context.attach(content.telling(around) if self._telling else around)
        try:
            await self.app(scope, receive, request.send)
        except Exception as error:  # noted on the span, and raised again
            failed(request.span, error)
            request.status = 500
            raise
        finally:
            context.detach(token)
            request.over()


class _Request:
    """One request on its way; without a response at its end, the client has left."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.asked = Asked()
        self.status = CLIENT_CLOSED
        self._scope = scope
        self._send = send
        method = scope["method"]
        self._method = method if method in conventions.METHODS else conventions.OTHER_METHOD
        self.parent = _parent(scope)
        self.span = _span(scope, self._method, self.parent)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            traced = self.span.get_span_context()
            if traced.is_valid:
                own = (HEADER, trace.format_trace_id(traced.trace_id).encode())
                message = {**message, "headers": [*message.get("headers", ()), own]}
        await self._send(message)

    def over(self) -> None:
        """Note how it went."""
        route = _template(self._scope)
        labels: dict[str, Any] = {
            conventions.HTTP_REQUEST_METHOD: self._method,
            conventions.HTTP_RESPONSE_STATUS_CODE: self.status,
        }
        if route:
            labels[conventions.HTTP_ROUTE] = route
        REQUEST_DURATION.record(
            time.perf_counter() - self.asked.began, labels, trace.set_span_in_context(self.span)
        )
        if route in ROUTES and self._method == "POST":
            closed(self.asked, self.status)
        self.span.update_name(f"{self._method} {route}" if route else self._method)
        self.span.set_attributes(labels)
        if self.status >= 500:
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end()


def _span(scope: Scope, method: str, parent: Context) -> Span:
    if scope["path"] in UNTRACED:
        return trace.INVALID_SPAN
    attributes = {
        conventions.HTTP_REQUEST_METHOD: method,
        conventions.URL_SCHEME: scope["scheme"],
    }
    return TRACER.start_span(method, parent, kind=SpanKind.SERVER, attributes=attributes)


def _parent(scope: Scope) -> Context:
    """The trace that the caller says this is part of, if it says so in the one right way."""
    sent = [value for name, value in scope["headers"] if name == b"traceparent"]
    carrier = {"traceparent": sent[0].decode("latin-1")} if len(sent) == 1 else {}
    return _PROPAGATOR.extract(carrier, Context())


def _template(scope: Scope) -> str | None:
    """The route's path with its parameters by name; None where there is no such route."""
    if "app_root_path" in scope:  # what is mounted: the prefix it is mounted at
        return str(scope["root_path"]).removeprefix(scope["app_root_path"]) or None
    route = scope.get("route")
    return getattr(route, "path_format", None) or getattr(route, "path", None) or None

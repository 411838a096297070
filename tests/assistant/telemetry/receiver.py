"""A receiver of OTLP over HTTP on a real socket: it decodes what comes, and is slow or broken when told to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass(frozen=True)
class ReceivedSpan:
    """A span; times in seconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: float
    end: float
    attributes: dict[str, Any]
    failed: bool


@dataclass
class Receiver:
    """What came, as bytes by path and as headers. `status` is answered after `delay` seconds."""

    address: str = ""
    status: int = 200
    delay: float = 0.0
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def everything(self) -> bytes:
        return b"\n".join(body for _, body in self.bodies)

    def _messages(self, path: str) -> Iterator[Any]:
        for came_to, body in list(self.bodies):
            if came_to == path:
                message = KINDS[path]()
                message.ParseFromString(body)
                yield message

    def spans(self) -> list[ReceivedSpan]:
        return [
            ReceivedSpan(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.kind,
                span.start_time_unix_nano / 1e9,
                span.end_time_unix_nano / 1e9,
                _attributes(span.attributes),
                span.status.code == 2,
            )
            for message in self._messages("/v1/traces")
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resources(self) -> list[dict[str, Any]]:
        return [
            _attributes(resource.resource.attributes)
            for message in self._messages("/v1/traces")
            for resource in message.resource_spans
        ]

    def metrics(self) -> set[str]:
        return {
            metric.name
            for message in self._messages("/v1/metrics")
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def lines(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Lines of the log: words, trace and attributes."""
        return [
            (record.body.string_value, record.trace_id.hex(), _attributes(record.attributes))
            for message in self._messages("/v1/logs")
            for resource in message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def wait_for(self, seen: Callable[["Receiver"], Any], seconds: float = 20) -> Any:
        """What `seen` gives, once it gives something."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if found := seen(self):
                return found
            time.sleep(0.05)
        raise AssertionError(f"it did not come: {[span.name for span in self.spans()]}")


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """The receiver, running in a thread."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.bodies.append((self.path, body))
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            time.sleep(receiver.delay)
            try:
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                pass  # whoever sent it does not wait any more

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield receiver
        receiver.delay = 0
        server.shutdown()

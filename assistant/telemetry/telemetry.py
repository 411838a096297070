"""The listeners: OpenTelemetry's SDK set up, `/metrics` for Prometheus, and what is sent by OTLP.

Without an address nothing is traced, and what is measured waits in memory to be asked for. With one, a
thread for each of traces, metrics and logs sends what has come together. Each holds a bounded queue
and drops what does not fit, so a receiver that is slow or gone delays no answer and fills no memory.
"""

import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Response
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp

from assistant.access.routes import Operator
from assistant.gateway.gateway import Gateway
from assistant.telemetry import gauges, logs, sending
from assistant.telemetry.conventions import SCHEMA_URL, SERVICE_NAME, SERVICE_VERSION
from assistant.telemetry.instruments import begin_at_zero
from assistant.telemetry.own import OwnMeters, OwnTracers
from assistant.telemetry.requests import Watched
from assistant.telemetry.settings import TelemetrySettings
from index.reader import IndexReader

CLOSING_SECONDS = 5.0
"""How long the end of a process may wait for what is left to be sent."""

STOPPING_SECONDS = 3.0
"""The same of a service, which has ended its answers before that and is to be gone within 25 s."""

LONGEST_TEXT = 8000
"""Characters of one attribute: a question has 4,000 at most."""


class Telemetry:
    """What listens in this process. OpenTelemetry lets only one be set up in it."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._scraping = threading.Lock()
        resource = _resource()
        sender = sending.Sender(settings) if settings.otlp_endpoint else None
        readers: list[MetricReader] = [
            PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        ]
        if sender:
            readers.append(sender.metrics())
        # Sending what is left may take for ever; `close` does it in bounded time.
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._tracers = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)) if sender else ALWAYS_OFF,
            resource=resource,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=LONGEST_TEXT),
        )
        self._loggers = LoggerProvider(resource, shutdown_on_exit=False)
        logs.install()
        if sender:
            self._tracers.add_span_processor(sender.spans())
            self._loggers.add_log_record_processor(sender.logs())
            logs.send(self._loggers, telling=settings.content)
        metrics.set_meter_provider(OwnMeters(self._meters))
        trace.set_tracer_provider(OwnTracers(self._tracers))

    def instrument(self, app: FastAPI) -> None:
        """Watch an application's requests, add `GET /metrics`, and close with it; before its first request."""
        build, living = app.build_middleware_stack, app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with living(app) as state:
                yield state
            # Not after the server has run: uvicorn ends by the signal that it was stopped with.
            await anyio.to_thread.run_sync(self.close, STOPPING_SECONDS)

        app.router.lifespan_context = lifespan

        def watched() -> ASGIApp:
            return Watched(build(), telling=self._settings.content)

        # Around all of it, its own handling of unexpected errors too; a middleware is inside of that.
        app.build_middleware_stack = watched  # type: ignore[method-assign]

        @app.get(
            "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
        )
        def exposition(caller: Operator) -> Response:
            """What is measured, for Prometheus."""
            return Response(self.exposition(), media_type=CONTENT_TYPE_LATEST)

    def show(self, reader: IndexReader, gateway: Gateway, targets: Mapping[str, float]) -> None:
        """Have how index, sources and models stand among the metrics; `targets` are the seconds that
        sources, by name, may be old.
        """
        begin_at_zero()
        gauges.show(reader, gateway, targets)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        with self._scraping:  # two at a time would share out the metrics between them
            return generate_latest(self._registry)

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Send what is left, for so long at most."""
        providers: Sequence[TracerProvider | MeterProvider | LoggerProvider] = (
            self._tracers,
            self._loggers,
            self._meters,
        )
        closing = [threading.Thread(target=each.shutdown, daemon=True) for each in providers]
        for thread in closing:
            thread.start()
        deadline = time.monotonic() + seconds
        for thread in closing:
            thread.join(max(0.0, deadline - time.monotonic()))


def _resource() -> Resource:
    """What this process is; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word."""
    own = {SERVICE_NAME: "casebook", SERVICE_VERSION: version("casebook")}
    return Resource.create().merge(Resource(own, SCHEMA_URL)).merge(OTELResourceDetector().detect())

"""Sending by OTLP over HTTP. Batches, queues and waits are the SDK's, which reads them from its `OTEL_…`
variables; where to and with which headers is in the settings.
"""

import requests
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from assistant.telemetry.headers import HeadersFile
from assistant.telemetry.settings import TelemetrySettings


class Sender:
    """What sends to the receiver of the settings; raises `InvalidInput` for headers that can't be used."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._address = str(settings.otlp_endpoint).rstrip("/")
        self._headers = HeadersFile(settings.headers_file) if settings.headers_file else None

    def spans(self) -> BatchSpanProcessor:
        """Sends spans."""
        return BatchSpanProcessor(
            OTLPSpanExporter(f"{self._address}/v1/traces", session=self._session())
        )

    def metrics(self) -> PeriodicExportingMetricReader:
        """Sends metrics."""
        return PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{self._address}/v1/metrics", session=self._session())
        )

    def logs(self) -> BatchLogRecordProcessor:
        """Sends lines of the log."""
        return BatchLogRecordProcessor(
            OTLPLogExporter(f"{self._address}/v1/logs", session=self._session())
        )

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # ~/.netrc would have its say before the file of headers
        session.auth = self._headers
        return session

"""Providers that serve Casebook alone.

Libraries look for a provider too, and what they then tell is theirs to choose: FastAPI puts a request's query
into its spans and an error's words into its logs, the MCP SDK the words of a tool's error. So they get
one that does nothing.
"""

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

OWN = "casebook"
"""The name under which Casebook asks for tracers and meters."""


class OwnTracers(TracerProvider):
    """Another provider's tracers, for Casebook alone."""

    def __init__(self, inner: TracerProvider) -> None:
        self._inner = inner

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes | None = None,
    ) -> Tracer:
        """A tracer, which does nothing for others."""
        if instrumenting_module_name != OWN:
            return NoOpTracer()
        return self._inner.get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )


class OwnMeters(MeterProvider):
    """Another provider's meters, for Casebook alone."""

    def __init__(self, inner: MeterProvider) -> None:
        super().__init__()
        self._inner = inner

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes | None = None,
    ) -> Meter:
        """A meter, which does nothing for others."""
        if name != OWN:
            return NoOpMeter(name, version, schema_url)
        return self._inner.get_meter(name, version, schema_url, attributes)

"""Telemetry: what the service tells of itself, and to whom. `docs/telemetry.md` has what that is.

The rest of Casebook speaks to OpenTelemetry's API through `instruments` and `questions`; its SDK, which takes
the better part of a second to load, is imported when telemetry starts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from assistant.telemetry.telemetry import Telemetry

__all__ = ["exported", "start"]


def start(settings: TelemetrySettings) -> "Telemetry":
    """Begin to measure, and to send where the settings name an address; once in a process.

    Raises `NoSecret` or `InvalidInput` where the file of headers can't be used.
    """
    from assistant.telemetry.telemetry import Telemetry

    return Telemetry(settings)


@contextmanager
def exported(settings: TelemetrySettings) -> Iterator[None]:
    """A short process that is told of where the settings name an address; sends what is left at its end."""
    if settings.otlp_endpoint is None:
        yield
        return
    telemetry = start(settings)
    try:
        yield
    finally:
        telemetry.close()

"""What may be watched of a run: spans and counters by OpenTelemetry's API, which does nothing where nobody
listens. Only the assistant knows of listeners.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

TRACER = trace.get_tracer("casebook")
METER = metrics.get_meter("casebook")

REPAIRS = METER.create_counter(
    "casebook.index.repairs", "{file}", "Damaged files of the index that were built again"
)


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[Span]:
    """A step of a run, under the step around it; not for a generator, which others run between.

    Of an error its type is noted and not its words: those may quote a document or a question.
    """
    with TRACER.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            failed(current, error)
            raise


def failed(span: Span, error: BaseException) -> None:
    """Note on a span what kind of error ended it."""
    if isinstance(error, Exception):  # one that was only stopped has not failed
        span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__qualname__)

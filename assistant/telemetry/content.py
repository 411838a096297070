"""Whether questions and passages may stand in a trace: said by what a request runs in, and no unless said."""

from opentelemetry import context, trace
from opentelemetry.context import Context

_TOLD = context.create_key("casebook.content")


def telling(around: Context) -> Context:
    """The context in which texts may be told."""
    return context.set_value(_TOLD, True, around)


def tell(name: str, text: str | list[str]) -> None:
    """Put a text on the current span, where texts may be told."""
    if context.get_value(_TOLD):
        trace.get_current_span().set_attribute(f"casebook.{name}", text)

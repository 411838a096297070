"""The request at hand, which may hold a question: when it came, and what is known of its end."""

import time
from dataclasses import dataclass, field

from opentelemetry import context
from opentelemetry.context import Context

_ASKED = context.create_key("casebook.asked")


@dataclass
class Asked:
    """A request. `taken_up`: the answering has its question. `error`: it was turned away."""

    began: float = field(default_factory=time.perf_counter)
    taken_up: bool = False
    error: Exception | None = None


def beginning(asked: Asked, around: Context) -> Context:
    """The context of a request."""
    return context.set_value(_ASKED, asked, around)


def at_hand() -> Asked | None:
    """The request that this is done for, if it is for one over HTTP."""
    asked = context.get_value(_ASKED)
    return asked if isinstance(asked, Asked) else None


def turned_away(error: Exception) -> None:
    """Note why the request at hand is answered by an error."""
    if asked := at_hand():
        asked.error = error

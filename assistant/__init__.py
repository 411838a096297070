"""How a question becomes an answer of cited passages, and how people and programs ask.

`from assistant import Casebook` is the client of a running service.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.client.casebook import AsyncCasebook as AsyncCasebook
    from assistant.client.casebook import Casebook as Casebook
    from assistant.client.errors import Unreachable as Unreachable
    from assistant.client.wire import Ingestion as Ingestion
    from assistant.events import Citations as Citations
    from assistant.events import Final as Final
    from assistant.events import Said as Said
    from assistant.schema import Answer as Answer
    from assistant.schema import Filters as Filters
    from assistant.schema import Turn as Turn
    from index.errors import CasebookError as CasebookError

_PUBLIC = {
    "AsyncCasebook": "assistant.client.casebook",
    "Casebook": "assistant.client.casebook",
    "Ingestion": "assistant.client.wire",
    "Unreachable": "assistant.client.errors",
    "Citations": "assistant.events",
    "Final": "assistant.events",
    "Said": "assistant.events",
    "Answer": "assistant.schema",
    "Filters": "assistant.schema",
    "Turn": "assistant.schema",
    "CasebookError": "index.errors",
}
"""Where each public name is: imported when it is asked for, as the command line needs none of them."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)

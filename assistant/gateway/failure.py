"""How a try at a model can fail, and nothing of what the model, its server or our prompt said."""

from typing import Literal

from assistant.gateway.schema import Usage

Kind = Literal[
    "rate_limited",
    "server_error",
    "unauthorized",
    "bad_request",
    "refused",
    "broken",
    "invalid_response",
    "timeout_connect",
    "timeout_first_token",
    "timeout_between",
    "timeout_total",
]
"""`refused`: no connection (refused, unknown host, no valid certificate); `broken`: the connection or
the stream ended early; `invalid_response`: what came is no answer; `bad_request`: it will not take
this call, whenever asked."""


class Failure(Exception):
    """One try failed. `detail` is ours, never the provider's words: those may hold keys and prompts.

    `retry_after`: seconds the provider asked to wait; `usage`: tokens it charged all the same.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(f"{kind} ({detail})" if detail else kind)
        self.kind: Kind = kind
        self.retry_after = retry_after
        self.usage = usage

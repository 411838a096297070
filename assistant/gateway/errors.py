"""Why a call gave no answer. None of these reaches a user as an error but `TooManyRequests`: the answer
is then made of the sources' own sentences, and says so.
"""

from collections.abc import Sequence

from index.errors import CasebookError


class GatewayError(CasebookError):
    """A call that did not come to its end; `str(error)` is fit for an answer's notice: it names no
    address and no key.
    """

    status = 502
    exit_code = 11
    title = "No model answered"


class NoRoute(GatewayError):
    """No configured model may see these passages, or none holds so long a prompt."""


class OverBudget(GatewayError):
    """A budget of the caller, their team or the service is used up for today."""


class NotAnswered(GatewayError):
    """Every model that was tried failed before its first word. `attempts` says how, one line each,
    for logs and traces.
    """

    def __init__(self, message: str, attempts: Sequence[str]) -> None:
        super().__init__(message)
        self.attempts = tuple(attempts)


class StreamBroken(GatewayError):
    """A model stopped in the middle: what it had said stands alone, and nothing is joined to it.

    `model` is its name in the settings.
    """

    def __init__(self, message: str, model: str) -> None:
        super().__init__(message)
        self.model = model


class TooManyRequests(CasebookError):
    """The caller asks faster than the settings allow; `retry_after` is in whole seconds."""

    status = 429
    exit_code = 12
    title = "Too many requests"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after)}

"""What goes wrong between a client and its service, as errors."""

from collections.abc import Mapping
from typing import Any

import httpx

from assistant.access.caller import Forbidden, SignInUnavailable, Unauthorized
from assistant.gateway.errors import TooManyRequests
from index.errors import (
    Busy,
    CasebookError,
    IndexUnavailable,
    InvalidInput,
    ModelUnavailable,
    NotFound,
)

BY_STATUS: Mapping[int, type[CasebookError]] = {
    400: InvalidInput,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Busy,
    413: InvalidInput,
    422: InvalidInput,
}

UNAVAILABLE = (IndexUnavailable, ModelUnavailable, SignInUnavailable)
"""What a 503 may be, told apart by its title."""


class ServiceError(CasebookError):
    """The service could not do what it was asked; `status` is what it answered with."""

    title = "The service failed"

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(CasebookError):
    """No service answers at the address, or not in time, or not to the end."""

    status = 503
    exit_code = 13
    title = "Service unreachable"


class IngestionFailed(CasebookError):
    """An ingestion came to no good end; the message is what the service says of it."""

    title = "Ingestion failed"


def raise_for(response: httpx.Response) -> None:
    """Raise the error that a response stands for; its body has been read."""
    if response.is_success:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    raise error_of(problem, response.status_code, response.headers)


def error_of(problem: Any, status: int, headers: Mapping[str, str]) -> CasebookError:
    """A problem (RFC 9457) as the error that the service raised."""
    told = problem if isinstance(problem, dict) else {}
    status = told.get("status") or status
    message = str(told.get("detail") or f"the service answered with status {status}")
    if kind := BY_STATUS.get(status):
        return kind(message)
    if status == 429:
        seconds = headers.get("Retry-After", "")
        return TooManyRequests(message, int(seconds) if seconds.isdecimal() else 1)
    for unavailable in UNAVAILABLE:
        if (status, told.get("title")) == (503, unavailable.title):
            return unavailable(message)
    return ServiceError(message, status)


def unreachable(error: httpx.TransportError, address: httpx.URL, timeout: float) -> Unreachable:
    """What to do where a request had no answer."""
    told = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(
            f"no Casebook answers at {address} ({told}): start one with `casebook serve`, or give the "
            'address of one, like Casebook("https://casebook.example")'
        )
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(
            f"{address} gave no answer for {timeout:g} s: ask again, or wait longer with "
            "Casebook(…, timeout=…)"
        )
    return Unreachable(f"the connection to {address} broke off ({told}): ask again")


def broken_off(address: httpx.URL) -> Unreachable:
    """A stream that ended before its answer."""
    return Unreachable(f"{address} ended the stream before the answer: ask again")

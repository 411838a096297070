"""What the libraries raise, as the kinds of failure that the gateway knows."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx2
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelTimeoutError,
)

from assistant.gateway.failure import Failure, Kind
from assistant.gateway.retry import retry_after_seconds
from assistant.gateway.schema import Usage
from assistant.gateway.wire import TooLong

_CODE = re.compile(r"[a-z_]{3,40}")
"""What an error's code looks like: a key or an address does not."""


def failure_of(error: Exception, usage: Usage | None = None) -> Failure:
    """The failure that an exception out of the libraries stands for."""
    if any(isinstance(cause, TooLong) for cause in _causes(error)):
        return Failure("invalid_response", "endless", usage=usage)
    kind = _kind(error)
    header = (
        error.headers.get("retry-after")
        if isinstance(error, ModelHTTPError) and error.headers
        else None
    )
    return Failure(
        kind,
        _detail(error),
        retry_after=retry_after_seconds(header, datetime.now(UTC)),
        usage=usage,
    )


def _kind(error: Exception) -> Kind:
    if isinstance(error, ModelConnectionError):
        return _of_connection(error)
    if isinstance(error, ModelRateLimitError | ModelQuotaExceededError):
        return "rate_limited"
    if isinstance(error, ModelAuthenticationError):
        return "unauthorized"
    if isinstance(error, ModelRequestRejectedError):
        return "bad_request"
    if isinstance(error, ModelHTTPError):
        return _of_status(error.status_code)
    if isinstance(error, ModelAPIError) and error.in_stream:
        return "server_error"
    if isinstance(error, httpx2.TransportError | httpx2.StreamError):
        return "broken"
    return "invalid_response"


def _of_connection(error: ModelConnectionError) -> Kind:
    if isinstance(error, ModelTimeoutError):
        return "timeout_connect" if error.phase in ("connect", "pool") else "timeout_first_token"
    return "refused" if error.phase == "connect" else "broken"


def _of_status(status: int) -> Kind:
    if status in (408, 409, 425) or status >= 500:
        return "server_error"
    return "bad_request" if status >= 400 else "invalid_response"


def _detail(error: Exception) -> str:
    if not isinstance(error, ModelAPIError):
        return type(error).__name__
    code = error.provider_error_code or error.provider_error_type or ""
    if isinstance(error, ModelHTTPError):
        return f"{error.status_code} {code}" if _CODE.fullmatch(code) else str(error.status_code)
    names = (
        type(cause).__name__ for cause in _causes(error) if isinstance(cause, httpx2.HTTPError)
    )
    return next(names, type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__

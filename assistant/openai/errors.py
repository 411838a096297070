"""Errors as OpenAI's clients read them."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from assistant.openai.schema import ErrorBody, ErrorDetail
from assistant.problems import UNEXPECTED
from assistant.telemetry.asked import turned_away
from index.errors import CasebookError, InvalidInput

log = logging.getLogger("casebook.openai")

RETRY_AFTER = {"Retry-After": "5"}
"""Of what is unavailable, as on every other route."""

CODES = {
    401: "invalid_api_key",
    403: "permission_denied",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}
"""OpenAI's codes by status."""


class OpenAIRoute(APIRoute):
    """A route whose errors are in OpenAI's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with every error that has a remedy turned into a response."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][1:])
                message = f"{where or 'the body'}: {first['msg']}"
                return _response(openai_error(400, message, where or None), 400)
            except HTTPException as error:
                message = f"the request can't be read ({error.detail}): send UTF-8 JSON"
                return _response(openai_error(error.status_code, message), error.status_code)
            except CasebookError as error:
                turned_away(error)
                log.warning("%s %s: %s", request.method, request.url.path, error)
                status = 400 if isinstance(error, InvalidInput) else error.status
                headers = getattr(error, "headers", RETRY_AFTER if status == 503 else {})
                return _response(openai_error(status, str(error)), status, headers)
            except Exception:
                # The border of the protocol: its clients look for an error of its shape.
                log.exception("%s %s", request.method, request.url.path)
                return _response(openai_error(500, UNEXPECTED), 500)

        return handled


def openai_error(status: int, message: str, param: str | None = None) -> ErrorBody:
    """The body for an error with an HTTP status; `param` names the field that was wrong."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    return ErrorBody(
        error=ErrorDetail(message=message, type=kind, param=param, code=CODES.get(status))
    )


def _response(body: ErrorBody, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(body.model_dump(), status, headers)

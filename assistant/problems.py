"""Errors at the HTTP border: every one an `application/problem+json` (RFC 9457), none a trace."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from assistant.telemetry.asked import turned_away
from index.errors import CasebookError

log = logging.getLogger("casebook.api")

UNEXPECTED = "something unexpected went wrong here: the service's log has the details"

SEND = 'send UTF-8 JSON, like {"question": "…"}'


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


class ProblemResponse(JSONResponse):
    """A problem as a response."""

    media_type = "application/problem+json"


def problem(
    status: int, title: str, detail: str, errors: Sequence[dict[str, Any]] | None = None
) -> ProblemResponse:
    """Build the response for one problem."""
    body = Problem(
        title=title, status=status, detail=detail, errors=list(errors) if errors else None
    )
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return ProblemResponse(body.model_dump(exclude_none=True), status, headers)


def from_error(error: CasebookError) -> ProblemResponse:
    """The response for one of our own errors."""
    response = problem(error.status, error.title, str(error))
    response.headers.update(getattr(error, "headers", {}))
    return response


def install(app: FastAPI) -> None:
    """Turn every error of the application into a problem."""

    @app.exception_handler(CasebookError)
    def casebook_error(request: Request, error: CasebookError) -> ProblemResponse:
        turned_away(error)
        log.warning("%s %s: %s", request.method, request.url.path, error)
        return from_error(error)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> ProblemResponse:
        # Starlette raises it again behind this answer, so that the server's log has all of it.
        log.error("%s %s broke: %s", request.method, request.url.path, type(error).__name__)
        return problem(500, "Internal error", UNEXPECTED)

    @app.exception_handler(RequestValidationError)
    def invalid_request(request: Request, error: RequestValidationError) -> ProblemResponse:
        errors = [
            {"where": ".".join(str(part) for part in each["loc"]), "message": _message(each)}
            for each in error.errors()
        ]
        detail = "; ".join(f"{each['where']}: {each['message']}" for each in errors)
        return problem(422, "Invalid input", detail, errors)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> ProblemResponse:
        title = HTTPStatus(error.status_code).phrase
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path}: see /openapi.json for what there is"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.url.path} does not take {request.method}: see /openapi.json"
        elif error.status_code == HTTPStatus.BAD_REQUEST:
            detail = f"the request can't be read ({error.detail}): {SEND}"
        else:
            detail = str(error.detail)
        response = problem(error.status_code, title, detail)
        response.headers.update(error.headers or {})
        return response


def _message(error: dict[str, Any]) -> str:
    """What pydantic says, with a remedy where its words alone are no help."""
    if error["type"] == "json_invalid":
        return f"the body is not valid JSON: {SEND}"
    if error["type"] == "string_unicode":
        return f"the text is not valid Unicode: {SEND}"
    return str(error["msg"]).removeprefix("Value error, ")

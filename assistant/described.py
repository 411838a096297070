"""What OpenAPI says of errors, so that it is true: their type, and those that every route shares."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from assistant.problems import Problem, ProblemResponse

PROBLEM = {"$ref": f"#/components/schemas/{Problem.__name__}"}
VALIDATION = {"$ref": "#/components/schemas/HTTPValidationError"}
"""FastAPI's own, which no route here answers with."""

ANYWHERE = {
    "400": "The request can't be read",
    "403": "Not for this caller, or sent by a page from elsewhere",
    "421": "Sent to a name that is not this service's",
}
"""What is answered before a route is looked at."""

WITH_BODY = {"413": "The body is too large"}


def describe_errors(app: FastAPI) -> None:
    """Have OpenAPI say of every operation what it answers where it does not do what it was asked."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for operation in _operations(schema):
            _mend(operation)
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        return schema

    # The way that FastAPI documents for adding to the schema.
    app.openapi = openapi  # type: ignore[method-assign]


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in schema["paths"].values():
        yield from operations.values()


def _mend(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "4XX" in responses:  # OpenAI's shape, for all of them
        responses.pop("422", None)
        return
    shared = ANYWHERE | (WITH_BODY if "requestBody" in operation else {})
    if operation.get("security"):
        shared |= {
            "401": "Not signed in, or not with what holds",
            "503": "Sign-in can't be told now",
        }
    for status, description in shared.items():
        responses.setdefault(status, {"description": description, "content": _problem()})
    for status, response in responses.items():
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema") in (PROBLEM, VALIDATION):
            responses[status] = {**response, "content": _problem()}


def _problem() -> dict[str, Any]:
    return {str(ProblemResponse.media_type): {"schema": PROBLEM}}

"""What routes may answer beside what was asked for, as OpenAPI tells it."""

from typing import Any

from assistant import problems

REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": problems.Problem, "description": "Not signed in, or not with what holds"},
    403: {"model": problems.Problem, "description": "Not for this caller"},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    401: REFUSED[401],
    422: {"model": problems.Problem, "description": "The input can't be used"},
    503: {
        "model": problems.Problem,
        "description": "No index to answer from, or too much to do: Retry-After says when to come again",
    },
}
LIMITED: dict[int | str, dict[str, Any]] = {
    429: {"model": problems.Problem, "description": "More than this caller may ask of a model"}
}
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "Not there"}
}

"""The OpenAPI document against the running service: what it describes is what is answered, whatever is sent.

Requests are generated from the document by schemathesis, valid ones and ones broken on purpose, always the same.
Who may call what, methods that a route has not and lost authorization are in test_routes_and_identities.
"""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.attack.tenants import Service

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
]
EXAMPLES = 20
"""An operation and kind of data."""


@pytest.fixture(scope="module")
def schema(service: Service) -> Any:
    return schemathesis.openapi.from_url(f"{service.address}/openapi.json")


def generated(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> list[str]:
    """What is wrong with the answers of one operation to generated requests."""
    wrong: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(headers=headers, timeout=60)
        # That one day is not after another, the document has no words for.
        beyond = [positive_data_acceptance] if "since" in (case.query or {}) else []
        if headers:  # a key that is left out on purpose is sent here all the same
            beyond.append(negative_data_rejection)
        try:
            case.validate_response(response, checks=CHECKS, excluded_checks=beyond)
        except BaseExceptionGroup as found:
            wrong.extend(
                f"{mode.value}: {each} {case.as_curl_command()}" for each in found.exceptions
            )

    try:
        ask()
    except Unsatisfiable:  # there is nothing that can be wrong
        pass
    except BaseExceptionGroup as found:  # what could not be sent or read at all
        wrong.extend(map(str, found.exceptions))
    return wrong


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", ["nobody", "an administrator"])
def test_every_operation_answers_as_it_is_described(
    service: Service, schema: Any, mode: GenerationMode, name: str
) -> None:
    headers = {key: str(value) for key, value in service.identities[name].sent}
    wrong = {}
    for found in schema.get_all_operations():
        operation = found.ok() if isinstance(found, Ok) else pytest.fail(str(found.err()))
        if troubles := generated(operation, mode, headers):
            wrong[operation.label] = troubles[:3]
    assert not wrong, "\n".join(
        f"{label}: {each}" for label, troubles in wrong.items() for each in troubles
    )


def test_the_document_is_valid_and_names_every_status_of_a_refusal(service: Service) -> None:
    document = httpx.get(f"{service.address}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security"):
                assert {"401", "4XX"} & set(operation["responses"]), (method, path)

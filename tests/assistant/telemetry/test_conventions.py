"""Names from elsewhere are as they are there; what is heavy is loaded by whoever starts to listen."""

import importlib
import subprocess
import sys

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from assistant.telemetry import conventions
from tests.conftest import ROOT

OURS = {name: value for name, value in vars(conventions).items() if name.startswith("GEN_AI_")}


@pytest.mark.parametrize("name", sorted(OURS))
def test_names_of_generative_ai_are_those_of_the_conventions(name: str) -> None:
    there = {**vars(gen_ai_metrics), **vars(gen_ai_attributes)}
    assert OURS[name] == there[name]


def test_the_version_is_the_one_that_is_named() -> None:
    assert conventions.SCHEMA_URL.endswith("/1.44.0")
    assert conventions.__doc__
    assert "1.44.0" in conventions.__doc__


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("assistant.cli", "opentelemetry"),
        ("index.store", "opentelemetry.sdk"),
        ("ingest.sync", "opentelemetry.sdk"),
        ("assistant.settings", "opentelemetry.sdk"),
        ("assistant.answering", "opentelemetry.exporter"),
        ("assistant.answering", "opentelemetry.sdk"),
    ],
)
def test_nothing_heavy_is_loaded_by(module: str, unwanted: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith('{unwanted}')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    importlib.import_module(module)

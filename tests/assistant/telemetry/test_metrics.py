"""`/metrics`, as Prometheus reads it from a real service, and as the documentation lists it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.assistant.telemetry.conftest import Driven
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

Labels = dict[str, str]


def samples(text: str, name: str) -> list[tuple[Labels, float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def value(text: str, name: str, **labels: str) -> float:
    return sum(number for having, number in samples(text, name) if labels.items() <= having.items())


def documented() -> dict[str, set[str]]:
    """The families in the tables of docs/telemetry.md: name and labels."""
    rows = re.findall(
        r"^\| `((?:casebook|http|gen_ai)_[a-z0-9_]+)` \|([^|]*)\|",
        (ROOT / "docs" / "telemetry.md").read_text(),
        re.M,
    )
    return {name: set(re.findall(r"`([a-z_]+)`", labels)) for name, labels in rows}


def families(driven: Driven) -> dict[str, set[str]]:
    suffix = re.compile(r"_(bucket|sum|count)$")
    return {
        suffix.sub("", name): set(labels) - {"le"}
        for name, labels in driven.series.items()
        if name != "target_info"
    }


def test_the_documentation_lists_each_metric_with_its_labels(driven: Driven) -> None:
    optional = {"casebook_tls_expiry_seconds"}
    assert {k: v for k, v in documented().items() if k not in optional} == families(driven)


def test_every_question_is_counted_once_by_what_became_of_it(driven: Driven) -> None:
    counted = {
        (labels["status"], labels["mode"])
        for labels, count in samples(driven.expositions[1], "casebook_questions_total")
        if count
    }
    assert {
        ("answered", "generated"),
        ("answered", "extractive"),
        ("abstained", "none"),
        ("refused", "none"),
        ("shed", "none"),
        ("left", "none"),
        ("error", "none"),
    } <= counted
    asked = sum(
        value(driven.expositions[1], "http_server_request_duration_seconds_count", http_route=route)
        for route in ("/ask", "/v1/chat/completions")
    )
    assert value(driven.expositions[1], "casebook_questions_total") == asked


def test_what_can_be_read_is_timed_for_answers_and_abstentions_alone(driven: Driven) -> None:
    text = driven.expositions[1]
    answers = sum(
        value(text, "casebook_questions_total", status=status)
        for status in ("answered", "partial", "abstained")
    )
    assert value(text, "casebook_first_sentence_duration_seconds_count") == answers


@pytest.mark.parametrize(
    ("histogram", "edge"),
    [
        ("casebook_first_sentence_duration_seconds", "2.0"),
        ("http_server_request_duration_seconds", "0.3"),
        ("http_server_request_duration_seconds", "0.15"),
    ],
)
def test_objectives_lie_at_the_edge_of_a_bucket(driven: Driven, histogram: str, edge: str) -> None:
    edges = {labels["le"] for labels, _ in samples(driven.expositions[0], f"{histogram}_bucket")}
    assert edge in edges


def test_every_stage_is_timed(driven: Driven) -> None:
    stages = {
        labels["stage"]
        for labels, _ in samples(driven.expositions[0], "casebook_stage_duration_seconds_count")
    }
    assert stages == set("embed retrieve rerank read extract judge generate verify queue".split())


def test_sources_say_how_old_they_are_and_may_be(driven: Driven) -> None:
    text = driven.expositions[0]
    assert value(text, "casebook_source_target_seconds", source="notes") == 86400
    assert value(text, "casebook_source_target_seconds", source="wiki") == 2 * 7200
    assert 0 <= value(text, "casebook_source_age_seconds", source="notes") < 3600
    assert value(text, "casebook_source_failing", source="notes") == 0
    assert value(text, "casebook_source_failing", source="wiki") == 1
    assert samples(text, "casebook_source_age_seconds") != []
    assert {"source": "wiki"} not in [
        labels for labels, _ in samples(text, "casebook_source_age_seconds")
    ]


def test_the_index_says_whether_it_is_there(driven: Driven) -> None:
    before, without = driven.expositions
    assert value(before, "casebook_index_unavailable") == 0
    assert value(before, "casebook_index_documents") > 20
    assert value(before, "casebook_index_chunks") > 80
    assert 0 <= value(before, "casebook_snapshot_age_seconds") < 3600
    assert value(without, "casebook_index_unavailable") == 1
    assert samples(without, "casebook_index_documents") == []


def test_models_are_told_apart_by_their_names_in_the_settings(driven: Driven) -> None:
    text = driven.expositions[0]
    attempts = {
        (labels["provider"], labels["outcome"])
        for labels, _ in samples(text, "casebook_gateway_attempts_total")
    }
    assert {("first", "unauthorized"), ("second", "completed"), ("second", "server_error")} <= (
        attempts
    )
    assert value(text, "casebook_gateway_cost_total", model="second", team="payments") > 0
    assert value(text, "casebook_gateway_breaker_open", provider="first") == 1
    assert {labels["provider"] for labels, _ in samples(text, "casebook_gateway_breaker_open")} == {
        "first",
        "second",
    }
    used = {labels["budget"]: n for labels, n in samples(text, "casebook_budget_used")}
    assert set(used) == {"all dollars", "team requests"}
    assert all(0 < share < 1 for share in used.values())


def test_callers_can_not_make_series(driven: Driven) -> None:
    """A thousand different paths, methods, hosts, keys and traces: a handful of series."""
    with driven.service.client() as client:

        def call(number: int) -> None:
            headers = {"Authorization": f"Bearer cbk_{number}", "traceparent": f"{number}"}
            path = ("/nowhere/", "/documents/", "/v1/models/", "/static/", "/ask/")[number % 5]
            client.request(f"M{number}", f"{path}{number}", headers=headers)
            if number % 10 == 0:
                client.get(f"/documents/{number}", headers={"Host": f"h{number}.example"})
                client.get("/search", params={"q": str(number)}, headers=headers)

        def distinct() -> int:
            return sum(
                len(family.samples)
                for family in text_string_to_metric_families(driven.service.metrics())
            )

        for number in range(5):
            call(number)
        driven.service.metrics()
        before = distinct()
        for number in range(5, 1000):
            call(number)
        assert distinct() == before


SCRAPED_AT_ONCE = """
import time
from concurrent.futures import ThreadPoolExecutor
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from assistant.telemetry import start
from assistant.telemetry.instruments import begin_at_zero
from assistant.telemetry.settings import TelemetrySettings

collect, waits = PrometheusMetricReader.collect, iter((0.3, 0.8, 0.1, 0.6))

def slowly(self, *arguments):
    collect(self, *arguments)
    time.sleep(next(waits))

PrometheusMetricReader.collect = slowly
telemetry = start(TelemetrySettings())
begin_at_zero()
with ThreadPoolExecutor(4) as pool:
    texts = list(pool.map(lambda _: telemetry.exposition(), range(4)))
print({len(text.splitlines()) for text in texts})
"""


def test_scrapes_at_the_same_time_are_all_whole() -> None:
    code = [sys.executable, "-c", SCRAPED_AT_ONCE]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    (lines,) = ast.literal_eval(done.stdout)
    assert lines > 20


def test_metrics_are_for_operators(driven: Driven) -> None:
    def status(key: str | None) -> int:
        with driven.service.client(key) as client:
            return client.get("/metrics").status_code

    assert [status(key) for key in (None, "reader", "operator", "root")] == [401, 403, 200, 200]


def test_what_is_sent_is_what_is_exposed(driven: Driven) -> None:
    sent = driven.receiver.wait_for(lambda got: got.metrics())
    exposed = families(driven)
    for name in sent:
        stem = name.replace(".", "_")
        assert any(found.startswith(stem) for found in exposed), name


def test_docs_say_what_can_be_set() -> None:
    text = Path(ROOT / "docs" / "telemetry.md").read_text()
    for name in ("otlp_endpoint", "headers_file", "sample", "content", "casebook:operator"):
        assert name in text

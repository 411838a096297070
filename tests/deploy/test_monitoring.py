"""The objectives, rules and dashboard agree with each other and with the metrics that there really are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.assistant.telemetry.exposed import exposed

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
SLOS = {
    slo["metadata"]["name"]: slo
    for slo in yaml.safe_load_all((MONITORING / "slos.yaml").read_text())
}

SELECTOR = re.compile(r"\b((?:casebook|http_server|gen_ai|process)_\w+)(?:{([^}]*)})?")
OURS = re.compile(r"\bcasebook:\w+:\w+\b")
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)|\bon\(([^)]*)\)")
FROM_PROMETHEUS = {"instance", "job"}


def selected_by(query: str) -> list[tuple[str, str]]:
    """The metrics of a query, each with its matchers; what it groups by are labels."""
    return SELECTOR.findall(GROUPED.sub("", query))


def rules() -> Iterator[dict[str, Any]]:
    for group in RULES:
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    for slo in SLOS.values():
        yield from _queries(slo)


def _queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "query":
                yield value
            else:
                yield from _queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from _queries(value)


@pytest.fixture(scope="module")
def series(
    tmp_path_factory: pytest.TempPathFactory, case_studies_index: Path
) -> dict[str, frozenset[str]]:
    return exposed(tmp_path_factory.mktemp("monitoring"), case_studies_index)


@pytest.mark.slow
def test_every_query_is_of_metrics_and_labels_that_a_real_service_has(
    series: dict[str, frozenset[str]],
) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for query in queries():
        for name, selected in selected_by(query):
            if name == "casebook_tls_expiry_seconds":  # only where a certificate is served
                continue
            assert name in series, f"{name} in {query}"
            labels = set(re.findall(r"(\w+)\s*[=!]", selected))
            assert labels <= series[name] | FROM_PROMETHEUS, query
        assert set(OURS.findall(query)) <= recorded, query
        known = FROM_PROMETHEUS.union(*(series.get(name, set()) for name, _ in selected_by(query)))
        for by, on in GROUPED.findall(query):
            assert {label.strip() for label in (by or on).split(",")} - {""} <= known, query


@pytest.mark.slow
def test_every_metric_of_ours_is_looked_at_somewhere(series: dict[str, frozenset[str]]) -> None:
    looked_at = {name for query in queries() for name, _ in selected_by(query)}
    families = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in looked_at}
    ours = {name for name in series if name.startswith("casebook_")}
    unseen = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in ours} - families
    assert unseen <= {"casebook_ingest_duration_seconds", "casebook_ingest_documents"}


@pytest.mark.parametrize("name", ["answered", "first-sentence"])
def test_alerts_burn_the_budget_that_the_objective_leaves(name: str) -> None:
    (objective,) = SLOS[name]["spec"]["objectives"]
    left = round(1 - objective["target"], 6)
    alerts = [rule for rule in rules() if rule.get("labels", {}).get("slo") == name]
    factors = []
    for rule in alerts:
        limits = re.findall(r"ratio_rate\w+ > (?:([\d.]+) \* )?([\d.]+)", rule["expr"])
        assert len(limits) == 2
        assert {float(budget) for _, budget in limits} == {left}
        factors.append({float(factor or 1) for factor, _ in limits})
    assert factors == [{14.4}, {6.0}, {1.0}]


def test_windows_are_those_of_the_workbook() -> None:
    for prefix in ("CasebookAnswersFailing", "CasebookAnswersLate"):
        windows = [
            tuple(re.findall(r"ratio_rate(\w+) >", rule["expr"]))
            for rule in rules()
            if rule.get("alert", "").startswith(prefix)
        ]
        assert windows == [("1h", "5m"), ("6h", "30m"), ("3d", "6h")]


def test_the_dashboard_names_runbooks_that_there_are_and_draws_nothing_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        for page in re.findall(r"docs/runbooks/[\w-]+\.md", panel.get("description", "")):
            assert (ROOT / page).is_file(), page
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)

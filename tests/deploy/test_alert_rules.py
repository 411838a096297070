"""The alerts, asked by promtool: when they fire, when they don't, and where they send whoever is woken."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules.yaml").read_text())["spec"]
CASES = yaml.load(
    Path(__file__).with_name("alert_cases.yaml").read_text(), yaml.BaseLoader
)  # 0x9 is no number
ALERTS = {
    rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: Debian has it in the package `prometheus`")
    return found


def checked(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expected(alert: str, fires: Mapping[str, Any]) -> dict[str, Any]:
    """The labels and words of a firing alert, from its rule, for promtool to compare."""
    rule = ALERTS[alert]
    labels = fires.get("labels", {})

    def said(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        return re.sub(r"{{ \$value \| \w+ }}", lambda _: fires["value"], text)

    shown = {name: value for name, value in labels.items() if value}
    return {
        "exp_labels": {**rule["labels"], **shown},
        "exp_annotations": {name: said(text) for name, text in rule["annotations"].items()},
    }


def groups(alert: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each case as promtool takes it, with the time between two samples."""
    for case in CASES[alert]:
        step = case.get("step", "1m")
        fires = case.get("fires")
        asked = {
            "alertname": alert,
            "eval_time": case["at"],
            "exp_alerts": [] if fires is None else [expected(alert, fires)],
        }
        series = [{"series": name, "values": values} for name, values in case["series"].items()]
        yield (
            step,
            {
                "name": f"{alert}: {case['case']}",
                "interval": step,
                "input_series": series,
                "alert_rule_test": [asked],
            },
        )


def test_the_rules_are_valid(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    assert "SUCCESS" in checked(promtool, "check", "rules", "rules.yaml", cwd=tmp_path)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_only_then(
    promtool: str, tmp_path: Path, alert: str
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    by_step = defaultdict(list)
    for step, group in groups(alert):
        by_step[step].append(group)
    for step, tests in by_step.items():
        suite = {"rule_files": ["rules.yaml"], "evaluation_interval": step, "tests": tests}
        (tmp_path / f"cases-{step}.yaml").write_text(yaml.safe_dump(suite))
        checked(promtool, "test", "rules", f"cases-{step}.yaml", cwd=tmp_path)


def test_each_alert_has_five_cases_of_which_some_fire_and_some_do_not() -> None:
    assert set(CASES) == set(ALERTS)
    for alert, cases in CASES.items():
        firing = ["fires" in case for case in cases]
        assert len(cases) >= 5, alert
        assert any(firing), alert
        assert not all(firing), alert
        assert len({case["case"] for case in cases}) == len(cases), alert


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_links_a_runbook_that_is_about_it(alert: str) -> None:
    page = ROOT / ALERTS[alert]["annotations"]["runbook_url"]
    assert alert in page.read_text(encoding="utf-8")


def test_each_runbook_is_linked_by_an_alert() -> None:
    linked = {rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    there = {f"docs/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert there == linked

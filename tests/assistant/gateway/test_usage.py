"""Reports of use, and `casebook usage` as a person uses it."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistant.gateway.commands import usage_command
from assistant.gateway.ledger import Attempt, Ledger
from assistant.gateway.schema import Payer, Usage
from assistant.gateway.settings import Budget
from assistant.gateway.usage import UsageReport, csv_text, report
from index.errors import InvalidInput

FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def call(ledger: Ledger, payer: Payer, *attempts: Attempt) -> None:
    ledger.settle(ledger.reserve(payer, 0, Decimal(0)), attempts)


FAILED = Attempt("large", "rate_limited", None, None, None, 3.0)
SMALL = Attempt("small", "completed", Usage(100, 20, 40), Decimal("0.25"), 1.0, 3.0)
LARGE = Attempt("large", "truncated", Usage(1000, 200), Decimal("1.000000001"), 1.0, 3.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two days: on the first ada's team asks twice, on the second =bob asks, and asks again."""
    clock = Clock()
    budgets = [
        Budget(per="all", dollars=Decimal(5)),
        Budget(per="key", requests=10),
        Budget(per="team", name="ops", tokens=1000),
    ]
    ledger = Ledger(tmp_path / "usage.sqlite", budgets, clock)
    call(ledger, Payer("ada", "sre"), LARGE)
    call(ledger, Payer("ada", "sre"), FAILED, FAILED, SMALL)
    clock.time += timedelta(days=1)
    call(ledger, Payer("=bob"), SMALL)
    ledger.cached(Payer("=bob"), "small", 0.1)
    return ledger


def test_totals_are_those_of_the_days_between(ledger: Ledger) -> None:
    whole = report(ledger, FIRST, SECOND)
    assert whole.totals.model_dump() == {
        "requests": 4,
        "input_tokens": 1200,
        "output_tokens": 240,
        "cached_tokens": 80,
        "cost": Decimal("1.500000001"),
        "failures": 2,
    }
    assert report(ledger, FIRST, FIRST).totals.requests == 2
    assert report(ledger, SECOND, SECOND).totals.cost == Decimal("0.25")
    nothing = report(ledger, date(2026, 2, 1), date(2026, 2, 28))
    assert nothing.totals.requests == 0
    assert (nothing.by_day, nothing.by_team, nothing.by_model, nothing.by_key) == ([], [], [], [])


def test_every_list_adds_up_to_the_totals(ledger: Ledger) -> None:
    found = report(ledger, FIRST, SECOND)
    for rows in (found.by_day, found.by_team, found.by_model, found.by_key):
        for measure, total in found.totals:
            assert sum(getattr(row, measure) for row in rows) == total
    assert [(row.day, row.requests) for row in found.by_day] == [(FIRST, 2), (SECOND, 2)]
    assert [(row.team, row.requests) for row in found.by_team] == [("", 2), ("sre", 2)]
    assert [(row.model, row.failures) for row in found.by_model] == [("large", 2), ("small", 0)]
    assert [(row.key, row.cost) for row in found.by_key] == [
        ("=bob", Decimal("0.25")),
        ("ada", Decimal("1.250000001")),
    ]


def test_who_leaves_is_no_failure_and_what_breaks_is_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite", now=Clock())
    for outcome in ("cancelled", "broken"):
        call(ledger, Payer("ada"), replace(SMALL, outcome=outcome))
    found = report(ledger, FIRST, FIRST)
    assert (found.totals.requests, found.totals.failures) == (2, 1)


def test_a_call_that_was_lost_and_found_leaves_no_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite", now=(clock := Clock()))
    slow = ledger.reserve(Payer("ada"), 40, Decimal(1))
    clock.time += timedelta(minutes=6)
    call(ledger, Payer("bob"), SMALL)
    assert [(row.model, row.failures) for row in report(ledger, FIRST, FIRST).by_model] == [
        ("", 1),
        ("small", 0),
    ]
    ledger.settle(slow, [LARGE])
    assert [row.model for row in report(ledger, FIRST, FIRST).by_model] == ["large", "small"]


def test_budgets_are_those_of_today(ledger: Ledger) -> None:
    budgets = report(ledger, FIRST, FIRST).model_dump(mode="json")["budgets"]
    day = str(SECOND)
    assert budgets == [
        {
            "per": "all",
            "name": "",
            "day": day,
            "used": {"requests": 1, "tokens": 120, "dollars": "0.25"},
            "limit": {"requests": None, "tokens": None, "dollars": "5"},
        },
        {
            "per": "key",
            "name": "=bob",
            "day": day,
            "used": {"requests": 1, "tokens": 120, "dollars": "0.25"},
            "limit": {"requests": 10, "tokens": None, "dollars": None},
        },
        {
            "per": "team",
            "name": "ops",
            "day": day,
            "used": {"requests": 0, "tokens": 0, "dollars": "0"},
            "limit": {"requests": None, "tokens": 1000, "dollars": None},
        },
    ]


def test_a_report_survives_json_with_every_nano_dollar(ledger: Ledger) -> None:
    found = report(ledger, FIRST, SECOND)
    text = found.model_dump_json()
    assert '"cost":"1.500000001"' in text
    assert UsageReport.model_validate_json(text) == found


def test_csv_holds_no_formulas(ledger: Ledger) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(report(ledger, FIRST, SECOND), "key"))))
    assert rows == [
        "key requests input_tokens output_tokens cached_tokens cost failures".split(),
        ["'=bob", "2", "100", "20", "40", "0.25", "0"],
        ["ada", "2", "1100", "220", "40", "1.250000001", "2"],
    ]


def run(ledger: Ledger, *arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(usage_command(lambda: ledger), arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_table_shows_each_day_and_all(ledger: Ledger) -> None:
    lines = [line.split() for line in run(ledger).stdout.splitlines() if line.strip()]
    assert ["2026-03-01", "2", "1,100", "40", "220", "1.2500", "2"] in lines
    assert ["all", "4", "1,200", "80", "240", "1.5000", "2"] in lines
    assert "today's budget of all: 0.25 of 5 dollars".split() in lines
    assert "today's budget of key =bob: 1 of 10 requests".split() in lines


def test_names_are_printed_as_they_are_and_never_as_orders(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite", [Budget(per="key", requests=9)], Clock())
    call(ledger, Payer("[red]\x1b[2J"), SMALL)
    shown = run(ledger, "--by", "key").stdout
    assert shown.count("[red]\N{REPLACEMENT CHARACTER}[2J") == 2
    assert "\x1b" not in shown


def test_dates_choose_the_days(ledger: Ledger) -> None:
    first = json.loads(run(ledger, "--until", "2026-03-01", "--json").stdout)
    assert (first["since"], first["until"]) == ("2026-01-31", "2026-03-01")
    assert [row["day"] for row in first["by_day"]] == ["2026-03-01"]
    second = run(ledger, "--since", "2026-03-02", "--csv", "--by", "model").stdout
    assert second.splitlines()[1:] == ["small,2,100,20,40,0.25,0"]
    assert "no calls from" in run(ledger, "--until", "2026-02-01").stdout
    assert "no calls from 0001-01-01" in run(ledger, "--until", "0001-01-02").stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ("--since", "yesterday"),
        ("--until", "2026-02-30"),
        ("--since", "2026-03-05", "--until", "2026-03-04"),
        ("--csv", "--json"),
    ],
)
def test_what_makes_no_sense_is_said(ledger: Ledger, wrong: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        run(ledger, *wrong)


def test_a_service_that_never_asked_a_model_has_an_empty_report(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage.sqlite", [Budget(per="all", requests=5)], Clock())
    shown = run(ledger).stdout
    assert "no calls from" in shown
    assert "0 of 5 requests" in shown
    assert not ledger.file.path.exists()

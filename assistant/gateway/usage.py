"""Reports of what models were used for: by day, team, model and key, and how full the budgets are."""

import csv
import io
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

from assistant.gateway.budgets import Per, Scope, limit_of
from assistant.gateway.counters import COUNTERS, dollars_of, used_by
from assistant.gateway.ledger import Ledger
from assistant.gateway.settings import Budget

By = Literal["day", "team", "model", "key"]

DAYS = 30
"""Days of a report for which no first one is named."""

Dollars = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", str, when_used="json")]
"""US dollars: exact, so a string in JSON, never with an exponent."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Totals(_Row):
    """What was used, added up.

    A request counts once, where its last attempt was; those answered from the cache are among them. Each failed
    attempt is a failure, so there can be more of them than requests. Cached tokens are among the
    input's. An attempt without a known price adds nothing to the cost.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: Dollars = Decimal(0)
    failures: int = 0


class DayTotals(Totals):
    """What was used on a day (UTC)."""

    day: date


class TeamTotals(Totals):
    """What a team used; its name is empty for callers without a team."""

    team: str


class ModelTotals(Totals):
    """What a model was used for; its name is empty for calls whose process died before they ended."""

    model: str


class KeyTotals(Totals):
    """What the callers of one name used: a key's, or the subject of a token."""

    key: str


class Used(_Row):
    """What counts against a budget: requests that a model was asked, tokens in and out, and dollars."""

    requests: int
    tokens: int
    dollars: Dollars


class Limited(_Row):
    """The limits of a budget; None is without limit."""

    requests: int | None
    tokens: int | None
    dollars: Dollars | None


class BudgetUse(_Row):
    """How full a budget is today; `name` is empty for the budget of all."""

    per: Per
    name: str
    day: date
    used: Used
    limit: Limited


class UsageReport(_Row):
    """What was used from one day to another, both included. Every list adds up to the totals."""

    since: date
    until: date
    totals: Totals
    by_day: list[DayTotals]
    by_team: list[TeamTotals]
    by_model: list[ModelTotals]
    by_key: list[KeyTotals]
    budgets: list[BudgetUse]


def report(ledger: Ledger, since: date, until: date) -> UsageReport:
    """The report of these days, of one state of the ledger; budgets are those of today.

    Days come in order, other lists by name. Raises `LedgerUnavailable`.
    """
    with ledger.file.read() as db:
        by: dict[str, dict[str, Totals]] = {
            name: _added_up(db, since, until, per, column) for name, per, column in LISTS
        }
        return UsageReport(
            since=since,
            until=until,
            totals=_added_up(db, since, until, "all", "name").get("", Totals()),
            by_day=[DayTotals(day=date.fromisoformat(d), **dict(t)) for d, t in by["day"].items()],
            by_team=[TeamTotals(team=name, **dict(t)) for name, t in by["team"].items()],
            by_model=[ModelTotals(model=name, **dict(t)) for name, t in by["model"].items()],
            by_key=[KeyTotals(key=name, **dict(t)) for name, t in by["key"].items()],
            budgets=list(_budgets(db, ledger.budgets, ledger.now().astimezone(UTC).date())),
        )


def first_day(last: date) -> date:
    """The first of the `DAYS` that end with `last`; there is none before the year 1."""
    return date.fromordinal(max(1, last.toordinal() - DAYS + 1))


LISTS = (
    ("day", "all", "day"),
    ("team", "team", "name"),
    ("model", "model", "name"),
    ("key", "key", "name"),
)


def _added_up(
    db: sqlite3.Connection, since: date, until: date, per: str, column: str
) -> dict[str, Totals]:
    sums = ", ".join(f"SUM({counter})" for counter in COUNTERS)
    rows = db.execute(
        f"SELECT {column}, {sums} FROM counters WHERE day BETWEEN ? AND ? AND per = ? "
        "GROUP BY 1 ORDER BY 1",
        (str(since), str(until), per),
    )
    return {
        row[0]: _totals(dict(zip(COUNTERS, row[1:], strict=True))) for row in rows if any(row[1:])
    }


def _totals(sums: dict[str, int]) -> Totals:
    del sums["from_cache"]  # told apart by budgets alone
    return Totals.model_validate({**sums, "cost": dollars_of(sums["cost"])})


def _budgets(db: sqlite3.Connection, budgets: Sequence[Budget], day: date) -> Iterator[BudgetUse]:
    """Each budget that is named or was used of that day."""
    rows = db.execute(
        "SELECT per, name FROM counters WHERE day = ? AND per != 'model'", (str(day),)
    )
    scopes = {Scope(per, name) for per, name in rows}
    scopes |= {Scope(b.per, b.name or "") for b in budgets if b.name or b.per == "all"}
    for scope in sorted(scopes):
        limit = limit_of(scope, budgets)
        if limit and (scope.name or scope.per == "all"):
            used = used_by(db, day, scope)
            yield BudgetUse(
                per=scope.per,
                name=scope.name,
                day=day,
                used=Used(**asdict(used)),
                limit=Limited(**asdict(limit)),
            )


def csv_text(report: UsageReport, by: By = "day") -> str:
    """One list of the report as CSV (RFC 4180), with a line of names.

    A name that a spreadsheet would take for a formula is put after an apostrophe.
    """
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([by, *Totals.model_fields])
    for row in getattr(report, f"by_{by}"):
        shown = row.model_dump(mode="json")
        lines.writerow([_no_formula(shown[by]), *(shown[field] for field in Totals.model_fields)])
    return out.getvalue()


def _no_formula(name: str) -> str:
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name

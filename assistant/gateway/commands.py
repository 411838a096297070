"""`casebook usage`: what models were used for, and what it cost."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from index.errors import InvalidInput

if TYPE_CHECKING:  # pydantic would make every command start later
    from assistant.gateway.ledger import Ledger
    from assistant.gateway.usage import BudgetUse, By, Totals, UsageReport

DAYS = 30

COLUMNS = ("requests", "tokens in", "cached", "tokens out", "US dollars", "failed attempts")


def usage_command(ledger: "Callable[[], Ledger]") -> click.Command:
    """The command over the ledger that `ledger` opens, which is called when the command runs."""

    @click.command()
    @click.option("--since", metavar="DATE", help=f"First day, like 2026-03-01 [last {DAYS} days].")
    @click.option("--until", metavar="DATE", help="Last day [today]. Days are those of UTC.")
    @click.option(
        "--by",
        type=click.Choice(["day", "team", "model", "key"]),
        default="day",
        show_default=True,
        help="What to add up by; JSON holds all.",
    )
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV for spreadsheets.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    def usage(since: str | None, until: str | None, by: "By", as_csv: bool, as_json: bool) -> None:
        """Show what models were used for: requests, tokens, cost, and how full the budgets are."""
        from assistant.gateway.usage import csv_text, first_day, report

        if as_csv and as_json:
            raise InvalidInput("--csv and --json are two forms of the same: give one")
        opened = ledger()
        last = _date("--until", until) if until else opened.now().astimezone(UTC).date()
        first = _date("--since", since) if since else first_day(last)
        if first > last:
            raise InvalidInput(f"--since {first} is after --until {last}: give the earlier first")
        found = report(opened, first, last)
        if as_json:
            click.echo(found.model_dump_json())
        elif as_csv:
            click.echo(csv_text(found, by), nl=False)
        else:
            _show(found, by)

    return usage


def _date(option: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InvalidInput(f"{option} {text!r} is no date: give one like 2026-03-01") from None


def _show(found: "UsageReport", by: str) -> None:
    rows = getattr(found, f"by_{by}")
    if not rows:
        click.echo(f"no calls from {found.since} to {found.until}")
    else:
        _show_table(by, [(_shown(str(getattr(row, by))), row) for row in rows], found.totals)
    for budget in found.budgets:
        click.echo(_budget_line(budget))


def _show_table(by: str, rows: "list[tuple[str, Totals]]", totals: "Totals") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_footer=True)
    table.add_column(by, "all", no_wrap=True)
    for heading, sum_ in zip(COLUMNS, _cells(totals), strict=True):
        table.add_column(heading, sum_, justify="right")
    for name, row in rows:
        table.add_row(escape(name), *_cells(row))
    Console().print(table)


def _cells(row: "Totals") -> tuple[str, ...]:
    counts = (row.requests, row.input_tokens, row.cached_tokens, row.output_tokens)
    return (*(f"{count:,}" for count in counts), f"{row.cost:,.4f}", f"{row.failures:,}")


def _budget_line(budget: "BudgetUse") -> str:
    whose = budget.per if budget.per == "all" else f"{budget.per} {_shown(budget.name)}"
    parts = []
    for measure, limit in budget.limit:
        if limit is not None:
            used = getattr(budget.used, measure)
            parts.append(f"{used:,} of {limit:,} {measure}")
    return f"today's budget of {whose}: {', '.join(parts)}"


def _shown(name: str) -> str:
    """A name as it can be printed: the subject of a token may be anything."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name) or "none"

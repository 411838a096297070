"""The totals by day, kept beside the log and always equal to what adding it up gives.

Money is in whole nano-dollars, so that sums are exact.
"""

import sqlite3
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_UP, Decimal

from assistant.gateway.budgets import Amounts, Scope

MOST = 10**15
"""Tokens, or nano-dollars, of one attempt at most: a provider may claim any number, and sums have to
stay within SQLite's 64 bits."""

NANO = Decimal(10**9)

SUMS = """
    SUM(last), SUM(outcome = 'cached'), SUM(COALESCE(input_tokens, 0)),
    SUM(COALESCE(output_tokens, 0)), SUM(COALESCE(cached_tokens, 0)), SUM(COALESCE(cost, 0)),
    SUM(outcome NOT IN ('completed', 'truncated', 'cached', 'cancelled'))"""
"""What is counted of rows of the log. A request counts once, at its last attempt; so the requests of
all models are those of all keys. A caller who leaves (`cancelled`) is no failure."""

COUNTERS = "requests from_cache input_tokens output_tokens cached_tokens cost failures".split()
GROUPS = {"all": "''", "key": "key", "team": "team", "model": "model"}
"""What is counted by, and the column of the log that holds its name."""


@dataclass(frozen=True)
class Mismatch:
    """A counter that adding up the log does not confirm; each is a row of `COUNTERS`."""

    day: str
    per: str
    name: str
    counted: tuple[int, ...]
    logged: tuple[int, ...]


def used_by(db: sqlite3.Connection, day: date, scope: Scope) -> Amounts:
    """What a scope has used of its budgets on a day, without what is reserved."""
    row = db.execute(
        "SELECT requests - from_cache, input_tokens + output_tokens, cost FROM counters "
        "WHERE day = ? AND per = ? AND name = ?",
        (str(day), *scope),
    ).fetchone()
    return Amounts(row[0], row[1], dollars_of(row[2])) if row else Amounts()


def dollars_of(nano: int) -> Decimal:
    """Nano-dollars in dollars; exact."""
    return Decimal(nano) / NANO


def count(db: sqlite3.Connection, call_id: str, sign: int = 1) -> None:
    """Add the rows of one call to the counters, or take them off again."""
    added = ", ".join(f"{c} = {c} + {sign} * excluded.{c}" for c in COUNTERS)
    for per, column in GROUPS.items():
        db.execute(
            f"INSERT INTO counters SELECT day, '{per}', {column}, {SUMS} FROM calls "
            f"WHERE call_id = ? GROUP BY 1, 2, 3 ON CONFLICT DO UPDATE SET {added}",
            (call_id,),
        )


def within(number: int) -> int:
    """A number of tokens or nano-dollars that can be stored and added up."""
    return max(0, min(number, MOST))


def nano_of(dollars: Decimal) -> int:
    """Dollars in nano-dollars, rounded up."""
    return within(int((dollars * NANO).to_integral_value(ROUND_UP)))


def mismatches(db: sqlite3.Connection) -> tuple[Mismatch, ...]:
    """Every total that adding up the log does not confirm."""
    none = (0,) * len(COUNTERS)
    found = []
    for per, column in GROUPS.items():
        logged = _sums(db, f"SELECT day, {column}, {SUMS} FROM calls GROUP BY 1, 2")
        counted = _sums(
            db, f"SELECT day, name, {', '.join(COUNTERS)} FROM counters WHERE per = ?", per
        )
        for day, name in sorted(logged.keys() | counted.keys()):
            pair = counted.get((day, name), none), logged.get((day, name), none)
            if pair[0] != pair[1]:
                found.append(Mismatch(day, per, name, *pair))
    return tuple(found)


def _sums(
    db: sqlite3.Connection, query: str, *arguments: str
) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(day, name): tuple(sums) for day, name, *sums in db.execute(query, arguments)}

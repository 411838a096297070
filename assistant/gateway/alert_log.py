"""Which alerts are due: kept in the ledger, so that each is told once, also across restarts."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from assistant.gateway.budgets import MEASURES, Amounts, Limit, Scope
from assistant.gateway.ledger_file import LedgerFile

RETRY_AFTER = timedelta(minutes=1)
"""How long an alert that could not be delivered, or whose process died meanwhile, is left alone."""

AT_ONCE = 20


@dataclass(frozen=True)
class Alert:
    """A budget whose use has reached the share `at` of its limit."""

    day: str
    per: str
    name: str
    budget: str
    at: float
    used: Decimal
    limit: Decimal


def note_crossings(
    db: sqlite3.Connection,
    day: date,
    scope: Scope,
    used: Amounts,
    limit: Limit,
    thresholds: Sequence[float],
) -> bool:
    """Note each threshold that is reached, within a transaction; whether one is that was not before."""
    noted = 0
    for measure in MEASURES:
        most = limit.of(measure)
        for at in thresholds if most else ():
            if used.of(measure) >= Decimal(str(at)) * (most or 0):
                noted += db.execute(
                    "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                    (str(day), *scope, measure, at, f"{used.of(measure):f}", f"{most:f}"),
                ).rowcount
    return noted > 0


def claim(file: LedgerFile, now: datetime) -> list[Alert]:
    """Alerts to deliver now, which no other process is given for `RETRY_AFTER`."""
    late = (now - RETRY_AFTER).isoformat()
    with file.write() as db:
        rows = db.execute(
            "UPDATE alerts SET tried_at = ? WHERE (day, per, name, budget, at) IN (SELECT day, per, "
            "name, budget, at FROM alerts WHERE delivered_at IS NULL AND (tried_at IS NULL OR "
            "tried_at <= ?) LIMIT ?) RETURNING *",
            (now.isoformat(), late, AT_ONCE),
        ).fetchall()
    return sorted(
        (
            Alert(day, per, name, budget, at, Decimal(used), Decimal(most))
            for day, per, name, budget, at, used, most, *_ in rows
        ),
        key=lambda alert: (alert.day, alert.per, alert.name, alert.budget, alert.at),
    )


def note_delivery(file: LedgerFile, alert: Alert, now: datetime) -> None:
    """Note that an alert was told, for good."""
    with file.write() as db:
        db.execute(
            "UPDATE alerts SET delivered_at = ? WHERE (day, per, name, budget, at) = (?, ?, ?, ?, ?)",
            (now.isoformat(), alert.day, alert.per, alert.name, alert.budget, alert.at),
        )

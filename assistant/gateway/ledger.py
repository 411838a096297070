"""The ledger: budgets, the log of every attempt to call a model, and its totals by day.

A call is reserved before and settled after. What is reserved counts as used until then, and each
reservation is one transaction, of which SQLite lets one at a time through from whichever thread or
process: so no number of calls at once goes beyond a budget. A call that never settles, because
its process died, is settled as lost at what it had reserved.

Days are UTC's, and a call belongs to the day it was reserved in. Money is kept in whole
nano-dollars, so that sums are exact. No text of a question, passage or answer gets here.

What was committed survives the death of the process. A power cut can take the last commits and never
damages the file: waiting for the disk twice a call would cost more than it protects.
"""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from assistant.gateway.alert_log import note_crossings
from assistant.gateway.budgets import Amounts, Scope, exceeded, limit_of, notice, scopes_of
from assistant.gateway.counters import (
    GROUPS,
    Mismatch,
    count,
    dollars_of,
    mismatches,
    nano_of,
    used_by,
    within,
)
from assistant.gateway.errors import OverBudget
from assistant.gateway.ledger_file import LedgerFile, LedgerUnavailable
from assistant.gateway.schema import Payer, Usage
from assistant.gateway.settings import Budget

log = logging.getLogger("casebook.gateway")

LOST_AFTER = timedelta(minutes=5)
"""Five times the 60 s that all attempts of a call may take by default. A call that settles still later
counts as what it was: that takes the place of the loss."""


@dataclass(frozen=True)
class Attempt:
    """One try at one model. `model` is its name in the settings; times in milliseconds.

    `outcome` is completed, truncated, broken, cancelled, cached, or the kind of a failure; `cost` in
    US dollars, None where no price is known; `usage` None where nothing is known of it.
    """

    model: str
    outcome: str
    usage: Usage | None
    cost: Decimal | None
    first_token_ms: float | None
    latency_ms: float
    estimated: bool = False


@dataclass(frozen=True)
class Reservation:
    """A call that may be made; settle it, whatever becomes of it."""

    call_id: str
    payer: Payer
    day: date


def utc_now() -> datetime:
    """The time of the system's clock."""
    return datetime.now(UTC)


class Ledger:
    """The ledger in one file. Safe to share between threads; processes open one each.

    Every method may wait for the disk and for other processes: 0.1 ms as a rule, 5 s at most. Raises
    `LedgerUnavailable` where the file can't be used. `thresholds` are the shares of a budget whose
    crossing is noted for alerts.
    """

    def __init__(
        self,
        path: Path,
        budgets: Sequence[Budget] = (),
        now: Callable[[], datetime] = utc_now,
        thresholds: Sequence[float] = (),
    ) -> None:
        self.file = LedgerFile(path)
        self.budgets = tuple(budgets)
        self.now = now
        self.thresholds = tuple(thresholds)
        self.crossed = threading.Event()  # a threshold was; whoever tells of it clears this

    def reserve(self, payer: Payer, tokens: int, dollars: Decimal) -> Reservation:
        """Reserve one request, so many tokens (of prompt and answer) and dollars.

        Raises `OverBudget` where a budget of the payer's key, team or all would be exceeded by what
        was used today, is reserved and is asked for.
        """
        now = self.now().astimezone(UTC)
        made = Reservation(secrets.token_hex(8), payer, now.date())
        with self.file.write() as db:
            _settle_lost(db, now)
            refusal = self._refusal(db, made, Amounts(1, tokens, dollars))
            if refusal is None:
                db.execute(
                    "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        made.call_id,
                        _text(now),
                        str(made.day),
                        payer.name,
                        payer.team,
                        within(tokens),
                        nano_of(dollars),
                    ),
                )
        if refusal is not None:
            raise OverBudget(refusal)
        return made

    def extend(self, reservation: Reservation, tokens: int, dollars: Decimal) -> None:
        """Reserve so much for a call in place of what is reserved: what it has used and another try may
        use. Raises `OverBudget` as `reserve` does; then the call keeps what it had.
        """
        with self.file.write() as db:
            where = "FROM reservations WHERE call_id = ?"
            held = db.execute(f"SELECT tokens, cost {where}", (reservation.call_id,)).fetchone()
            if held is None:  # it was given up for lost, and settles as what it was
                return
            more = Amounts(0, tokens - held["tokens"], dollars - dollars_of(held["cost"]))
            refusal = self._refusal(db, reservation, more)
            if refusal is None:
                db.execute(
                    "UPDATE reservations SET tokens = ?, cost = ? WHERE call_id = ?",
                    (within(tokens), nano_of(dollars), reservation.call_id),
                )
        if refusal is not None:
            raise OverBudget(refusal)

    def settle(self, reservation: Reservation, attempts: Sequence[Attempt]) -> None:
        """Put what was used in place of what was reserved; a second time does nothing.

        Without attempts nothing counts, not even the request. A ledger that fails here fails no
        answer: it is logged, and the reservation counts as lost later.
        """
        try:
            with self.file.write() as db:
                if _release(db, reservation.call_id):
                    self._log(db, reservation, attempts)
        except LedgerUnavailable:
            log.error("call %s is not settled and will count as lost", reservation.call_id)

    def cached(self, payer: Payer, model: str, latency_ms: float) -> None:
        """Log a request answered from the cache: it costs nothing and no budget counts or stops it."""
        made = Reservation(secrets.token_hex(8), payer, self.now().astimezone(UTC).date())
        attempt = Attempt(model, "cached", Usage(0, 0), Decimal(0), None, latency_ms)
        try:
            with self.file.write() as db:
                self._log(db, made, [attempt])
        except LedgerUnavailable:
            log.error("an answer from the cache is not logged")

    def check(self) -> tuple[Mismatch, ...]:
        """Add up the whole log; gives the totals that differ from it, none where all agree."""
        with self.file.read() as db:
            return mismatches(db)

    def close(self) -> None:
        """Close the file. What is used after that opens it again."""
        self.file.close()

    def _refusal(self, db: sqlite3.Connection, made: Reservation, asked: Amounts) -> str | None:
        for scope in scopes_of(made.payer):
            if limit := limit_of(scope, self.budgets):
                used = used_by(db, made.day, scope) + _reserved(db, made.day, scope)
                if measure := exceeded(limit, used, asked):
                    return notice(scope, measure, limit, used, made.day)
        return None

    def _log(self, db: sqlite3.Connection, call: Reservation, attempts: Sequence[Attempt]) -> None:
        at = _text(self.now())
        for number, attempt in enumerate(attempts, 1):
            used = attempt.usage
            values: tuple[object, ...] = (
                call.call_id,
                at,
                str(call.day),
                call.payer.name,
                call.payer.team,
                attempt.model,
                attempt.outcome,
                number == len(attempts),
                None if used is None else within(used.input),
                None if used is None else within(used.output),
                None if used is None else within(used.cached),
                None if attempt.cost is None else nano_of(attempt.cost),
                attempt.estimated,
                attempt.first_token_ms,
                attempt.latency_ms,
            )
            db.execute(f"INSERT INTO calls VALUES (NULL{', ?' * len(values)})", values)
        count(db, call.call_id)
        for scope in scopes_of(call.payer) if self.thresholds else ():
            if limit := limit_of(scope, self.budgets):
                used_now = used_by(db, call.day, scope)
                if note_crossings(db, call.day, scope, used_now, limit, self.thresholds):
                    self.crossed.set()


def _reserved(db: sqlite3.Connection, day: date, scope: Scope) -> Amounts:
    column = GROUPS[scope.per]
    row = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(tokens), 0), COALESCE(SUM(cost), 0) FROM reservations "
        f"WHERE day = ? AND {column} = ?",
        (str(day), scope.name),
    ).fetchone()
    return Amounts(row[0], row[1], dollars_of(row[2]))


def _release(db: sqlite3.Connection, call_id: str) -> bool:
    """Take a reservation, or the loss it has become, out of what counts; False if it was settled."""
    if db.execute("DELETE FROM reservations WHERE call_id = ?", (call_id,)).rowcount:
        return True
    lost = "FROM calls WHERE call_id = ? AND outcome = 'lost'"
    if not db.execute(f"SELECT 1 {lost}", (call_id,)).fetchone():
        return False
    count(db, call_id, sign=-1)
    db.execute(f"DELETE {lost}", (call_id,))
    return True


def _settle_lost(db: sqlite3.Connection, now: datetime) -> None:
    """Log what nobody settled in time: one request, with all of its tokens as input."""
    rows = db.execute(
        "DELETE FROM reservations WHERE at < ? RETURNING *", (_text(now - LOST_AFTER),)
    ).fetchall()
    for row in rows:
        log.warning("call %s of %r was never settled: counted as reserved", row[0], row["key"])
        db.execute(
            "INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, '', 'lost', 1, ?, 0, 0, ?, 1, NULL, NULL)",
            (*(row[c] for c in "call_id at day key team tokens cost".split()),),
        )
        count(db, row["call_id"])


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")

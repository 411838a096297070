"""The ledger: budgets that hold whatever happens at once, and a log that adds up to its totals."""

import multiprocessing
import sqlite3
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from assistant.gateway.budgets import Scope
from assistant.gateway.counters import used_by
from assistant.gateway.errors import OverBudget
from assistant.gateway.ledger import LOST_AFTER, Attempt, Ledger, Reservation
from assistant.gateway.ledger_file import LedgerUnavailable
from assistant.gateway.schema import Payer, Usage
from assistant.gateway.settings import Budget

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CI = Payer("ci", "sre")
FREE = Decimal(0)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = BEGIN

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, **time: float) -> None:
        self.time += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "usage.sqlite"


def budget(**limits: Any) -> Budget:
    return Budget.model_validate({"per": "key", **limits})


def attempt(outcome: str = "completed", **changes: Any) -> Attempt:
    known: dict[str, Any] = {"usage": Usage(10, 5), "cost": Decimal("0.001")}
    return Attempt("small", outcome, **known | {"first_token_ms": 1.0, "latency_ms": 2.0} | changes)


def call(ledger: Ledger, payer: Payer = CI, tokens: int = 15, *attempts: Attempt) -> None:
    reservation = ledger.reserve(payer, tokens, FREE)
    ledger.settle(reservation, attempts or [attempt()])


def log_of(path: Path) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return db.execute("SELECT * FROM calls ORDER BY id").fetchall()


def used(ledger: Ledger, per: Any = "all", name: str = "") -> tuple[int, int, Decimal]:
    with ledger.file.read() as db:
        found = used_by(db, ledger.now().date(), Scope(per, name))
    return found.requests, found.tokens, found.dollars


# --- budgets ----------------------------------------------------------------------------------


def test_what_is_reserved_counts_until_it_is_settled(path: Path, clock: Clock) -> None:
    ledger = Ledger(path, [budget(tokens=100)], clock)
    first = ledger.reserve(CI, 60, FREE)
    with pytest.raises(OverBudget, match="too little left"):
        ledger.reserve(CI, 41, FREE)
    ledger.settle(first, [attempt(usage=Usage(10, 5))])
    ledger.reserve(CI, 85, FREE)
    with pytest.raises(OverBudget):
        ledger.reserve(CI, 1, FREE)


def test_a_budget_of_dollars_is_exact_to_the_last_tenth_of_a_cent(path: Path) -> None:
    ledger = Ledger(path, [budget(dollars="0.3")])
    for _ in range(3):
        reservation = ledger.reserve(CI, 1, Decimal("0.1"))
        ledger.settle(reservation, [attempt(cost=Decimal("0.1"))])
    assert used(ledger)[2] == Decimal("0.3")
    with pytest.raises(OverBudget, match="used up"):
        ledger.reserve(CI, 1, Decimal("0.000000001"))
    ledger.reserve(CI, 1, FREE)


def test_the_message_names_the_budget_and_when_it_renews(path: Path, clock: Clock) -> None:
    budgets = [budget(per="team", requests=1), budget(per="all", requests=2)]
    ledger = Ledger(path, budgets, clock)
    call(ledger)
    with pytest.raises(OverBudget) as refused:
        ledger.reserve(CI, 1, FREE)
    assert str(refused.value) == (
        "Today's budget of requests for team 'sre' is used up; it renews at 2026-03-02 00:00 UTC."
    )
    call(ledger, Payer("ada"))
    with pytest.raises(OverBudget, match="for the service is used up"):
        ledger.reserve(Payer("bob"), 1, FREE)


def test_a_budget_renews_at_midnight_of_utc(path: Path, clock: Clock) -> None:
    ledger = Ledger(path, [budget(requests=1)], clock)
    clock.time = datetime.fromisoformat("2026-03-01T23:59:59-02:00")  # 01:59 of the 2nd in UTC
    call(ledger)
    clock.time = datetime.fromisoformat("2026-03-02T23:59:59+00:00")
    with pytest.raises(OverBudget):
        ledger.reserve(CI, 1, FREE)
    clock.pass_(seconds=1)
    ledger.reserve(CI, 1, FREE)


def test_a_call_over_midnight_belongs_to_the_day_it_was_reserved_in(
    path: Path, clock: Clock
) -> None:
    ledger = Ledger(path, [budget(requests=1)], clock)
    clock.time = BEGIN.replace(hour=23, minute=59)
    late = ledger.reserve(CI, 1, FREE)
    clock.pass_(minutes=2)
    call(ledger)
    ledger.settle(late, [attempt()])
    assert [row["day"] for row in log_of(path)] == ["2026-03-02", "2026-03-01"]
    assert not ledger.check()


def test_keys_and_teams_have_budgets_of_their_own(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=2), budget(per="team", requests=3)])
    for payer in (CI, CI, Payer("ada", "sre"), Payer("bob", "ops"), Payer("eve"), Payer("eve")):
        call(ledger, payer)
    for payer in (CI, Payer("ada", "sre"), Payer("eve")):
        with pytest.raises(OverBudget):
            ledger.reserve(payer, 1, FREE)
    ledger.reserve(Payer("bob", "ops"), 1, FREE)


def test_who_has_no_team_is_in_no_teams_budget(path: Path) -> None:
    ledger = Ledger(path, [budget(per="team", requests=0)])
    call(ledger, Payer("ada"))
    with pytest.raises(OverBudget):
        ledger.reserve(CI, 1, FREE)


def test_a_named_budget_replaces_the_general_one_measure_by_measure(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=1, tokens=100), budget(name="ci", requests=3)])
    for _ in range(3):
        call(ledger)
    with pytest.raises(OverBudget, match="requests"):
        ledger.reserve(CI, 1, FREE)
    with pytest.raises(OverBudget, match="tokens"):
        Ledger(path, [budget(requests=1, tokens=45), budget(name="ci", requests=9)]).reserve(
            CI, 1, FREE
        )


def test_of_two_budgets_for_the_same_the_smaller_counts(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=5), budget(requests=1), budget(requests=3)])
    call(ledger)
    with pytest.raises(OverBudget):
        ledger.reserve(CI, 1, FREE)


def test_a_call_without_an_attempt_counts_nothing(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=1)])
    ledger.settle(ledger.reserve(CI, 50, FREE), [])
    assert used(ledger) == (0, 0, 0)
    assert log_of(path) == []
    ledger.reserve(CI, 50, FREE)


def test_an_answer_from_the_cache_is_logged_and_no_budget_counts_or_stops_it(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=1)])
    ledger.cached(CI, "small", 0.1)
    call(ledger)
    ledger.cached(CI, "small", 0.1)
    assert [row["outcome"] for row in log_of(path)] == ["cached", "completed", "cached"]
    assert used(ledger, "key", "ci")[0] == 1
    assert not ledger.check()


def test_settling_twice_changes_nothing(path: Path) -> None:
    ledger = Ledger(path)
    reservation = ledger.reserve(CI, 15, FREE)
    ledger.settle(reservation, [attempt()])
    ledger.settle(reservation, [attempt(usage=Usage(1000, 1000))])
    assert used(ledger) == (1, 15, Decimal("0.001"))


def test_less_than_a_nano_dollar_counts_as_one(path: Path) -> None:
    ledger = Ledger(path, [budget(dollars="0.000000002")])
    for _ in range(2):
        ledger.settle(ledger.reserve(CI, 1, FREE), [attempt(cost=Decimal("0.0000000001"))])
    assert used(ledger)[2] == Decimal("0.000000002")


# --- what is kept -----------------------------------------------------------------------------


def test_every_attempt_is_a_row_and_a_request_counts_once(path: Path, clock: Clock) -> None:
    ledger = Ledger(path, now=clock)
    failed = attempt("server_error", usage=None, cost=None, first_token_ms=None)
    call(ledger, CI, 15, failed, attempt(usage=Usage(10, 5, 4), estimated=True))
    first, last = (dict(row) for row in log_of(path))
    assert first.pop("id") < last.pop("id")
    assert first.pop("call_id") == last.pop("call_id")
    same = {
        "at": "2026-03-01T12:00:00.000+00:00",
        "day": "2026-03-01",
        "key": "ci",
        "team": "sre",
        "model": "small",
        "latency_ms": 2.0,
    }
    nothing = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "cost"))
    assert first == same | nothing | {
        "outcome": "server_error",
        "last": 0,
        "estimated": 0,
        "first_token_ms": None,
    }
    assert last == same | {
        "outcome": "completed",
        "last": 1,
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 4,
        "cost": 1_000_000,
        "estimated": 1,
        "first_token_ms": 1.0,
    }
    assert used(ledger) == (1, 15, Decimal("0.001"))


def test_a_claim_of_absurdly_many_tokens_breaks_no_sum(path: Path) -> None:
    ledger = Ledger(path, [budget(requests=5)])
    absurd = attempt(usage=Usage(10**30, -5, 10**40), cost=Decimal(10**30))
    call(ledger, CI, 10**25, absurd, absurd)
    call(ledger)
    assert not ledger.check()
    assert used(ledger)[1] == 2 * 10**15 + 15


def test_budgets_hold_after_a_restart(path: Path, clock: Clock) -> None:
    first = Ledger(path, [budget(requests=2)], clock)
    call(first)
    first.reserve(CI, 1, FREE)
    first.close()
    with pytest.raises(OverBudget):
        Ledger(path, [budget(requests=2)], clock).reserve(CI, 1, FREE)


def test_a_call_whose_process_died_is_lost_at_what_it_had_reserved(
    path: Path, clock: Clock
) -> None:
    ledger = Ledger(path, [budget(requests=2)], clock)
    ledger.reserve(CI, 40, Decimal("0.02"))
    clock.pass_(seconds=LOST_AFTER.total_seconds())
    call(ledger, Payer("ada"))
    assert [row["outcome"] for row in log_of(path)] == ["completed"]
    clock.pass_(seconds=1)
    call(ledger, Payer("ada"))
    assert [row["outcome"] for row in log_of(path)] == ["completed", "lost", "completed"]
    assert used(ledger, "key", "ci") == (1, 40, Decimal("0.02"))
    assert not ledger.check()


def test_a_call_that_settles_after_it_was_lost_counts_as_what_it_was(
    path: Path, clock: Clock
) -> None:
    ledger = Ledger(path, now=clock)
    slow = ledger.reserve(CI, 40, Decimal("0.02"))
    clock.pass_(minutes=6)
    call(ledger, Payer("ada"))
    for _ in range(2):
        ledger.settle(slow, [attempt()])
    assert Counter(row["outcome"] for row in log_of(path)) == {"completed": 2}
    assert used(ledger, "key", "ci") == (1, 15, Decimal("0.001"))
    assert not ledger.check()


def test_check_names_the_total_that_the_log_does_not_confirm(path: Path, clock: Clock) -> None:
    ledger = Ledger(path, now=clock)
    call(ledger)
    assert not ledger.check()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE counters SET cost = cost + 1 WHERE per = 'team'")
    (found,) = ledger.check()
    assert (found.day, found.per, found.name) == ("2026-03-01", "team", "sre")
    assert found.counted == (1, 0, 10, 5, 0, 1_000_001, 0)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM calls")
    assert {found.per for found in ledger.check()} == {"all", "key", "team", "model"}


def test_only_its_owner_can_read_the_ledger(path: Path) -> None:
    ledger = Ledger(path)
    call(ledger)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"usage.sqlite", "usage.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_reading_makes_no_file(path: Path) -> None:
    assert not Ledger(path).check()
    assert not path.parent.exists()


def test_without_a_ledger_no_call_is_allowed_and_none_fails_at_its_end(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(path)
    reservation = ledger.reserve(CI, 1, FREE)
    ledger.close()
    for file in path.parent.iterdir():
        file.write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerUnavailable, match="can't be recorded"):
        ledger.reserve(CI, 1, FREE)
    assert str(path) in caplog.text
    ledger.settle(reservation, [attempt()])
    ledger.cached(CI, "small", 0.1)
    assert reservation.call_id in caplog.text


def test_a_ledger_of_another_format_is_left_alone(path: Path) -> None:
    call(Ledger(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerUnavailable, match="format 99"):
        Ledger(path).reserve(CI, 1, FREE)


# --- all at once ------------------------------------------------------------------------------


def _admitted(ledger: Ledger, payer: Payer) -> bool:
    try:
        call(ledger, payer)
    except OverBudget:
        return False
    return True


def test_a_budget_of_ten_admits_ten_of_a_hundred_threads(path: Path) -> None:
    ledger = Ledger(path, [budget(per="all", requests=10)])
    with ThreadPoolExecutor(100) as threads:
        admitted = list(threads.map(lambda n: _admitted(ledger, Payer(f"k{n}")), range(100)))
    assert sum(admitted) == 10 == used(ledger)[0] == len(log_of(path))
    assert not ledger.check()


def _race(path: Path, barrier: Any, answers: Any) -> None:
    ledger = Ledger(path, [budget(per="team", requests=10)])
    barrier.wait(30)
    with ThreadPoolExecutor(5) as threads:
        answers.put(sum(threads.map(lambda n: _admitted(ledger, CI), range(5))))


def test_a_budget_of_ten_admits_ten_of_a_hundred_calls_by_twenty_processes(path: Path) -> None:
    fork = multiprocessing.get_context("fork")  # twenty interpreters would take half a minute
    barrier, answers = fork.Barrier(20), fork.Queue()
    processes = [fork.Process(target=_race, args=(path, barrier, answers)) for _ in range(20)]
    for process in processes:
        process.start()
    admitted = [answers.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(30)
    assert sum(admitted) == 10 == len(log_of(path))
    assert not Ledger(path).check()


# --- any sequence -----------------------------------------------------------------------------

PAYERS = st.sampled_from([CI, Payer("ada", "sre"), Payer("ada", "ops"), Payer("eve")])
AMOUNTS = st.integers(0, 40)
DOLLARS = st.decimals(0, "0.5", places=9)
ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        model=st.sampled_from(["small", "large"]),
        outcome=st.sampled_from(["completed", "truncated", "broken", "cancelled", "rate_limited"]),
        usage=st.none() | st.builds(Usage, AMOUNTS, AMOUNTS, AMOUNTS),
        cost=st.none() | DOLLARS,
        first_token_ms=st.none(),
        latency_ms=st.just(1.0),
    ),
    max_size=4,
)
BUDGETS = (
    budget(requests=6, tokens=300),
    budget(per="team", name="sre", dollars="1.5"),
    budget(per="all", tokens=500),
)


class AnySequence(RuleBasedStateMachine):
    """Reserve, settle, die and restart in any order, next to a model that only adds up."""

    open = Bundle("open")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name, "usage.sqlite")
        self.ledger = Ledger(self.path, BUDGETS, self.clock)
        self.reserved: dict[str, tuple[Payer, date, int, Decimal, datetime]] = {}
        self.spent: dict[str, tuple[Payer, date, int, int, Decimal]] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def _lose(self) -> None:
        for key, (payer, day, tokens, dollars, at) in list(self.reserved.items()):
            if at < self.clock.time - LOST_AFTER:
                self.spent[key] = (payer, day, 1, tokens, dollars)
                del self.reserved[key]

    def _sum(self, payer: Payer, per: str) -> tuple[int, int, Decimal]:
        """What counts of the payer's key, team or all, as a person would add it up."""
        held = [(p, d, 1, t, c) for p, d, t, c, _ in self.reserved.values()]
        rows = [
            (n, tokens, dollars)
            for other, day, n, tokens, dollars in (*held, *self.spent.values())
            if day == self.clock.time.date()
            and (
                per == "all"
                or (other.name if per == "key" else other.team)
                == (payer.name if per == "key" else payer.team)
            )
        ]
        return (
            sum(row[0] for row in rows),
            sum(row[1] for row in rows),
            sum((row[2] for row in rows), Decimal(0)),
        )

    @rule(target=open, payer=PAYERS, tokens=AMOUNTS, dollars=DOLLARS)
    def reserve(self, payer: Payer, tokens: int, dollars: Decimal) -> Any:
        self._lose()
        key, team, everyone = (self._sum(payer, per) for per in ("key", "team", "all"))
        fits = (
            key[0] + 1 <= 6
            and key[1] + tokens <= 300
            and (payer.team != "sre" or team[2] + dollars <= Decimal("1.5"))
            and everyone[1] + tokens <= 500
        )
        try:
            made = self.ledger.reserve(payer, tokens, dollars)
        except OverBudget:
            assert not fits
            return multiple()
        assert fits
        self.reserved[made.call_id] = (payer, made.day, tokens, dollars, self.clock.time)
        return made

    @rule(reservation=open, attempts=ATTEMPTS)
    def settle(self, reservation: Reservation, attempts: list[Attempt]) -> None:
        self._settled(reservation, attempts)

    @rule(reservation=consumes(open), attempts=ATTEMPTS)
    def settle_for_the_last_time(self, reservation: Reservation, attempts: list[Attempt]) -> None:
        self._settled(reservation, attempts)

    def _settled(self, reservation: Reservation, attempts: list[Attempt]) -> None:
        key = reservation.call_id
        was_lost = any(r["call_id"] == key and r["outcome"] == "lost" for r in log_of(self.path))
        self.ledger.settle(reservation, attempts)
        if key in self.reserved or was_lost:
            self.reserved.pop(key, None)
            self.spent[key] = (
                reservation.payer,
                reservation.day,
                min(1, len(attempts)),
                sum(a.usage.input + a.usage.output for a in attempts if a.usage),
                sum((a.cost for a in attempts if a.cost), Decimal(0)),
            )

    @rule(payer=PAYERS)
    def answer_from_the_cache(self, payer: Payer) -> None:
        self.ledger.cached(payer, "small", 0.1)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path, BUDGETS, self.clock)

    @rule(minutes=st.sampled_from([1, 6, 60 * 11]))
    def wait(self, minutes: int) -> None:
        self.clock.pass_(minutes=minutes)

    @invariant()
    def totals_are_those_of_the_log_and_of_the_model(self) -> None:
        assert not self.ledger.check()
        day = self.clock.time.date()
        spent = [row for row in self.spent.values() if row[1] == day]
        assert used(self.ledger) == (
            sum(row[2] for row in spent),
            sum(row[3] for row in spent),
            sum((row[4] for row in spent), Decimal(0)),
        )


AnySequence.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestAnySequence = AnySequence.TestCase

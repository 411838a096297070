"""Requests per minute, and how many at a time, of each caller."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.gateway.errors import TooManyRequests
from assistant.gateway.limits import CallerLimits
from assistant.gateway.schema import Payer
from assistant.gateway.settings import Limits

ADA, BOB = Payer("ada"), Payer("bob")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits(clock: Clock, per_minute: int = 60, concurrent: int = 8) -> CallerLimits:
    return CallerLimits(Limits(requests_per_minute=per_minute, concurrent=concurrent), clock)


def ask(limits: CallerLimits, payer: Payer = ADA) -> None:
    with limits.admitted(payer):
        pass


def retry_after(limits: CallerLimits, payer: Payer = ADA) -> str:
    with pytest.raises(TooManyRequests) as refused:
        ask(limits, payer)
    return refused.value.headers["Retry-After"]


def test_a_caller_is_told_in_whole_seconds_when_to_ask_again(clock: Clock) -> None:
    two = limits(clock, per_minute=2)
    ask(two)
    clock.time += 10.5
    ask(two)
    assert retry_after(two) == "50"
    clock.time += 49.0
    assert retry_after(two) == "1"
    clock.time += 0.5
    ask(two)
    assert retry_after(two) == "11"


def test_what_is_turned_away_does_not_count(clock: Clock) -> None:
    one = limits(clock, per_minute=1)
    ask(one)
    for _ in range(5):
        clock.time += 11
        retry_after(one)
    clock.time += 5
    ask(one)


def test_waiting_as_long_as_told_is_enough(clock: Clock) -> None:
    three = limits(clock, per_minute=3)
    for _ in range(3):
        ask(three)
        clock.time += 0.3
    clock.time += float(retry_after(three))
    ask(three)


def test_callers_have_limits_of_their_own(clock: Clock) -> None:
    one = limits(clock, per_minute=1)
    ask(one, ADA)
    ask(one, BOB)
    retry_after(one, ADA)


def test_so_many_at_a_time_and_one_that_fails_makes_room(clock: Clock) -> None:
    two = limits(clock, concurrent=2)
    with ExitStack() as running:
        running.enter_context(two.admitted(ADA))
        with suppress(ZeroDivisionError), two.admitted(ADA):
            assert retry_after(two) == "1"
            ask(two, BOB)
            raise ZeroDivisionError
        running.enter_context(two.admitted(ADA))
        retry_after(two)
    ask(two)


def test_one_that_runs_over_a_minute_still_holds_its_place(clock: Clock) -> None:
    one = limits(clock, concurrent=1)
    with one.admitted(ADA):
        clock.time += 200
        ask(one, BOB)
        retry_after(one, ADA)
    ask(one, ADA)


def test_callers_are_forgotten_a_minute_after_they_asked(clock: Clock) -> None:
    two = limits(clock, per_minute=2)
    for n in range(1000):
        ask(two, Payer(f"key-{n}"))
    clock.time += 61
    ask(two, ADA)
    assert list(two._asked) == ["ada"]


def test_a_race_admits_as_many_as_are_allowed(clock: Clock) -> None:
    ten, barrier = limits(clock, per_minute=10, concurrent=100), Barrier(50)

    def admitted(_: int) -> bool:
        barrier.wait(10)
        try:
            ask(ten)
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(50) as threads:
        assert sum(threads.map(admitted, range(50))) == 10


@given(st.lists(st.floats(0, 40), max_size=40))
def test_no_minute_holds_more_than_is_allowed(pauses: list[float]) -> None:
    clock = Clock()
    four = limits(clock, per_minute=4)

    def admissions() -> Iterator[float]:
        for pause in pauses:
            clock.time += pause
            try:
                ask(four)
            except TooManyRequests:
                continue
            yield clock.time

    times = list(admissions())
    assert all(later >= earlier + 60 for earlier, later in zip(times, times[4:], strict=False))

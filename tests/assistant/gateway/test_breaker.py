"""The circuit breaker, by a clock that is set by hand."""

import pytest

from assistant.gateway.breaker import FAILURES_IN_A_ROW, OPEN_SECONDS, WINDOW, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        breaker.failed(permit)


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        breaker.succeeded(permit)


def test_it_opens_after_five_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURES_IN_A_ROW - 1)
    assert breaker.admit() is not None
    fail(breaker)
    assert breaker.is_open
    assert breaker.admit() is None


def test_a_success_between_failures_begins_the_row_anew(breaker: Breaker) -> None:
    fail(breaker, 4)
    succeed(breaker)
    fail(breaker, 4)
    assert not breaker.is_open


def test_it_opens_when_half_of_the_last_ten_failed(breaker: Breaker) -> None:
    for _ in range(WINDOW // 2 - 1):
        fail(breaker)
        succeed(breaker)
    fail(breaker)
    assert not breaker.is_open, "nine calls are not yet ten"
    succeed(breaker)
    assert not breaker.is_open, "a success opens nothing"
    fail(breaker)
    assert breaker.is_open


def test_failures_before_the_last_ten_are_forgotten(breaker: Breaker) -> None:
    fail(breaker, 4)
    succeed(breaker, WINDOW)
    fail(breaker, 4)
    assert not breaker.is_open


def test_one_probe_is_let_through_after_a_while(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += OPEN_SECONDS - 0.01
    assert breaker.admit() is None
    clock.now += 0.01
    assert breaker.admit() is not None
    assert breaker.admit() is None, "one probe at a time"


def test_a_probe_that_succeeds_closes_it_with_a_clean_record(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, 5)
    clock.now += OPEN_SECONDS
    succeed(breaker)
    assert not breaker.is_open
    fail(breaker, 4)
    assert not breaker.is_open


def test_a_probe_that_fails_opens_it_for_as_long_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += OPEN_SECONDS
    fail(breaker)
    clock.now += OPEN_SECONDS - 0.01
    assert breaker.admit() is None
    clock.now += 0.01
    assert breaker.admit() is not None


def test_a_probe_that_was_cancelled_makes_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += OPEN_SECONDS
    permit = breaker.admit()
    assert permit is not None
    breaker.spared(permit)
    assert breaker.is_open
    assert breaker.admit() is not None


def test_calls_from_before_it_opened_change_nothing(breaker: Breaker, clock: Clock) -> None:
    early = [breaker.admit() for _ in range(3)]
    fail(breaker, 5)
    clock.now += OPEN_SECONDS - 1
    for permit, told in zip(
        early, (breaker.failed, breaker.succeeded, breaker.spared), strict=True
    ):
        assert permit is not None
        told(permit)
    assert breaker.is_open
    clock.now += 1
    probe = breaker.admit()
    assert probe is not None, "a late failure does not prolong it"
    assert early[0] is not None
    breaker.spared(early[0])
    assert breaker.admit() is None, "and a late end is not the probe's"

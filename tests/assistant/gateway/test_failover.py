"""From model to model, with providers that do as they are told."""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal

import anyio
import pytest

from assistant.gateway.attempt import Model
from assistant.gateway.breaker import FAILURES_IN_A_ROW, OPEN_SECONDS
from assistant.gateway.errors import NotAnswered, StreamBroken
from assistant.gateway.failover import Failover
from assistant.gateway.failure import Failure, Kind
from assistant.gateway.ledger import Attempt
from assistant.gateway.provider import Ended, Piece, Thinking
from assistant.gateway.schema import Call, Completed, Delta, Event, Message, Payer, Usage
from assistant.gateway.settings import ModelEntry, Price, Timeouts

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect=1, first_token=0.05, between_tokens=0.05, total=0.4)
USAGE = Usage(100, 10, 40)
WELL = [Delta("a "), Delta("b"), Ended(USAGE)]
Step = Piece | Failure | float


def call(max_output: int = 50) -> Call:
    none: frozenset[str] = frozenset()
    return Call((Message("user", "?"),), 100, max_output, Payer("alice"), none, none, "state")


class Scripted:
    """A provider that plays one script a call, the last again and again; a number is a wait."""

    def __init__(self, name: str, *scripts: Sequence[Step], stream: bool = True) -> None:
        self.entry = ModelEntry(name=name, model=name, max_output=40, stream=stream)
        self.scripts = list(scripts)
        self.asked: list[int] = []
        self.open = 0

    async def stream(
        self, messages: Sequence[Message], max_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        self.asked.append(max_tokens)
        self.open += 1
        try:
            for step in self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]:
                if isinstance(step, Failure):
                    raise step
                if isinstance(step, float):
                    await anyio.sleep(step)
                else:
                    yield step
        finally:
            self.open -= 1

    async def close(self) -> None:
        pass


class World:
    """A failover with a clock of its own that sleeping moves on, and what came of its calls."""

    def __init__(self, timeouts: Timeouts | None = None, jitter: float = 0.5) -> None:
        self.timeouts = timeouts or Timeouts()
        self.moved = 0.0
        self.reserved = 0
        self.slept: list[float] = []
        self.attempts: list[Attempt] = []
        self.events: list[Event] = []
        self.failover = Failover(
            self.timeouts, clock=self.clock, sleep=self.sleep, random=lambda: jitter
        )

    def clock(self) -> float:
        return anyio.current_time() + self.moved

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moved += seconds

    async def ask(self, *providers: Scripted, price: Price | None = None) -> None:
        self.attempts, self.events = [], []
        route = [Model(provider, price) for provider in providers]
        deadline = self.clock() + self.timeouts.total
        stream = self.failover.stream(call(), route, self.attempts, deadline, self.reserve_more)
        async with aclosing(stream) as events:
            async for event in events:
                self.events.append(event)
        assert not any(provider.open for provider in providers)

    async def reserve_more(self) -> None:
        self.reserved += 1

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(attempt.model, attempt.outcome) for attempt in self.attempts]


def failing(kind: Kind, retry_after: float | None = None) -> list[Step]:
    return [Failure(kind, retry_after=retry_after)]


async def test_a_model_that_answers_is_the_only_one_asked() -> None:
    world, first, second = World(), Scripted("one", WELL), Scripted("two", WELL)
    await world.ask(first, second, price=Price(input=Decimal(1), output=Decimal(2)))
    assert world.text == "a b"
    cost = Decimal("0.00012")
    assert world.events[-1] == Completed("one", USAGE, cost, attempts=1)
    assert second.asked == []
    (attempt,) = world.attempts
    assert (attempt.outcome, attempt.usage, attempt.cost) == ("completed", USAGE, cost)
    assert attempt.first_token_ms is not None
    assert attempt.first_token_ms <= attempt.latency_ms


async def test_no_model_is_asked_for_more_than_it_or_the_call_allows() -> None:
    provider = Scripted("one", WELL)
    await World().ask(provider)
    assert provider.asked == [40]


@pytest.mark.parametrize("kind", ["server_error", "refused", "broken", "invalid_response"])
async def test_a_passing_failure_is_tried_once_more(kind: Kind) -> None:
    world = World()
    await world.ask(Scripted("one", failing(kind), WELL))
    assert world.outcomes == [("one", kind), ("one", "completed")]
    assert world.slept == [0.25]
    completed = world.events[-1]
    assert isinstance(completed, Completed)
    assert completed.attempts == 2


@pytest.mark.parametrize("kind", ["bad_request", "unauthorized"])
async def test_a_lasting_failure_leads_to_the_next_model_at_once(kind: Kind) -> None:
    world = World()
    await world.ask(Scripted("one", failing(kind)), Scripted("two", WELL))
    assert world.outcomes == [("one", kind), ("two", "completed")]
    assert world.slept == []


async def test_four_tries_in_all_and_two_a_model() -> None:
    world = World()
    models = [Scripted(name, failing("server_error")) for name in ("one", "two", "three")]
    with pytest.raises(NotAnswered) as raised:
        await world.ask(*models)
    assert Counter(name for name, _ in world.outcomes) == {"one": 2, "two": 2}
    assert len(raised.value.attempts) == 4
    assert "one: server_error" in raised.value.attempts[0]


async def test_retry_after_is_waited_for_or_the_next_model_is_asked() -> None:
    world = World()
    await world.ask(Scripted("one", failing("rate_limited", 3), WELL), Scripted("two", WELL))
    assert world.outcomes[-1] == ("one", "completed")
    assert world.slept == [3.25]
    await world.ask(Scripted("one", failing("rate_limited", 3600)), Scripted("two", WELL))
    assert world.outcomes == [("one", "rate_limited"), ("two", "completed")]


async def test_a_broken_stream_is_never_joined() -> None:
    world, second = World(), Scripted("two", WELL)
    with pytest.raises(StreamBroken) as raised:
        await world.ask(Scripted("one", [Delta("half a "), Failure("server_error")]), second)
    assert world.text == "half a "
    assert raised.value.model == "one"
    assert second.asked == []
    (attempt,) = world.attempts
    assert (attempt.outcome, attempt.estimated) == ("broken", True)
    assert attempt.usage is not None
    assert (attempt.usage.input, attempt.usage.output) == (100, 3)


async def test_what_broke_before_the_first_text_is_tried_again() -> None:
    world = World()
    await world.ask(Scripted("one", [Thinking(), Failure("broken")], WELL))
    assert world.text == "a b"


async def test_the_first_token_is_waited_for_so_long() -> None:
    world = World(QUICK)
    await world.ask(Scripted("one", [5.0]), Scripted("two", WELL))
    assert world.outcomes == [
        *[("one", "timeout_first_token")] * 2,
        ("two", "completed"),
    ]
    assert 45 < world.attempts[0].latency_ms < 150


async def test_thinking_is_a_sign_of_life() -> None:
    world = World(QUICK)
    await world.ask(Scripted("one", [0.03, Thinking(), 0.03, Thinking(), 0.03, *WELL]))
    assert world.outcomes == [("one", "completed")]
    assert world.text == "a b"


async def test_a_model_that_falls_silent_is_broken_off() -> None:
    world = World(QUICK)
    with pytest.raises(StreamBroken):
        await world.ask(Scripted("one", [Delta("a "), 5.0]), Scripted("two", WELL))
    assert world.outcomes == [("one", "timeout_between")]


async def test_the_total_ends_a_model_that_goes_on_and_on() -> None:
    world = World(QUICK)
    began = anyio.current_time()
    with pytest.raises(StreamBroken):
        await world.ask(Scripted("one", [step for _ in range(99) for step in (0.02, Delta("x "))]))
    assert 0.35 < anyio.current_time() - began < 0.6
    assert world.outcomes == [("one", "timeout_total")]


async def test_all_tries_share_one_total() -> None:
    world = World(Timeouts(first_token=0.15, between_tokens=1, total=0.4), jitter=0)
    began = anyio.current_time()
    with pytest.raises(NotAnswered):
        await world.ask(*(Scripted(name, [5.0]) for name in ("one", "two", "three")))
    assert 0.35 < anyio.current_time() - began < 0.6
    assert [outcome for _, outcome in world.outcomes] == [
        "timeout_first_token",
        "timeout_first_token",
        "timeout_total",
    ]


async def test_an_answer_in_one_piece_gets_half_of_the_total() -> None:
    world = World(QUICK)
    await world.ask(Scripted("one", [0.1, *WELL], stream=False))
    assert world.text == "a b"
    await world.ask(Scripted("one", [5.0], stream=False), Scripted("two", WELL))
    assert world.outcomes == [("one", "timeout_first_token"), ("two", "completed")]


async def test_a_provider_that_ends_without_an_end_is_broken() -> None:
    world = World()
    with pytest.raises(StreamBroken):
        await world.ask(Scripted("one", [Delta("a")]))
    assert world.outcomes == [("one", "broken")]


async def test_an_answer_cut_off_at_the_limit_says_so() -> None:
    world = World()
    await world.ask(Scripted("one", [Delta("a"), Ended(None, truncated=True)]))
    completed = world.events[-1]
    assert isinstance(completed, Completed)
    assert completed.truncated
    assert completed.estimated
    assert completed.usage == Usage(100, 1)
    assert world.outcomes == [("one", "truncated")]


async def test_tokens_charged_for_nothing_are_recorded() -> None:
    world = World()
    charged = Failure("invalid_response", usage=USAGE)
    await world.ask(
        Scripted("one", [charged], WELL), price=Price(input=Decimal(1), output=Decimal(2))
    )
    assert [attempt.usage for attempt in world.attempts] == [USAGE, USAGE]
    assert world.attempts[0].cost == Decimal("0.00012")


async def test_a_model_that_keeps_failing_is_left_alone_then_probed() -> None:
    world, one, two = World(), Scripted("one", failing("rate_limited")), Scripted("two", WELL)
    for _ in range(3):
        await world.ask(one, two)
    assert len(one.asked) == FAILURES_IN_A_ROW
    await world.ask(one, two)
    assert world.outcomes == [("two", "completed")]
    world.moved += OPEN_SECONDS
    one.scripts = [WELL]
    await world.ask(one, two)
    assert world.outcomes == [("one", "completed")]


async def test_when_every_model_is_left_alone_none_is_asked() -> None:
    world, one = World(), Scripted("one", failing("server_error"))
    for _ in range(3):
        with pytest.raises(NotAnswered):
            await world.ask(one)
    with pytest.raises(NotAnswered, match="No language model") as raised:
        await world.ask(one)
    assert world.attempts == []
    assert raised.value.attempts == ("one: not asked, it failed too often of late",)


async def test_bad_calls_and_slow_readers_are_not_the_models_fault() -> None:
    world = World(Timeouts(first_token=0.05, between_tokens=0.05, total=0.08))
    bad, endless = Scripted("bad", failing("bad_request")), Scripted("endless", [Delta("x"), 0.04])
    endless.scripts = [[step for _ in range(30) for step in (Delta("x"), 0.04)]]
    for _ in range(FAILURES_IN_A_ROW + 1):
        with pytest.raises(NotAnswered):
            await world.ask(bad)
    for _ in range(FAILURES_IN_A_ROW):
        with pytest.raises(StreamBroken):
            await world.ask(endless)
    assert len(bad.asked) == FAILURES_IN_A_ROW + 1
    assert world.attempts[-1].outcome == "timeout_total"
    assert world.failover._breaker(Model(endless, None)).is_open is False


async def test_closing_early_is_recorded_as_cancelled() -> None:
    world, one = World(), Scripted("one", WELL)
    attempts: list[Attempt] = []
    events = world.failover.stream(
        call(), [Model(one, None)], attempts, world.clock() + 60, world.reserve_more
    )
    async with aclosing(events):
        assert await anext(events) == Delta("a ")
    (attempt,) = attempts
    assert (attempt.outcome, attempt.estimated, one.open) == ("cancelled", True, 0)


async def test_being_cancelled_while_waiting_is_recorded_too() -> None:
    world, one = World(), Scripted("one", [5.0])
    with anyio.move_on_after(0.02):
        await world.ask(one)
    assert world.outcomes == [("one", "cancelled")]
    assert one.open == 0


async def test_tries_are_logged_by_name_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await World().ask(Scripted("one", failing("server_error"), WELL))
    lines = [record.getMessage() for record in caplog.records if "model" in record.getMessage()]
    assert [line.rpartition(" after")[0] for line in lines] == [
        "model one: server_error",
        "model one: completed",
    ]

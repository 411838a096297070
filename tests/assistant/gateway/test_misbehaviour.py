"""The gateway between callers and providers that misbehave, over real sockets."""

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest

from assistant.gateway.breaker import FAILURES_IN_A_ROW, OPEN_SECONDS
from assistant.gateway.errors import OverBudget
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import Budget, GatewaySettings
from tests.assistant.gateway.matrix import NAMES, SETUPS, Outcome, ask, call_of, run
from tests.assistant.gateway.misbehaving import Misbehaving

Group = tuple[str, str]


@pytest.fixture(scope="module")
def groups(request: pytest.FixtureRequest) -> Iterator[dict[Group, Future[list[str]]]]:
    """The groups of calls that are asked for here, running in two processes."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = [(c.params["first"], c.params["setup"]) for c in calls if c and "setup" in c.params]
    # Spawned, not forked: the models of other tests have threads.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield {group: pool.submit(run, *group) for group in wanted}


@pytest.mark.slow
@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("first", NAMES)
def test_every_call_ends_in_time_in_one_piece_and_is_counted(
    groups: dict[Group, Future[list[str]]], first: str, setup: str
) -> None:
    """Streamed and not, at 25 seeds each: `matrix` says what is looked at."""
    assert groups[first, setup].result() == []


def settings_of(servers: Sequence[Misbehaving], folder: Path, **others: object) -> GatewaySettings:
    """Models named first, second, … at these servers; `others` as in the settings."""
    stream = others.pop("stream", True)
    models = [
        {"name": name, "model": "fake", "address": server.address, "stream": stream}
        for name, server in zip(("first", "second"), servers, strict=False)
    ]
    ledger = folder / "usage.sqlite"
    return GatewaySettings.model_validate(
        {"models": models, "ledger": ledger, "cache": 0, **others}
    )


def test_a_budget_of_ten_calls_admits_ten_of_a_hundred_at_once(tmp_path: Path) -> None:
    async def calls(settings: GatewaySettings) -> list[Outcome]:
        gateway = Gateway(settings)
        outcomes = await asyncio.gather(*(ask(gateway, "alice") for _ in range(100)))
        await gateway.close()
        return outcomes

    with Misbehaving("instant") as server:
        settings = settings_of([server], tmp_path, budgets=[Budget(per="key", requests=10)])
        outcomes = asyncio.run(calls(settings))
        assert sum(outcome.completed is not None for outcome in outcomes) == 10
        assert sum(isinstance(outcome.error, OverBudget) for outcome in outcomes) == 90
        assert len(server.exchanges) == 10
        (eleventh,) = asyncio.run(calls(settings))[:1]  # kept over a restart
        assert isinstance(eleventh.error, OverBudget)


def test_a_model_that_keeps_failing_is_left_alone_until_a_probe_is_answered(tmp_path: Path) -> None:
    now = 0.0

    async def no_wait(seconds: float) -> None:
        pass

    async def calls(server: Misbehaving) -> None:
        nonlocal now
        settings = settings_of([server], tmp_path)
        gateway = Gateway(settings, monotonic=lambda: now, sleep=no_wait)

        async def asked() -> tuple[bool, int]:
            """Whether a call was answered, and how often the model was asked for it."""
            before = len(server.exchanges)
            outcome = await ask(gateway, "alice")
            return outcome.completed is not None, len(server.exchanges) - before

        assert [await asked() for _ in range(4)] == [(False, 2), (False, 2), (False, 1), (False, 0)]
        assert len(server.exchanges) == FAILURES_IN_A_ROW
        now += OPEN_SECONDS
        assert [await asked() for _ in range(2)] == [(False, 1), (False, 0)]  # a probe in vain
        server.behaviour = "usage"
        assert await asked() == (False, 0)  # well again, and nobody knows yet
        now += OPEN_SECONDS
        assert [await asked() for _ in range(3)] == [(True, 1)] * 3
        await gateway.close()

    with Misbehaving("error_500") as server:
        asyncio.run(calls(server))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_model_that_says_nothing_leaves_time_for_the_next(tmp_path: Path, stream: bool) -> None:
    async def call(settings: GatewaySettings) -> Outcome:
        gateway = Gateway(settings)
        outcome = await ask(gateway, "alice")
        await gateway.close()
        return outcome

    with Misbehaving("slow_headers") as slow, Misbehaving("instant") as quick:
        timeouts = {"first_token": 0.1, "total": 1}
        settings = settings_of([slow, quick], tmp_path, stream=stream, timeouts=timeouts)
        outcome = asyncio.run(call(settings))
    assert outcome.completed
    assert outcome.completed.model == "second"


def test_a_caller_who_leaves_hangs_up_on_the_provider(tmp_path: Path) -> None:
    async def first_words(server: Misbehaving) -> None:
        gateway = Gateway(settings_of([server], tmp_path))
        async with aclosing(gateway.stream(call_of("alice"))) as events:
            await anext(events)
        while server.open:
            await asyncio.sleep(0.01)
        await gateway.close()

    with Misbehaving("endless") as server:
        asyncio.run(asyncio.wait_for(first_words(server), 10))

"""The gateway as a whole, against servers over real sockets."""

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from assistant.gateway.errors import NoRoute, OverBudget, StreamBroken
from assistant.gateway.schema import Completed, Delta, Event, Usage
from assistant.gateway.settings import Budget, Price, Rule, Timeouts
from tests.assistant.gateway.asking import (
    COUNTS,
    QUESTION,
    ask,
    call,
    ending,
    entry,
    gateway,
    logged,
    soon,
    tasks,
    text_of,
)
from tests.assistant.gateway.plain_server import (
    PlainServer,
    Script,
    chunk,
    end,
    events,
    silence,
    status,
    streamed,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("secret")]


async def test_an_answer_is_accounted_for_before_it_ends(tmp_path: Path) -> None:
    async with (
        PlainServer(streamed("Yes.", usage=COUNTS)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        async with aclosing(model.stream(call())) as stream:
            async for event in stream:
                if isinstance(event, Completed):
                    assert logged(tmp_path) == [("model", "completed", 100, 7)]
        assert event == Completed("model", Usage(100, 7, 60), Decimal("0.000084"), attempts=1)


async def test_the_next_model_answers_when_the_first_fails(tmp_path: Path) -> None:
    async with (
        PlainServer(status(500)) as bad,
        PlainServer(streamed("fine")) as good,
        gateway(tmp_path, entry(bad.address, "bad"), entry(good.address, "good")) as model,
    ):
        told = await ask(model)
    assert (text_of(told), ending(told).model, ending(told).attempts) == ("fine", "good", 3)
    assert [row[:2] for row in logged(tmp_path)] == [
        *[("bad", "server_error")] * 2,
        ("good", "completed"),
    ]


async def test_an_error_after_the_first_word_is_never_joined(tmp_path: Path) -> None:
    error = b'data: {"error": {"message": "no", "type": "server_error"}}\n\n'
    async with (
        PlainServer(events(chunk("Half "), error)) as bad,
        PlainServer(streamed("another")) as good,
        gateway(tmp_path, entry(bad.address, "bad"), entry(good.address, "good")) as model,
    ):
        told: list[Event] = []
        with pytest.raises(StreamBroken) as raised:
            await ask(model, told=told)
        assert told == [Delta("Half ")]
        assert raised.value.model == "bad"
        assert good.requests == []


async def test_the_deadline_holds_while_a_server_stalls(tmp_path: Path) -> None:
    timeouts = Timeouts(first_token=0.5, between_tokens=60, total=0.5)
    async with (
        PlainServer(events(chunk("x"), stall=60)) as server,
        gateway(tmp_path, entry(server.address), timeouts=timeouts) as model,
    ):
        began = time.monotonic()
        with pytest.raises(StreamBroken):
            await ask(model)
        assert time.monotonic() - began < 1.5
        assert await soon(lambda: server.open == 0)
    assert logged(tmp_path)[0][1] == "timeout_total"


async def test_closing_early_hangs_up_and_settles(tmp_path: Path) -> None:
    async with (
        PlainServer(events(chunk("a "), chunk("b "), stall=60)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        around = tasks()
        async with aclosing(model.stream(call())) as stream:
            assert await anext(stream) == Delta("a ")
        assert tasks() == around
        assert await soon(lambda: server.open == 0)
    assert logged(tmp_path) == [("model", "cancelled", 20, 2)]


@pytest.mark.parametrize("script", [silence, events(chunk("a "), stall=60)], ids=["0", "1"])
@pytest.mark.parametrize("by", ["scope", "task"])
async def test_a_cancelled_caller_hangs_up_and_settles(
    tmp_path: Path, script: Script, by: str
) -> None:
    async with (
        PlainServer(script) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):

        async def cancelled() -> None:
            if by == "scope":
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, model)
                    assert await soon(lambda: server.requests)
                    await asyncio.sleep(0.05)
                    group.cancel_scope.cancel()
            else:
                asking = asyncio.create_task(ask(model))
                assert await soon(lambda: server.requests)
                await asyncio.sleep(0.05)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

        await cancelled()
        assert await soon(lambda: server.open == 0)
    assert [row[1] for row in logged(tmp_path)] == ["cancelled"]
    with sqlite3.connect(tmp_path / "usage.sqlite") as db:
        assert db.execute("SELECT count(*) FROM reservations").fetchone() == (0,)


async def test_the_same_call_is_answered_from_the_cache(tmp_path: Path) -> None:
    async with (
        PlainServer(streamed("once", usage=COUNTS)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        await ask(model)
        again = await ask(model)
        await ask(model, call("something else"))
        await ask(model, call(labels=frozenset({"sre"})))
    assert text_of(again) == "once"
    assert ending(again) == Completed("model", Usage(0, 0), Decimal(0), 0, from_cache=True)
    assert len(server.requests) == 3
    outcomes = [row[1] for row in logged(tmp_path)]
    assert outcomes == ["completed", "cached", "completed", "completed"]


async def test_half_an_answer_is_not_kept(tmp_path: Path) -> None:
    cut = events(chunk("and so"), *end(finish="length"))
    async with (
        PlainServer(cut) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        assert not ending(await ask(model)).from_cache
        assert not ending(await ask(model)).from_cache


async def test_a_budget_for_ten_calls_admits_ten_of_a_hundred_at_once(tmp_path: Path) -> None:
    budgets = [Budget(per="team", requests=10)]
    async with (
        PlainServer(streamed("yes", usage=COUNTS)) as server,
        gateway(tmp_path, entry(server.address), budgets=budgets) as model,
    ):
        calls = [ask(model, call(f"question {number}")) for number in range(100)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, list) for end in ends) == 10
    assert sum(isinstance(end, OverBudget) for end in ends) == 90
    assert len(server.requests) == 10


async def test_money_is_reserved_at_the_dearest_models_price(tmp_path: Path) -> None:
    free = Price(input=Decimal(0), output=Decimal(0))
    budgets = [Budget(per="key", dollars=Decimal("0.00011"))]
    async with (
        PlainServer(streamed("yes", usage=COUNTS)) as server,
        gateway(
            tmp_path,
            entry(server.address, "cheap", price=free),
            entry(server.address, "dear"),
            budgets=budgets,
        ) as model,
    ):
        with pytest.raises(OverBudget):
            await ask(model)  # 20 tokens at 1 dollar a million, and 50 at 2
        await ask(model, call(max_output=40))
    assert len(server.requests) == 1


async def test_rules_keep_passages_from_models(tmp_path: Path) -> None:
    rules = [
        Rule(labels=["restricted"], models=["local"]),
        Rule(labels=["secret"], models=[]),
    ]
    async with (
        PlainServer(streamed("seen")) as cloud,
        PlainServer(streamed("local")) as local,
        gateway(
            tmp_path,
            entry(cloud.address, "cloud"),
            entry(local.address, "local", context=500),
            rules=rules,
        ) as model,
    ):
        assert model.room(frozenset({"restricted"})) == 400
        assert model.room(frozenset({"secret"})) == 0
        told = await ask(model, call(labels=frozenset({"public", "restricted"})))
        with pytest.raises(NoRoute):
            await ask(model, call(labels=frozenset({"secret"})))
    assert text_of(told) == "local"
    assert cloud.requests == []


async def test_without_its_key_a_model_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MODEL_KEY")
    async with (
        PlainServer(streamed("yes")) as server,
        gateway(
            tmp_path, entry(server.address), entry(server.address, "open", key_env=None)
        ) as model,
    ):
        told = await ask(model)
    assert ending(told).model == "open"
    assert len(server.requests) == 1
    assert "MODEL_KEY" in caplog.text


@pytest.mark.parametrize("switched_on", [False, True])
async def test_texts_are_logged_only_when_that_is_switched_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, secret: str, switched_on: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        PlainServer(streamed("a telling answer")) as server,
        gateway(tmp_path, entry(server.address), log_texts=switched_on) as model,
    ):
        await ask(model)
    assert (QUESTION in caplog.text) is switched_on
    assert ("a telling answer" in caplog.text) is switched_on
    assert secret not in caplog.text


def test_without_models_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from assistant.gateway.gateway import Gateway\n"
        "from assistant.gateway.settings import GatewaySettings\n"
        "gateway = Gateway(GatewaySettings())\n"
        "assert not gateway.configured\n"
        "assert gateway.room(frozenset()) == 0\n"
        "heavy = {'pydantic_ai', 'openai', 'anthropic', 'genai_prices', 'httpx2', 'tiktoken'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []


async def test_hanging_up_before_the_first_word_is_no_way_past_a_budget(tmp_path: Path) -> None:
    budgets = [Budget(per="key", tokens=100)]
    async with (
        PlainServer(*[silence] * 9) as server,
        gateway(tmp_path, entry(server.address), budgets=budgets) as model,
    ):
        refused = 0
        for _ in range(9):
            with anyio.move_on_after(0.3):
                try:
                    await ask(model)
                except OverBudget:
                    refused += 1
        used = sum(tokens for _, _, tokens, _ in logged(tmp_path))
    assert refused > 0
    assert 0 < used <= 100


async def test_each_further_try_is_reserved_as_well(tmp_path: Path) -> None:
    empty = streamed("", usage={"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150})
    budgets = [Budget(per="key", tokens=200)]
    async with (
        PlainServer(empty, empty) as server,
        gateway(tmp_path, entry(server.address), budgets=budgets) as model,
    ):
        with pytest.raises(OverBudget):
            await ask(model)
        assert [outcome for _, outcome, *_ in logged(tmp_path)] == ["invalid_response"]

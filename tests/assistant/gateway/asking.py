"""A gateway to ask in tests, that is known to leave nothing behind, and what to ask it."""

import asyncio
import gc
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from assistant.gateway.gateway import Gateway
from assistant.gateway.schema import Call, Completed, Delta, Event, Message, Payer
from assistant.gateway.settings import GatewaySettings, ModelEntry, Price

QUESTION = "what does the passage about the payment gateway say"
NOBODY: frozenset[str] = frozenset()
PRICE = Price(input=Decimal(1), output=Decimal(2), cached=Decimal("0.5"))
COUNTS = {
    "prompt_tokens": 100,
    "completion_tokens": 7,
    "total_tokens": 107,
    "prompt_tokens_details": {"cached_tokens": 60},
}


def call(question: str = QUESTION, labels: frozenset[str] = NOBODY, max_output: int = 50) -> Call:
    """A call of 20 tokens by alice, of the team sre."""
    messages = (
        Message("system", "be brief"),
        Message("user", "earlier"),
        Message("assistant", "an answer"),
        Message("user", question),
    )
    return Call(messages, 20, max_output, Payer("alice", "sre"), labels, labels, "state")


def entry(address: str, name: str = "model", **more: Any) -> ModelEntry:
    """A model at an address, its key in MODEL_KEY."""
    given = {"address": address, "key_env": "MODEL_KEY", "price": PRICE, "max_output": 100}
    return ModelEntry.model_validate({"name": name, "model": f"the-{name}", **given, **more})


@asynccontextmanager
async def gateway(tmp_path: Path, *models: ModelEntry, **more: Any) -> AsyncIterator[Gateway]:
    """A gateway; leaving it checks that no task is left, and after it is closed no socket or file."""
    files, around = open_files(), tasks()
    settings = GatewaySettings(
        models=list(models),
        ledger=tmp_path / "usage.sqlite",
        **more,
    )
    opened = Gateway(settings, random=lambda: 0.0)
    try:
        yield opened
    except BaseException:
        await opened.close()
        raise
    assert tasks() == around, tasks() - around
    await opened.close()
    gc.collect()
    assert await soon(lambda: open_files() <= files)


async def soon(true: Any) -> bool:
    """Whether it becomes true within a second: the servers' side of a connection takes a moment."""
    for _ in range(200):
        if true():
            return True
        await asyncio.sleep(0.005)
    return False


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop, but for those of the servers."""
    servers = "PlainServer", "play", "hung_up"
    return {task for task in asyncio.all_tasks() if task.get_name() not in servers}


def open_files() -> int:
    """Sockets and files open in this process."""
    return len(os.listdir("/proc/self/fd"))


async def ask(
    gateway: Gateway, asked: Call | None = None, told: list[Event] | None = None
) -> list[Event]:
    """All events of a call, in `told` too if it fails."""
    told = [] if told is None else told
    async with aclosing(gateway.stream(asked or call())) as stream:
        async for event in stream:
            told.append(event)
    return told


def text_of(told: list[Event]) -> str:
    """The text of an answer."""
    return "".join(event.text for event in told if isinstance(event, Delta))


def ending(told: list[Event]) -> Completed:
    """Its last event."""
    assert isinstance(told[-1], Completed)
    return told[-1]


def logged(tmp_path: Path) -> list[tuple[Any, ...]]:
    """The ledger's rows: model, outcome, tokens in and out."""
    columns = "model, outcome, input_tokens, output_tokens"
    with sqlite3.connect(tmp_path / "usage.sqlite") as db:
        return db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()

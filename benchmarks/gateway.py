"""What the gateway adds to a call: `python -m benchmarks.gateway`.

An instant fake provider runs in a process of its own, and is sent 50 requests a second for 20 seconds
through `Gateway.stream`, with a ledger, a budget, a cache and a key, at fixed times whether or
not earlier ones have ended. Between any two of them the same request is sent by plain httpx. What is
added is the time of the one minus that of the other. Prints a JSON object; about 30 seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import httpx
import numpy as np

from assistant.gateway.gateway import Gateway
from assistant.gateway.schema import Call, Message, Payer
from assistant.gateway.settings import Budget, GatewaySettings, ModelEntry
from benchmarks.questions import ROOT

WARM_UP = 20
"""Calls before any is measured: imports, the first connection, the ledger's file."""

PASSAGES = "A node is drained before it is restarted, and its pods move to others first. " * 100
"""A prompt about as long as generation's, of 1,600 tokens."""


@click.command()
@click.option("--rate", default=50, help="Requests a second through the gateway.")
@click.option("--seconds", default=20, help="How long.")
@click.option("--stream/--whole", default=True, help="Whether the provider streams.")
def main(rate: int, seconds: int, stream: bool) -> None:
    """Measure and print a JSON object."""
    with instant_provider() as address, TemporaryDirectory() as folder:
        settings = settings_of(address, Path(folder), stream)
        gateway, plain = asyncio.run(measured(settings, rate, seconds))
    added = gateway - plain
    report = {
        "rate": rate,
        "seconds": seconds,
        "stream": stream,
        "added": _percentiles(added),
        "gateway": _percentiles(gateway),
        "httpx": _percentiles(plain),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(report))


def settings_of(address: str, folder: Path, stream: bool) -> GatewaySettings:
    """One model with everything that a call passes through."""
    key = folder / "key"
    key.write_text("sk-benchmark")
    model = ModelEntry(name="instant", model="fake", address=address, key_file=key, stream=stream)
    budget = Budget(per="all", requests=1_000_000, tokens=10**9)
    ledger = folder / "usage.sqlite"
    return GatewaySettings(models=[model], budgets=[budget], ledger=ledger)


async def measured(settings: GatewaySettings, rate: int, seconds: int) -> tuple[Any, Any]:
    """Milliseconds of each call through the gateway and of its neighbour by httpx, `(calls,) float64`."""
    model = settings.models[0]
    gateway = Gateway(settings)
    async with httpx.AsyncClient(headers={"Authorization": "Bearer sk-benchmark"}) as client:

        async def through(number: int) -> None:
            async with aclosing(gateway.stream(_call(number))) as events:
                async for _ in events:
                    pass

        async def plainly(number: int) -> None:
            body = {
                "model": "fake",
                "messages": [{"role": "user", "content": _prompt(number)}],
                "max_tokens": 400,
                "stream": model.stream,
                "stream_options": {"include_usage": True},
            }
            url = f"{str(model.address).rstrip('/')}/chat/completions"
            async with client.stream("POST", url, json=body) as response:
                async for _ in response.aiter_lines():
                    pass

        for number in range(WARM_UP):
            await through(-number - 1)
            await plainly(-number - 1)
        times = await _open_loop((through, plainly), rate, rate * seconds)
    await gateway.close()
    return times[0], times[1]


async def _open_loop(
    kinds: Sequence[Callable[[int], Awaitable[None]]], rate: int, calls: int
) -> list[Any]:
    """Start call `n` of each kind at its time, kinds evenly apart; milliseconds by kind and call."""
    times = [np.zeros(calls) for _ in kinds]
    began = time.perf_counter() + 0.1

    async def one(kind: int, number: int, due: float) -> None:
        await asyncio.sleep(due - time.perf_counter())
        start = time.perf_counter()
        await kinds[kind](number)
        times[kind][number] = 1000 * (time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            for kind in range(len(kinds)):
                due = began + (number + kind / len(kinds)) / rate
                group.create_task(one(kind, number, due))
    return times


def _prompt(number: int) -> str:
    return f"{number}: {PASSAGES}"  # a number, so that the cache never has it


def _call(number: int) -> Call:
    public = frozenset({"public"})
    message = Message("user", _prompt(number))
    return Call((message,), 1600, 400, Payer("bench", "bench"), public, public, "state")


def _percentiles(milliseconds: Any) -> dict[str, float]:
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "p99_ms": round(p99, 2)}


@contextmanager
def instant_provider() -> Iterator[str]:
    """The base URL of the fake provider in a process of its own."""
    command = [sys.executable, "-m", "tests.assistant.gateway.misbehaving", "instant"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate("")


if __name__ == "__main__":
    main()

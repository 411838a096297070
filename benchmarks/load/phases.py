"""The phases: what rate is held, what happens at three times that, many streams at once, and a long run."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

from benchmarks.load.exchange import Client, Reply, Request, get, post
from benchmarks.load.openloop import Outcome, drive
from benchmarks.load.service import Service, serving

USEFUL = {"search": 1.0, "ask": 2.0, "stream": 60.0}
"""Seconds within which an answer is still of use: what counts towards goodput."""

TARGETS = {"search": 0.150, "ask": 0.300}
"""Seconds of the 95th percentile at which a rate counts as held."""

LEAVING = 0.05
"""Share of the clients that go away before they are answered, after up to `LEAVES_WITHIN` seconds."""
LEAVES_WITHIN = 0.1

WARM_UP = 20
SAMPLED_EACH = 10.0


@dataclass(frozen=True)
class Mix:
    """Requests of some kinds, chosen by weight, about questions that people have asked."""

    questions: Sequence[str]
    weights: dict[str, float]

    def choose(self, random: Random) -> Request:
        """The next request."""
        kind = random.choices(list(self.weights), list(self.weights.values()))[0]
        request = _about(kind, random.choice(self.questions))
        if random.random() < LEAVING:
            return replace(request, leaves_after=random.uniform(0, LEAVES_WITHIN))
        return request

    def outcomes(self) -> dict[str, Outcome]:
        """What is counted in, by kind."""
        return {kind: Outcome(USEFUL[kind]) for kind in self.weights}


def _about(kind: str, question: str) -> Request:
    if kind == "search":
        return get(kind, "/search?" + urlencode({"q": question, "k": 10}))
    accept = "text/event-stream" if kind == "stream" else "application/json"
    return post(kind, "/ask", {"question": question}, accept)


async def at_rate(service: Service, mix: Mix, rate: float, seconds: float) -> dict[str, Any]:
    """One rate for some seconds, as it went."""
    outcomes = mix.outcomes()
    used = service.processor_seconds()
    began = time.perf_counter()
    await drive(Client(service.port), rate, seconds, mix.choose, outcomes)
    cores = (service.processor_seconds() - used) / (time.perf_counter() - began)
    views = {kind: outcome.view(seconds) for kind, outcome in outcomes.items()}
    return {
        "rate": rate,
        "cores": round(cores, 2),
        "resident_mib": round(service.resident()),
        **views,
    }


def is_held(step: dict[str, Any], kind: str) -> bool:
    """Whether all were answered, and 95 in 100 within the target."""
    seen = step[kind]
    whole = set(seen["statuses"]) == {"200"}
    return whole and seen["answered"]["p95"] <= 1000 * TARGETS[kind]


async def ramp(
    service: Service, mix: Mix, kind: str, rates: Sequence[float], seconds: float
) -> dict[str, Any]:
    """Rates one after another until two are not held; then three times the highest that was held."""
    steps: list[dict[str, Any]] = []
    await _warmed_up(service, mix)
    for rate in rates:
        steps.append(await at_rate(service, mix, rate, seconds))
        if len(steps) > 1 and not any(is_held(step, kind) for step in steps[-2:]):
            break
    held = max((step["rate"] for step in steps if is_held(step, kind)), default=0)
    overload = await at_rate(service, mix, 3 * (held or rates[0]), seconds)
    peak = max(step[kind]["goodput"] for step in [*steps, overload])
    return {
        "held": held,
        "target_ms": 1000 * TARGETS[kind],
        "steps": steps,
        "overload": overload,
        "goodput_of_peak": round(overload[kind]["goodput"] / peak, 3) if peak else 0.0,
    }


async def _warmed_up(service: Service, mix: Mix) -> None:
    client = Client(service.port)
    for question in mix.questions[:WARM_UP]:
        for kind in mix.weights:
            await client.ask(_about(kind, question))


async def many_streams(
    service: Service, questions: Sequence[str], count: int, each: int
) -> dict[str, Any]:
    """So many clients, each asking again when it is answered, and when it was told to where it is refused."""
    client = Client(service.port)
    outcome = Outcome(USEFUL["stream"])
    whole: list[Reply] = []

    async def listens(number: int) -> None:
        for turn in range(each):
            request = _about("stream", questions[(number * each + turn) % len(questions)])
            while True:
                due = time.perf_counter()
                outcome.sent += 1
                reply = await client.ask(request)
                outcome.note(reply, due)
                if reply.status == 200:
                    break
                await asyncio.sleep(float(reply.headers["retry-after"]))
            if b"event: answer" in reply.body:
                whole.append(reply)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(listens(number))
    told = {"clients": count, "open_at_once": most_at_once(whole), "ended_with_answer": len(whole)}
    return told | outcome.view(time.perf_counter() - began)


def most_at_once(streams: Sequence[Reply]) -> int:
    """The most streams that were open at a time, from the first sentence of each to its end."""
    steps = [(reply.spoke_at or reply.ended_at, 1) for reply in streams]
    steps += [(reply.ended_at, -1) for reply in streams]
    return max(accumulate(change for _, change in sorted(steps)), default=0)


async def soak(service: Service, mix: Mix, rate: float, seconds: float, say: Any) -> dict[str, Any]:
    """A rate for long, with the service's memory sampled; drift is the median of the last tenth of the
    samples against that of the tenth after the first, which is for warming up.
    """
    outcomes = mix.outcomes()
    samples: list[float] = []

    async def sample() -> None:
        while True:
            samples.append(service.resident())
            say(f"{len(samples) * SAMPLED_EACH:.0f} s: {samples[-1]:.0f} MiB")
            await asyncio.sleep(SAMPLED_EACH)

    sampling = asyncio.create_task(sample())
    await drive(Client(service.port), rate, seconds, mix.choose, outcomes)
    sampling.cancel()
    return {
        "rate": rate,
        "minutes": round(seconds / 60, 1),
        "drift": drift(samples),
        "resident_mib": [round(each, 1) for each in samples],
        **{kind: outcome.view(seconds) for kind, outcome in outcomes.items()},
    }


def drift(samples: Sequence[float]) -> float:
    """By how much the last tenth is more than the second, as a share of it."""
    tenth = max(1, len(samples) // 10)
    before = statistics.median(samples[tenth : 2 * tenth] or samples)
    return round(statistics.median(samples[-tenth:]) / before - 1, 4)


def measured(
    index: Path, questions: Sequence[str], rates: dict[str, Sequence[float]], seconds: float
) -> dict[str, Any]:
    """What is held of each kind, in a service of its own each."""
    found: dict[str, Any] = {}
    for kind, steps in rates.items():
        with serving(index) as service:
            mix = Mix(questions, {kind: 1.0})
            found[kind] = asyncio.run(ramp(service, mix, kind, steps, seconds))
    return found

"""An open loop: requests are sent when they are due, whether or not earlier ones have been answered, and
times are counted from when each was due. So a server that stalls is charged for everyone it kept waiting
(Gil Tene's coordinated omission), and nothing needs to be corrected afterwards.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hdrh.histogram import HdrHistogram

from benchmarks.load.exchange import Client, Reply, Request

LONGEST = 60.0
"""Seconds after which a request is given up and counted as failed."""


def histogram() -> Any:
    """Of microseconds up to a minute, to three digits."""
    return HdrHistogram(1, int(LONGEST * 1e6), 3)


@dataclass
class Outcome:
    """What became of the requests of one kind. Times are in microseconds from when each was due."""

    target: float
    """Seconds within which an answer counts towards the goodput."""
    sent: int = 0
    good: int = 0
    left: int = 0
    hasty: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    answered: Any = field(default_factory=histogram)
    spoke: Any = field(default_factory=histogram)
    refused: Any = field(default_factory=histogram)
    late_start: Any = field(default_factory=histogram)

    def note(self, reply: Reply, due: float) -> None:
        """Count a reply to a request that was due at a time of `time.perf_counter`."""
        took = reply.ended_at - due
        self.statuses[str(reply.status)] += 1
        if reply.status == 200:
            self.answered.record_value(_micro(took))
            self.good += took <= self.target
            self.hasty += b'"notice":"Many are searching' in reply.body
            if reply.spoke_at is not None:
                self.spoke.record_value(_micro(reply.spoke_at - due))
        elif reply.status in (429, 503):
            self.refused.record_value(_micro(took))
            self.without_retry_after += "retry-after" not in reply.headers

    def view(self, seconds: float) -> dict[str, Any]:
        """As JSON: rates a second, milliseconds."""
        return {
            "sent": self.sent,
            "statuses": dict(self.statuses),
            "left": self.left,
            "goodput": round(self.good / seconds, 2),
            "answered_a_second": round(self.statuses["200"] / seconds, 2),
            "answered": percentiles(self.answered),
            "first_sentence": percentiles(self.spoke),
            "refused": percentiles(self.refused),
            "refused_without_retry_after": self.without_retry_after,
            "read_less_closely": round(self.hasty / max(1, self.statuses["200"]), 3),
            "sent_late": percentiles(self.late_start),
        }


def percentiles(of: Any) -> dict[str, float] | None:
    """Milliseconds, of a histogram; None of an empty one."""
    if not of.get_total_count():
        return None
    points = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {name: round(of.get_value_at_percentile(at) / 1000, 1) for name, at in points.items()}


def _micro(seconds: float) -> int:
    return min(int(LONGEST * 1e6), max(1, int(seconds * 1e6)))


def arrivals(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """Times of a Poisson process, in seconds from its start."""
    at = random.expovariate(rate)
    while at < seconds:
        yield at
        at += random.expovariate(rate)


Choose = Callable[[Random], Request]


async def drive(
    client: Client, rate: float, seconds: float, choose: Choose, outcomes: dict[str, Outcome]
) -> None:
    """Send requests at a rate for some seconds and wait for the last; seeded, so two runs are alike."""
    random = Random(0)
    began = time.perf_counter() + 0.05
    async with asyncio.TaskGroup() as tasks:
        for at in arrivals(rate, seconds, random):
            request = choose(random)
            if (early := began + at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(_one(client, request, began + at, outcomes[request.kind]))


async def _one(client: Client, request: Request, due: float, outcome: Outcome) -> None:
    outcome.sent += 1
    outcome.late_start.record_value(_micro(time.perf_counter() - due))
    patience = LONGEST if request.leaves_after is None else request.leaves_after
    try:
        outcome.note(await asyncio.wait_for(client.ask(request), patience), due)
    except TimeoutError:
        if request.leaves_after is None:
            outcome.statuses["no answer"] += 1
        else:
            outcome.left += 1
    except (OSError, EOFError):
        outcome.statuses["hung up"] += 1

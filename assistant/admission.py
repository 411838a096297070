"""Admission: so many requests are at work, so many wait, and the rest are told at once to come later.

A request waits on the event loop and holds no thread. Callers take turns, each with their oldest request
first, so one who floods the service waits behind themselves (Nagle, *On Packet Switches with Infinite
Storage*, RFC 970, 1985). Who could not be served in useful time is refused on arrival: the wait is
estimated from the requests ahead and the recent time each took (the queue-length predictor of Whitt,
*Predicting Queueing Delays*, 1999), or from how long the first in line has waited, if that is more
(Ibrahim and Whitt, *Real-Time Delay Estimation Based on Delay History*, 2009). Whoever has waited that
long after all is refused then.
"""

import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from assistant.gateway.errors import GatewayError
from assistant.limits import Limits
from assistant.telemetry.instruments import INFLIGHT, QUEUED, SHED, staged
from index.errors import CasebookError

QueueName = Literal["search", "ask"]
Reason = Literal["full", "slow", "draining"]

SHARE = 0.5
"""The part of the waiting places that one caller may hold: the other half stays for everyone else."""

FIRST_GUESS = {"search": 0.1, "ask": 0.3}
"""Seconds that one takes on two idle cores (docs/benchmarks.md), until some were measured here."""

SMOOTHING = 1 / 8
"""Weight of the newest time in the recent time, as TCP smooths round trips (RFC 6298)."""

RESTARTED_IN = 5
"""Seconds after which to come again to a service that is going: others run, or this one runs again."""


class Overloaded(CasebookError):
    """There is more to do than can be done in useful time, or the service is going; `headers` say when
    to come again.
    """

    status = 503
    exit_code = 15
    title = "Overloaded"

    def __init__(self, message: str, retry_after: int, reason: Reason) -> None:
        super().__init__(f"{message}: ask again in {retry_after} s")
        self.reason = reason
        self.headers = {"Retry-After": str(retry_after)}


class ShuttingDown(GatewayError):
    """What a model was still writing when the service had to go."""


T = TypeVar("T")


@dataclass(eq=False)
class _Waiter:
    since: float
    called: anyio.Event = field(default_factory=anyio.Event)


class Admission:
    """The gate that all work of answering passes, for one event loop."""

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        limits = limits or Limits()
        self._lines = {name: _Line(name, limits, clock) for name in FIRST_GUESS}
        self._cuttable: set[anyio.CancelScope] = set()
        self._cut = False
        self.draining = False

    @asynccontextmanager
    async def admitted(self, queue: QueueName, by: str = "") -> AsyncIterator[None]:
        """Hold a place at work while the block runs, having waited for it; `by` is whose turn it takes.

        Raises `Overloaded`. Cancelled while it waits, a request leaves the queue and is never started.
        """
        line = self._lines[queue]
        self.check_open(queue)
        await line.enter(by)
        began = line.clock()
        try:
            yield
        finally:
            line.leave(line.clock() - began)

    def check_open(self, queue: QueueName) -> None:
        """Raise `Overloaded` where nothing new is begun."""
        if self.draining:
            SHED.add(1, {"queue": queue, "reason": "draining"})
            raise Overloaded("this server is being stopped", RESTARTED_IN, "draining")

    @property
    def at_work(self) -> int:
        """Requests at work now."""
        return sum(line.at_work for line in self._lines.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn now."""
        return sum(line.waiting for line in self._lines.values())

    def drain(self) -> None:
        """Begin nothing new; what has been admitted, or waits already, is done."""
        self.draining = True

    def cut(self) -> None:
        """End what is still being written by models: each such answer is given as far as it came."""
        self._cut = True
        for scope in self._cuttable:
            scope.cancel()

    async def until_cut(self, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The events; raises `ShuttingDown` where the next has not come when the service has to go."""
        while True:
            with self._until_cut() as scope:
                event = await anext(events, None)
            if scope.cancelled_caught:
                raise ShuttingDown("The service was stopped while a model was writing.")
            if event is None:
                return
            yield event

    @contextmanager
    def _until_cut(self) -> Iterator[anyio.CancelScope]:
        scope = anyio.CancelScope()
        if self._cut:
            scope.cancel()
        self._cuttable.add(scope)
        try:
            with scope:
                yield scope
        finally:
            self._cuttable.discard(scope)


class _Line:
    """One kind of work: who is at it, and who waits, by caller, next caller first."""

    def __init__(self, name: str, limits: Limits, clock: Callable[[], float]) -> None:
        self.name = name
        self.clock = clock
        self.at_work = 0
        self._at_once = limits.at_once(name)
        self._places = limits.waiting
        self._patience = limits.wait(name)
        self._took = FIRST_GUESS[name]
        self._waiting: dict[str, deque[_Waiter]] = {}

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    async def enter(self, by: str) -> None:
        """Take a place at work, when it is this caller's turn."""
        began = self.clock()
        if self.at_work >= self._at_once:
            self._check_room(by)
            await self._turn(by)
        else:
            self._start()
        staged("queue", self.clock() - began)

    def leave(self, took: float) -> None:
        """Give a place at work back, and call who is next."""
        self._took += SMOOTHING * (took - self._took)
        self._release()

    def _release(self) -> None:
        self.at_work -= 1
        INFLIGHT.add(-1, {"queue": self.name})
        if self._waiting:
            by = next(iter(self._waiting))
            own = self._waiting.pop(by)
            waiter = own.popleft()
            if own:
                self._waiting[by] = own  # behind all other callers
            QUEUED.add(-1, {"queue": self.name})
            self._start()
            waiter.called.set()

    def _start(self) -> None:
        self.at_work += 1
        INFLIGHT.add(1, {"queue": self.name})

    def _check_room(self, by: str) -> None:
        own = len(self._waiting.get(by, ()))
        if self.waiting >= self._places or own >= math.ceil(SHARE * self._places):
            raise self._refused("full")
        others = (len(each) for name, each in self._waiting.items() if name != by)
        ahead = own + sum(min(each, own + 1) for each in others)
        if max(self._expected(ahead), self._first_will_wait()) > self._patience:
            raise self._refused("slow")

    def _expected(self, ahead: int) -> float:
        """Seconds until a request is at work that has so many ahead of it."""
        return (ahead + 1) * self._took / self._at_once

    def _first_will_wait(self) -> float:
        """Seconds that the longest waiting will have waited in the end: looked at by chance, a wait is
        half over.
        """
        now = self.clock()
        return max((2 * (now - own[0].since) for own in self._waiting.values()), default=0.0)

    async def _turn(self, by: str) -> None:
        waiter = _Waiter(self.clock())
        self._waiting.setdefault(by, deque()).append(waiter)
        QUEUED.add(1, {"queue": self.name})
        try:
            with anyio.move_on_after(self._patience):
                await waiter.called.wait()
        except anyio.get_cancelled_exc_class():
            if waiter.called.is_set():
                self._release()
            else:
                self._forget(by, waiter)
            raise
        if not waiter.called.is_set():
            self._forget(by, waiter)
            raise self._refused("slow")

    def _forget(self, by: str, waiter: _Waiter) -> None:
        own = self._waiting[by]
        own.remove(waiter)
        if not own:
            del self._waiting[by]
        QUEUED.add(-1, {"queue": self.name})

    def _refused(self, reason: Reason) -> Overloaded:
        SHED.add(1, {"queue": self.name, "reason": reason})
        return Overloaded(
            f"{self.at_work} requests are at work and {self.waiting} wait, more than can be "
            "answered in useful time",
            max(1, math.ceil(self._expected(self.waiting))),
            reason,
        )

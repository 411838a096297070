"""How often and how much at a time one caller may ask."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from assistant.gateway.errors import TooManyRequests
from assistant.gateway.schema import Payer
from assistant.gateway.settings import Limits

WINDOW_SECONDS = 60.0


@dataclass
class _Asked:
    """When a caller was admitted in the last minute, and how many of those are being answered."""

    times: deque[float] = field(default_factory=deque)
    running: int = 0


class CallerLimits:
    """A sliding window of a minute and a count of what runs, for each caller by name.

    Exact: no 60 seconds hold more than `requests_per_minute` admissions, and what is turned away counts
    nowhere. Kept in memory, of this process alone: a caller is forgotten a minute after they were last
    admitted, so it holds as many numbers as were admitted in two minutes at most. Safe between threads.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._swept_at = clock()

    @contextmanager
    def admitted(self, payer: Payer) -> Iterator[None]:
        """Hold one of the caller's places while the block runs; raises `TooManyRequests`."""
        asked = self._admit(payer.name)
        try:
            yield
        finally:
            with self._lock:
                asked.running -= 1

    def _admit(self, name: str) -> _Asked:
        with self._lock:
            now = self._clock()
            self._sweep(now)
            asked = self._asked.setdefault(name, _Asked())
            _forget(asked.times, now)
            if asked.running >= self.limits.concurrent:
                raise TooManyRequests(
                    f"{name!r} already has {asked.running} questions being answered, as many as are "
                    "allowed at once: ask again when one is done",
                    retry_after=1,
                )
            if len(asked.times) >= self.limits.requests_per_minute:
                wait = max(1, math.ceil(asked.times[0] + WINDOW_SECONDS - now))
                raise TooManyRequests(
                    f"{name!r} has asked {len(asked.times)} questions in a minute, as many as are "
                    f"allowed: ask again in {wait} s",
                    retry_after=wait,
                )
            asked.times.append(now)
            asked.running += 1
            return asked

    def _sweep(self, now: float) -> None:
        """Forget, once a minute, who has not asked for a minute."""
        if now - self._swept_at < WINDOW_SECONDS:
            return
        self._swept_at = now
        for name, asked in list(self._asked.items()):
            _forget(asked.times, now)
            if not asked.times and not asked.running:
                del self._asked[name]


def _forget(times: deque[float], now: float) -> None:
    while times and times[0] + WINDOW_SECONDS <= now:
        times.popleft()

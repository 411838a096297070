"""Brownout: under load a search leaves out what it can do without, rather than be late or refused.

The optional part is the cross-encoder (Klein et al., *Brownout: Building More Robust Cloud Applications*,
2014): a search that it reads passages for takes twenty times as long. It is the reading that is shared,
so what a search gets depends on who else is searching and on nothing that they may read.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assistant.rank import RERANK_TOKENS

AT_ONCE = 2
"""Searches that read at a time, each half of what one alone does: three would be late, all of them."""

WINDOW_SECONDS = 2.0
"""The time over which searches are counted: a burst of a second is not yet too much."""

FIRST_GUESS = 0.12
"""Seconds that a search takes with its reading, before any was measured."""

SMOOTHING = 1 / 8


class Brownout:
    """How much the reranker may read for a search, given what else is going on; for one event loop."""

    def __init__(
        self, full: int = RERANK_TOKENS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._full = full
        self._clock = clock
        self._reading = 0
        self._took = FIRST_GUESS
        self._came: deque[float] = deque()

    @contextmanager
    def reading(self) -> Iterator[int]:
        """The tokens of passages that a search may have read while the block runs: all, half or none.

        None where more searches have come lately than could be read for one after another.
        """
        began = self._clock()
        tokens = self._granted(began)
        if not tokens:
            yield 0
            return
        self._reading += 1
        try:
            yield tokens
        finally:
            self._reading -= 1
            self._took += SMOOTHING * (self._clock() - began - self._took)

    def _granted(self, now: float) -> int:
        self._came.append(now)
        while self._came[0] <= now - WINDOW_SECONDS:
            self._came.popleft()
        busy = len(self._came) / WINDOW_SECONDS * self._took
        if busy > 1 or self._reading >= AT_ONCE:
            return 0
        return self._full // (self._reading + 1)

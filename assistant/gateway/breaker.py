"""A circuit breaker: a model that keeps failing is left alone for a while, then tried with one call.

Closed: calls are admitted and their ends counted. Open: none is admitted, after 5 failures in a row
or where half of the last 10 calls failed. After 30 s one call is admitted as a probe: its success
closes the breaker, its failure opens it anew.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

FAILURES_IN_A_ROW = 5
WINDOW = 10
FAILURES_IN_WINDOW = WINDOW // 2
OPEN_SECONDS = 30.0


@dataclass(frozen=True)
class Permit:
    """One admitted call; what becomes of it is reported once."""

    era: int


class Breaker:
    """The breaker of one model. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._opened_at: float | None = None
        self._probing = False
        # Calls of an earlier era tell of a state that is over: what they report is passed over.
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for a probe."""
        return self._opened_at is not None

    def admit(self) -> Permit | None:
        """A permit for one call, or None while the model is left alone."""
        if self._opened_at is not None:
            if self._probing or self._clock() - self._opened_at < OPEN_SECONDS:
                return None
            self._probing = True
            self._era += 1
        return Permit(self._era)

    def succeeded(self, permit: Permit) -> None:
        """The call was answered."""
        if permit.era != self._era:
            return
        if self.is_open:
            self._opened_at, self._probing = None, False
            self._era += 1
        self._recent.append(True)

    def failed(self, permit: Permit) -> None:
        """The call failed, and the model is to blame."""
        if permit.era != self._era:
            return
        self._recent.append(False)
        if self.is_open or self._too_many():
            self._opened_at, self._probing = self._clock(), False
            self._recent.clear()
            self._era += 1

    def spared(self, permit: Permit) -> None:
        """The call says nothing of the model: it was cancelled, or it was no good call."""
        if permit.era == self._era:
            self._probing = False

    def _too_many(self) -> bool:
        last = list(self._recent)[-FAILURES_IN_A_ROW:]
        in_a_row = len(last) == FAILURES_IN_A_ROW and not any(last)
        full = len(self._recent) == WINDOW
        return in_a_row or (full and self._recent.count(False) >= FAILURES_IN_WINDOW)

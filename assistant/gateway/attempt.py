"""One try at one model, timed and recorded."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from decimal import Decimal

import anyio

from assistant.gateway.failure import Failure, Kind
from assistant.gateway.ledger import Attempt
from assistant.gateway.prices import cost
from assistant.gateway.provider import HANG_UP_SECONDS, Ended, Piece, Provider
from assistant.gateway.route import output_of
from assistant.gateway.schema import Call, Delta, Usage
from assistant.gateway.settings import Price, Timeouts
from index.embedder import llm_tokens

NOT_TAKEN_UP = frozenset(
    ("rate_limited", "server_error", "unauthorized", "bad_request", "refused", "timeout_connect")
)
"""Outcomes of tries that no model has read anything of, which no provider charges for."""


@dataclass(frozen=True)
class Model:
    """A model that can be asked, and its price where one is known."""

    provider: Provider
    price: Price | None

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.provider.entry.name


@dataclass
class Try:
    """A try while it runs; `record` is what the ledger is told of it afterwards."""

    model: Model
    call: Call
    timeouts: Timeouts
    deadline: float
    clock: Callable[[], float]
    outcome: str = field(default="cancelled", init=False)
    failure: Failure | None = field(default=None, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _usage: Usage | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _first: float | None = field(default=None, init=False)
    _over: float = field(default=0.0, init=False)

    @property
    def spoke(self) -> bool:
        """Whether a text was handed on."""
        return bool(self._texts)

    async def stream(self) -> AsyncGenerator[Delta, None]:
        """The texts, to the end or until `failure` is set."""
        self._began = self.clock()
        limit = output_of(self.model.provider.entry, self.call)
        pieces = self.model.provider.stream(self.call.messages, limit)
        try:
            while not isinstance(piece := await self._next(pieces), Ended):
                if isinstance(piece, Delta):
                    self._texts.append(piece.text)
                    yield piece
            self.outcome = "truncated" if piece.truncated else "completed"
            self._usage = piece.usage
        except Failure as failure:
            self.failure = failure
            self.outcome = self._kind(failure)
            self._usage = failure.usage
        finally:
            with anyio.move_on_after(HANG_UP_SECONDS, shield=True):
                await pieces.aclose()
            self._over = self.clock()

    async def _next(self, pieces: AsyncGenerator[Piece, None]) -> Piece:
        patience, kind = self._patience()
        left = self.deadline - self.clock()
        if left <= patience:
            patience, kind = max(0.0, left), "timeout_total"
        with anyio.move_on_after(patience):
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                raise Failure("broken", "ended early") from None
            if self._first is None:
                self._first = self.clock()
            return piece
        raise Failure(kind, f"after {self.clock() - self._began:.1f} s")

    def _patience(self) -> tuple[float, Kind]:
        """Seconds to wait for the next piece. An answer in one piece has no first token: it is given
        half of the total, which leaves the rest for another model.
        """
        if self._first is not None:
            return self.timeouts.between_tokens, "timeout_between"
        if self.model.provider.entry.stream:
            return self.timeouts.first_token, "timeout_first_token"
        return self.timeouts.total / 2, "timeout_first_token"

    def _kind(self, failure: Failure) -> str:
        if self.spoke and not failure.kind.startswith("timeout"):
            return "broken"
        return failure.kind

    @property
    def gave_up(self) -> bool:
        """Whether half of the total passed without an answer: the other half is for another model."""
        whole = not self.model.provider.entry.stream
        return whole and self.outcome == "timeout_first_token"

    @property
    def blame(self) -> bool | None:
        """Whether the model is to blame for a failure; None where the try says nothing of it: it was
        cancelled, the call was no good one, or its reader let the time run out.
        """
        if self.failure is None:
            return None if self.outcome == "cancelled" else False
        if self.outcome == "bad_request" or (self.spoke and self.outcome == "timeout_total"):
            return None
        return True

    def record(self) -> Attempt:
        """What the ledger is told."""
        usage, estimated = self._used()
        return Attempt(
            model=self.model.name,
            outcome=self.outcome,
            usage=usage,
            cost=self._cost(usage),
            first_token_ms=None if self._first is None else 1000 * (self._first - self._began),
            latency_ms=1000 * (self._over - self._began),
            estimated=estimated,
        )

    def _used(self) -> tuple[Usage | None, bool]:
        """Tokens used, and whether they were counted here: tiktoken's, where the provider gave none.

        A try that it may have taken up counts, or hanging up early would be a way past every budget.
        """
        if self._usage is not None or (not self.spoke and self.outcome in NOT_TAKEN_UP):
            return self._usage, False
        return Usage(self.call.tokens, llm_tokens()("".join(self._texts))), True

    def _cost(self, usage: Usage | None) -> Decimal | None:
        """US dollars, None where no price or no usage is known."""
        if usage is None or self.model.price is None:
            return None
        return cost(self.model.price, usage)

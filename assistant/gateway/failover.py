"""From model to model until one answers, within one deadline."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

import anyio

from assistant.gateway.attempt import Model, Try
from assistant.gateway.breaker import Breaker, Permit
from assistant.gateway.errors import NotAnswered, StreamBroken
from assistant.gateway.failure import Failure
from assistant.gateway.ledger import Attempt
from assistant.gateway.retry import TRIES_IN_ALL, TRIES_PER_MODEL, wait_before_retry
from assistant.gateway.schema import Call, Completed, Event
from assistant.gateway.settings import Timeouts
from assistant.telemetry.attempts import attempted

log = logging.getLogger("casebook.gateway")

NOT_ANSWERED = "No language model answered."
BROKEN = "The language model stopped in the middle of its answer."


class Failover:
    """Asks models in order, each behind a breaker of its own."""

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
    ) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._breakers: dict[str, Breaker] = {}

    async def stream(
        self,
        call: Call,
        route: Sequence[Model],
        attempts: list[Attempt],
        deadline: float,
        reserve_more: Callable[[], Awaitable[None]],
    ) -> AsyncGenerator[Event, None]:
        """Texts of one model, then `Completed`. Each try is added to `attempts`, however it ends.

        `deadline` is by the clock that was passed in; `reserve_more` is called before a try where the
        one before it used something. Raises `NotAnswered`, or `StreamBroken` once a text was given:
        nothing is joined to that; and what `reserve_more` raises.
        """
        notes: list[str] = []
        for model in route:
            for tried in range(1, TRIES_PER_MODEL + 1):
                if attempts and attempts[-1].usage is not None:
                    await reserve_more()
                permit = self._breaker(model).admit()
                if permit is None:
                    notes.append(f"{model.name}: not asked, it failed too often of late")
                    break
                one = Try(model, call, self._timeouts, deadline, self._clock)
                try:
                    async with aclosing(one.stream()) as texts:
                        async for text in texts:
                            yield text
                finally:
                    self._over(one, permit, attempts)
                if one.failure is None:
                    yield _completed(one, attempts)
                    return
                notes.append(f"{model.name}: {one.failure}")
                if one.spoke:
                    raise StreamBroken(BROKEN, model.name)
                if len(attempts) >= TRIES_IN_ALL or self._clock() >= deadline:
                    raise NotAnswered(NOT_ANSWERED, notes)
                if one.gave_up or not await self._waited(one.failure, tried, deadline):
                    break
        raise NotAnswered(NOT_ANSWERED, notes)

    def is_left_alone(self, model: str) -> bool:
        """Whether a model, by its name, failed too often of late to be asked."""
        return model in self._breakers and self._breakers[model].is_open

    async def _waited(self, failure: Failure, tried: int, deadline: float) -> bool:
        """Whether the same model is asked again, now that it was waited for."""
        wait = wait_before_retry(failure, tried, deadline - self._clock(), self._random)
        if wait is None:
            return False
        with anyio.move_on_after(deadline - self._clock()):
            await self._sleep(wait)
        return self._clock() < deadline

    def _breaker(self, model: Model) -> Breaker:
        return self._breakers.setdefault(model.name, Breaker(self._clock))

    def _over(self, one: Try, permit: Permit, attempts: list[Attempt]) -> None:
        attempt = one.record()
        attempts.append(attempt)
        attempted(one.model.provider.entry, one.call, attempt)
        breaker = self._breaker(one.model)
        match one.blame:
            case True:
                breaker.failed(permit)
            case False:
                breaker.succeeded(permit)
            case None:
                breaker.spared(permit)
        log.log(
            logging.INFO if one.failure is None else logging.WARNING,
            "model %s: %s after %.0f ms",
            attempt.model,
            one.failure or attempt.outcome,
            attempt.latency_ms,
        )


def _completed(one: Try, attempts: Sequence[Attempt]) -> Completed:
    last = attempts[-1]
    assert last.usage is not None
    return Completed(
        model=last.model,
        usage=last.usage,
        cost=last.cost,
        attempts=len(attempts),
        estimated=last.estimated,
        truncated=last.outcome == "truncated",
    )

"""The gateway: a call goes in, the text of a language model comes out, or the reason why not."""

import asyncio
import logging
import random as chance
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import TypeVar, TypeVarTuple

import anyio
from anyio.to_thread import run_sync

from assistant.gateway.alerts import Alerts
from assistant.gateway.attempt import Model
from assistant.gateway.cache import Cache, key_of
from assistant.gateway.failover import Failover
from assistant.gateway.ledger import Attempt, Ledger, Reservation, utc_now
from assistant.gateway.prices import cost, price_of
from assistant.gateway.route import Router, output_of
from assistant.gateway.schema import Call, Completed, Delta, Event, Usage
from assistant.gateway.settings import GatewaySettings
from index.embedder import llm_tokens
from index.schema import Labels

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("casebook.gateway")
text_log = logging.getLogger("casebook.gateway.texts")
"""Prompts and answers, where the settings say so; telemetry sends none of it."""

SETTLING_SECONDS = 0.25
"""How long a call waits for the ledger after its deadline; held up by another process, it settles later."""


class Gateway:
    """Calls language models for one event loop: routed, within budgets, with failover, accounted for.

    Without models in the settings it is not `configured` and costs nothing. With some, making it
    imports the providers' libraries, which takes a second or two.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.settings = settings
        self._clock = monotonic
        self._router = Router(settings)
        self._cache = Cache(settings.cache)
        thresholds = settings.alerts.at if settings.alerts else ()
        self.ledger = Ledger(settings.ledger, settings.budgets, now, thresholds)
        self._ledger_thread = ThreadPoolExecutor(1, "ledger")
        self._alerts = Alerts(settings.alerts, self.ledger) if settings.alerts else None
        self._failover = Failover(settings.timeouts, clock=monotonic, sleep=sleep, random=random)
        self._models = {model.name: model for model in _opened(settings)}

    @property
    def configured(self) -> bool:
        """Whether there is any model to ask."""
        return bool(self.settings.models)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Models whose price is not known, so that no budget in dollars binds them."""
        return tuple(name for name, model in self._models.items() if model.price is None)

    def room(self, labels: Labels) -> int:
        """Tokens of prompt that fit the first model these labels may go to, 0 if there is none."""
        return self._router.room(labels)

    async def stream(self, call: Call) -> AsyncGenerator[Event, None]:
        """The text as it comes, then one `Completed`; use it under `contextlib.aclosing`.

        Ends within the settings' total and less than a second, whatever providers do; closing it
        early hangs up and settles. Raises `NoRoute`, `OverBudget`, `NotAnswered`, `StreamBroken`.
        """
        began = self._clock()
        route = [self._models[entry.name] for entry in self._router.route(call)]
        kept = await self._kept(call, route, began)
        if kept is not None:
            yield Delta(kept[0])
            yield kept[1]
            return
        deadline = began + self.settings.timeouts.total
        async with aclosing(self._asked(call, route, deadline)) as events:
            async for event in events:
                yield event

    def breakers(self) -> dict[str, bool]:
        """Of each model, by its name, whether it is left alone."""
        return {name: self._failover.is_left_alone(name) for name in self._models}

    async def close(self) -> None:
        """Hang up, wait for what is being settled and for alerts being sent, and close the ledger."""
        for model in self._models.values():
            await model.provider.close()
        await run_sync(self._ledger_thread.shutdown)
        if self._alerts:
            await run_sync(self._alerts.close)
        self.ledger.close()

    async def _asked(
        self, call: Call, route: Sequence[Model], deadline: float
    ) -> AsyncGenerator[Event, None]:
        """What a model says, within budgets; settled before the last event and however it ends."""
        with anyio.CancelScope(shield=True):  # what was reserved is settled, whatever comes
            reservation = await self._on_ledger(self._reserve, call, route)
        attempts: list[Attempt] = []
        texts: list[str] = []

        async def reserve_more() -> None:
            tokens, dollars = _charged(attempts)
            most = _most(call, route)
            await self._on_ledger(
                self.ledger.extend, reservation, tokens + most[0], dollars + most[1]
            )

        events = self._failover.stream(call, route, attempts, deadline, reserve_more)
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Completed):
                        completed = event
                        break
                    texts.append(event.text)
                    yield event
        finally:
            left = deadline - self._clock()
            with anyio.move_on_after(max(SETTLING_SECONDS, left), shield=True):
                await self._on_ledger(self._settle, reservation, attempts)
        self._keep(call, completed, "".join(texts))
        yield completed

    async def _kept(
        self, call: Call, route: Sequence[Model], began: float
    ) -> tuple[str, Completed] | None:
        """What a model on the route has said to this very call before."""
        for model in route:
            kept = self._cache.get(key_of(call, model.provider.entry))
            if kept is not None:
                passed = 1000 * (self._clock() - began)
                await self._on_ledger(self.ledger.cached, call.payer, model.name, passed)
                return kept
        return None

    def _keep(self, call: Call, completed: Completed, text: str) -> None:
        if self.settings.log_texts:
            text_log.info("asked %s, %s said %r", call.messages, completed.model, text)
        if not completed.truncated:
            self._cache.put(
                key_of(call, self._models[completed.model].provider.entry), text, completed
            )

    def _reserve(self, call: Call, route: Sequence[Model]) -> Reservation:
        try:
            return self.ledger.reserve(call.payer, *_most(call, route))
        finally:
            self._alert()

    async def _on_ledger(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run what may wait for the disk elsewhere than on the event loop, in turn; cancelled, it is
        done there all the same.
        """
        return await asyncio.shield(
            asyncio.wrap_future(self._ledger_thread.submit(function, *args))
        )

    def _settle(self, reservation: Reservation, attempts: Sequence[Attempt]) -> None:
        self.ledger.settle(reservation, attempts)
        self._alert()

    def _alert(self) -> None:
        if self._alerts:
            self._alerts.check()


def _most(call: Call, route: Sequence[Model]) -> tuple[int, Decimal]:
    """The tokens and dollars that one try may use, at the dearest model on the route."""
    most = [Usage(call.tokens, output_of(model.provider.entry, call)) for model in route]
    dollars = [
        cost(model.price, usage)
        for model, usage in zip(route, most, strict=True)
        if model.price is not None
    ]
    return max(usage.input + usage.output for usage in most), max(dollars, default=Decimal(0))


def _charged(attempts: Sequence[Attempt]) -> tuple[int, Decimal]:
    """The tokens and dollars that tries have used so far."""
    tokens = sum(each.usage.input + each.usage.output for each in attempts if each.usage)
    return tokens, sum((each.cost or Decimal(0) for each in attempts), Decimal(0))


def _opened(settings: GatewaySettings) -> tuple[Model, ...]:
    if not settings.models:
        return ()
    from assistant.gateway.pydantic_ai_provider import LibraryProvider

    llm_tokens()  # the first call should not wait for it
    return tuple(
        Model(LibraryProvider(entry, settings.timeouts), price_of(entry))
        for entry in settings.models
    )

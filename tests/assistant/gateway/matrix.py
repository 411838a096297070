"""Calls through the gateway to providers that misbehave, and what must be true of each of them.

A group of them runs in one process, beside its own fake provider: `run` gives what was wrong.
"""

import asyncio
import gc
import logging
import os
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import httpcore2

from assistant.gateway.errors import GatewayError, NotAnswered, StreamBroken
from assistant.gateway.gateway import Gateway
from assistant.gateway.ledger import Ledger
from assistant.gateway.schema import Call, Completed, Delta, Message, Payer
from assistant.gateway.settings import GatewaySettings, ModelEntry, Timeouts
from tests.assistant.gateway.behaviours import BADLY, WELL, Exchange
from tests.assistant.gateway.misbehaving import UNREACHABLE, Misbehaving

SEEDS = range(25)
AT_ONCE = 20
GRACE = 1.0
"""Seconds after its deadline by which a call must have ended."""

SHORT = Timeouts(connect=0.2, first_token=0.2, between_tokens=0.2, total=1.0)
"""Where a provider keeps the gateway waiting; elsewhere a busy machine needs more."""
AMPLE = Timeouts(connect=3, first_token=3, between_tokens=3, total=8)
FASTER = 20
"""How much shorter the waits between tries are here."""

WELL_NAMES = [each.__name__ for each in WELL]
FAULTS = [*(each.__name__ for each in BADLY), *UNREACHABLE]
NAMES = [*WELL_NAMES, *FAULTS]
KEEP_WAITING = {"slow_headers", "slow_first_token", "stall", "endless", "bad_tls"}
SETUPS = ["one", "second_well", "second_badly"]

SECRET, PRIVATE = "sk-m1sbehave", "c4nary"
"""In every key, and in every prompt."""


@dataclass(frozen=True)
class Case:
    """One call: how its providers behave, whether they stream, and the seed of it all."""

    first: str
    second: str | None
    stream: bool
    seed: int

    @property
    def name(self) -> str:
        return f"{self.first}.{self.second}.{'streamed' if self.stream else 'whole'}.{self.seed}"

    @property
    def models(self) -> dict[str, str]:
        """The models' behaviours by their names in the settings."""
        both = {"first": self.first, "second": self.second}
        return {model: behaviour for model, behaviour in both.items() if behaviour}

    @property
    def timeouts(self) -> Timeouts:
        return SHORT if KEEP_WAITING & {self.first, self.second} else AMPLE

    def provider(self, model: str) -> str:
        """What the fake provider knows the model of this case by."""
        return f"{self.name}.{model}"


@dataclass
class Outcome:
    """What the caller got."""

    text: str = ""
    completed: Completed | None = None
    error: GatewayError | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """An attempt as the ledger has it."""

    model: str
    outcome: str
    input: int | None
    output: int | None
    cached: int | None
    estimated: bool


@dataclass
class Shown:
    """Everything that someone might get to see; holds the gateways, lest garbage collection close
    what they leave open.
    """

    texts: list[str] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)

    def add(self, case: Case, gateway: Gateway, outcome: Outcome) -> None:
        self.gateways.append(gateway)
        shown = [repr(gateway), repr(vars(gateway)), repr(outcome)]
        if outcome.error:
            shown += [*traceback.format_exception(outcome.error), repr(vars(outcome.error))]
        self.texts.extend(f"{case.name} {text}" for text in shown)

    @contextmanager
    def with_logs(self) -> Iterator[None]:
        """Also all that is logged, at any level."""
        root, handler = logging.getLogger(), logging.Handler()
        handler.emit = lambda record: self.texts.append(handler.format(record))  # type: ignore[method-assign]
        root.setLevel(logging.DEBUG)
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


def run(first: str, setup: str) -> list[str]:
    """What was wrong in one group of calls, a line each."""
    _warm_up()
    with TemporaryDirectory() as name, Misbehaving() as server:
        folder = Path(name)
        before, shown = _descriptors(), Shown()
        cases = cases_of(first, setup)
        with shown.with_logs():
            outcomes, wrong = asyncio.run(_all(cases, server, folder, shown))
        if not _eventually(lambda: server.open == 0 and _descriptors() <= before):
            wrong.append(f"left open: {server.open} connections, {_descriptors() - before} files")
        rows = _rows_by_payer(folder / "usage.sqlite")
        for case in cases:
            seen = [each for model in case.models for each in server.seen(case.provider(model))]
            wrong += _wrong(case, outcomes[case], seen, rows.get(case.name, []))
        wrong += [f"in the clear: {text}" for text in shown.texts if SECRET in text]
        wrong += [f"private: {text}" for text in shown.texts if PRIVATE in text]
        wrong += [str(each) for each in Ledger(folder / "usage.sqlite").check()]
        return wrong


@cache
def _warm_up() -> None:
    """Do once in a process what is slow: imports, and reading the machine's certificates (25 ms, for
    each of thousands of clients). Garbage is then looked for in what comes after alone.
    """
    httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)
    with TemporaryDirectory() as folder, Misbehaving() as server:
        asyncio.run(_all([Case("usage", None, True, 0)], server, Path(folder), Shown()))
    gc.freeze()


def cases_of(first: str, setup: str) -> list[Case]:
    """A group: streamed or not, 25 seeds; a second provider that misbehaves does so in all ways."""
    cases = []
    for stream, seed in product([True, False], SEEDS):
        badly = FAULTS[seed % len(FAULTS)]
        second = {"one": None, "second_well": "usage", "second_badly": badly}[setup]
        cases.append(Case(first, second, stream, seed))
    return cases


async def _all(
    cases: Sequence[Case], server: Misbehaving, folder: Path, shown: Shown
) -> tuple[dict[Case, Outcome], list[str]]:
    outcomes: dict[Case, Outcome] = {}
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with turn:
            random = Random(case.seed).random
            gateway = Gateway(_settings(case, server, folder), sleep=_nap, random=random)
            outcomes[case] = await ask(gateway, case.name)
            await gateway.close()
        shown.add(case, gateway, outcomes[case])

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case))
    gc.collect()  # the libraries leave generators behind, which the event loop now closes, at once
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        _, left = await asyncio.wait(left, timeout=0.1)
    return outcomes, [f"left running: {task}" for task in left]


async def _nap(seconds: float) -> None:
    await anyio.sleep(seconds / FASTER)


def _settings(case: Case, server: Misbehaving, folder: Path) -> GatewaySettings:
    key = folder / "key"
    key.write_text(f"{SECRET}-{case.seed}\n")
    models = [
        {
            "name": model,
            "model": "fake",
            "address": server.address_of(behaviour, case.seed, case.provider(model)),
            "key_file": key,
            "stream": case.stream,
        }
        for model, behaviour in case.models.items()
    ]
    return GatewaySettings(
        models=[ModelEntry.model_validate(model) for model in models],
        timeouts=case.timeouts,
        ledger=folder / "usage.sqlite",
        cache=0,
    )


def call_of(payer: str) -> Call:
    """A call on somebody's account."""
    public = frozenset({"public"})
    message = Message("user", f"{PRIVATE}: how is a node drained?")
    return Call((message,), 12, 400, Payer(payer, "team"), public, public, "state")


async def ask(gateway: Gateway, payer: str) -> Outcome:
    """Call and take all that comes."""
    outcome, began = Outcome(), time.monotonic()
    try:
        async with aclosing(gateway.stream(call_of(payer))) as events:
            async for event in events:
                assert outcome.completed is None, "nothing comes after the end"
                if isinstance(event, Delta):
                    outcome.text += event.text
                else:
                    outcome.completed = event
    except GatewayError as error:
        outcome.error = error
    outcome.seconds = time.monotonic() - began
    return outcome


def _wrong(
    case: Case, outcome: Outcome, seen: Sequence[Exchange], rows: Sequence[Row]
) -> Iterator[str]:
    """What is wrong with one call: its end, its text, its tries, its counters."""
    checks = _end(case, outcome), _text(outcome, seen), _tries(case, outcome, seen, rows)
    for what, true in [each for check in (*checks, _tokens(seen, rows)) for each in check]:
        if not true:
            yield f"{case.name}: not {what}: {outcome}, {rows}"


Check = Iterator[tuple[str, bool]]
"""What should be, and whether it is."""


def _end(case: Case, outcome: Outcome) -> Check:
    yield "in time", outcome.seconds < case.timeouts.total + GRACE
    yield "one end", (outcome.completed is None) != (outcome.error is None)
    yield "a known end", isinstance(outcome.error, StreamBroken | NotAnswered | None)
    yield (
        "broken after text only",
        isinstance(outcome.error, StreamBroken) == bool(outcome.error and outcome.text),
    )
    if case.first in WELL_NAMES and case.timeouts == AMPLE:
        yield "answered by who is well", outcome.completed is not None


def _text(outcome: Outcome, seen: Sequence[Exchange]) -> Check:
    """Never one text twice, nor two texts in one."""
    if outcome.completed and not outcome.completed.truncated:
        yield "all of the last text", seen[-1].whole and outcome.text == seen[-1].answer
    elif outcome.text:
        yield "the last text as far as it got", seen[-1].said.startswith(outcome.text)


def _tries(case: Case, outcome: Outcome, seen: Sequence[Exchange], rows: Sequence[Row]) -> Check:
    """As the providers counted them; what ran out of time may not have got as far as them."""
    tries = Counter(row.model for row in rows)
    in_time = Counter(row.model for row in rows if not row.outcome.startswith("timeout"))
    yield "1 to 4 tries", 1 <= len(rows) <= 4
    yield "2 a provider", max(tries.values(), default=0) <= 2
    for model, behaviour in case.models.items():
        arrived = sum(each.provider == case.provider(model) for each in seen)
        least, most = (0, 0) if behaviour in UNREACHABLE else (in_time[model], tries[model])
        yield f"{model} as seen", least <= arrived <= most
    if outcome.completed:
        yield "tries told", outcome.completed.attempts == len(rows)
    elif case.second and not outcome.text and outcome.seconds < 0.9 * case.timeouts.total:
        yield "the second asked", tries["second"] > 0


def _tokens(seen: Sequence[Exchange], rows: Sequence[Row]) -> Check:
    """As the providers told them, where there was time to hear it."""
    told = [
        (u["prompt_tokens"], u["completion_tokens"], _cached(u))
        for each in seen
        if (u := each.usage)
    ]
    counted = [
        (row.input, row.output, row.cached)
        for row in rows
        if row.input is not None and not row.estimated
    ]
    timed_out = any(row.outcome.startswith("timeout") for row in rows)
    yield "tokens as told", counted == told or (timed_out and not Counter(counted) - Counter(told))


def _cached(usage: dict[str, Any]) -> int:
    details: dict[str, int] = usage.get("prompt_tokens_details", {})
    return details.get("cached_tokens", 0)


def _rows_by_payer(ledger: Path) -> dict[str, list[Row]]:
    columns = "key, model, outcome, input_tokens, output_tokens, cached_tokens, estimated"
    rows: dict[str, list[Row]] = {}
    with closing(sqlite3.connect(ledger)) as db:
        for payer, *values in db.execute(f"SELECT {columns} FROM calls ORDER BY id"):
            rows.setdefault(payer, []).append(Row(*values))
    return rows


def _descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def _eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true soon: the server learns a moment later that a client has hung up."""
    until = time.monotonic() + 2
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()

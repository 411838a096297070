"""So much is at work, so much waits, everyone in turn, and the rest are told at once to come later."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller, anonymous
from assistant.access.keys import KeyStore
from assistant.admission import Admission, Overloaded, ShuttingDown
from assistant.answering import Answering
from assistant.api import create_app
from assistant.assistant import Assistant
from assistant.brownout import Brownout
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.jobs import Jobs
from assistant.limits import Limits
from assistant.schema import SearchResult
from assistant.sources import Sources
from tests.assistant.services import served

ONE = Limits(search_at_once=1, ask_at_once=1, waiting=4, search_wait=5, ask_wait=5)


class Desk:
    """An admission with work that ends when it is told to; `begun` and `refused` are names in order."""

    def __init__(self, limits: Limits = ONE) -> None:
        self.admission = Admission(limits)
        self.begun: list[str] = []
        self.refused: list[tuple[str, Overloaded]] = []
        self.done: dict[str, anyio.Event] = {}

    async def work(self, name: str, by: str = "") -> None:
        self.done[name] = anyio.Event()
        try:
            async with self.admission.admitted("ask", by):
                self.begun.append(name)
                await self.done[name].wait()
        except Overloaded as error:
            self.refused.append((name, error))

    async def finish(self, name: str) -> None:
        self.done[name].set()
        await settled()


async def settled() -> None:
    """Until every task that can go on has."""
    for _ in range(10):
        await anyio.sleep(0)


def running(scenario: Callable[[Desk, Any], Awaitable[None]], limits: Limits = ONE) -> Desk:
    """A scenario played out, then everything that still runs is stopped."""
    desk = Desk(limits)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(10):
                await scenario(desk, tasks)
            tasks.cancel_scope.cancel()

    anyio.run(run)
    return desk


def test_so_many_are_at_work_and_the_others_begin_in_order_as_these_end() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        for name in "abc":
            tasks.start_soon(desk.work, name)
            await settled()
        assert desk.begun == ["a"]
        await desk.finish("a")
        assert desk.begun == ["a", "b"]
        await desk.finish("b")
        assert desk.begun == ["a", "b", "c"]

    assert not running(scenario).refused


def test_what_finds_no_place_is_refused_at_once_with_when_to_come_again() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        for number in range(6):
            tasks.start_soon(desk.work, f"{number}", f"caller {number}")
            await settled()
        ((name, error),) = desk.refused
        assert name == "5"
        assert (error.status, error.reason) == (503, "full")
        assert int(error.headers["Retry-After"]) >= 1

    running(scenario)


def test_one_caller_may_not_take_every_place() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        for number in range(5):
            tasks.start_soon(desk.work, f"flood {number}", "anonymous")
            await settled()
        assert [name for name, _ in desk.refused] == ["flood 3", "flood 4"]
        tasks.start_soon(desk.work, "signed in", "key")
        await settled()
        assert len(desk.refused) == 2
        await desk.finish("flood 0")
        await desk.finish("flood 1")
        assert desk.begun == ["flood 0", "flood 1", "signed in"]

    running(scenario)


def test_a_request_whose_client_went_away_is_never_begun_and_leaves_its_place() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        tasks.start_soon(desk.work, "first")
        await settled()
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(desk.work, "gone")
            await settled()
            leaving.cancel_scope.cancel()
        tasks.start_soon(desk.work, "next")
        await settled()
        await desk.finish("first")
        assert desk.begun == ["first", "next"]

    running(scenario)


def test_a_place_given_to_one_who_leaves_at_that_moment_goes_to_the_next() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        async with desk.admission.admitted("ask"):
            gone = asyncio.create_task(desk.work("gone"))
            await settled()
            tasks.start_soon(desk.work, "next")
            await settled()
        gone.cancel()  # in the turn of the loop in which it got the place
        await settled()
        assert desk.begun == ["next"]
        await desk.finish("next")
        tasks.start_soon(desk.work, "last")
        await settled()
        assert desk.begun == ["next", "last"]

    running(scenario)


def test_who_could_not_be_served_in_time_is_refused_before_waiting() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        tasks.start_soon(desk.work, "first")
        await settled()
        await anyio.sleep(0.5)
        await desk.finish("first")  # so one takes about 0.3 s, a guess, and now some more
        for name in "abcd":
            tasks.start_soon(desk.work, name, name)
            await settled()
        assert [(name, error.reason) for name, error in desk.refused] == [("d", "slow")]

    running(scenario, ONE.model_copy(update={"waiting": 100, "ask_wait": 0.9}))


def test_nobody_joins_a_line_that_does_not_move() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        tasks.start_soon(desk.work, "stuck")
        tasks.start_soon(desk.work, "waits")
        await anyio.sleep(0.6)
        tasks.start_soon(desk.work, "new")
        await settled()
        assert [(name, error.reason) for name, error in desk.refused] == [("new", "slow")]

    running(scenario, ONE.model_copy(update={"ask_wait": 1.0}))


def test_who_has_waited_too_long_after_all_is_refused() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        tasks.start_soon(desk.work, "stuck")
        tasks.start_soon(desk.work, "late")
        await anyio.sleep(0.6)
        assert [(name, error.reason) for name, error in desk.refused] == [("late", "slow")]
        await desk.finish("stuck")
        assert desk.begun == ["stuck"]

    running(scenario, ONE.model_copy(update={"ask_wait": 0.4}))


def test_draining_refuses_what_is_new_and_serves_what_was_waiting() -> None:
    async def scenario(desk: Desk, tasks: Any) -> None:
        for name in ("at work", "waiting"):
            tasks.start_soon(desk.work, name)
            await settled()
        desk.admission.drain()
        tasks.start_soon(desk.work, "new")
        await settled()
        assert [(name, error.reason) for name, error in desk.refused] == [("new", "draining")]
        await desk.finish("at work")
        assert desk.begun == ["at work", "waiting"]

    running(scenario)


def test_a_stalled_model_is_cut_where_the_service_must_go_and_others_are_left_alone() -> None:
    async def words(stall: bool) -> AsyncGenerator[str, None]:
        yield "one"
        if stall:
            await anyio.sleep_forever()
        yield "two"

    async def scenario() -> None:
        admission = Admission()
        assert [word async for word in admission.until_cut(words(stall=False))] == ["one", "two"]
        asyncio.get_running_loop().call_later(0.05, admission.cut)
        events = admission.until_cut(words(stall=True))
        assert await anext(events) == "one"
        with anyio.fail_after(5), pytest.raises(ShuttingDown):
            await anext(events)

    anyio.run(scenario)


# --- brownout ---------------------------------------------------------------------------------


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_search_is_read_for_whole_two_by_halves_and_a_third_not_at_all() -> None:
    brownout = Brownout(full=800, clock=Clock())
    with brownout.reading() as first, brownout.reading() as second, brownout.reading() as third:
        assert (first, second, third) == (800, 400, 0)
    with brownout.reading() as alone:
        assert alone == 800


def test_nothing_is_read_while_more_searches_come_than_could_be_and_again_when_fewer_do() -> None:
    clock = Clock()
    brownout = Brownout(full=800, clock=clock)

    def search(every: float) -> int:
        clock.now += every
        came = clock.now
        with brownout.reading() as tokens:
            clock.now += 0.2 if tokens else 0.01
        clock.now = came
        return tokens

    def settled_at(every: float) -> set[int]:
        return set([search(every) for _ in range(200)][100:])

    assert settled_at(every=1.0) == {800}
    assert settled_at(every=0.1) == {0}  # ten a second come, and five could be read for
    assert settled_at(every=0.5) == {800}


# --- the service ------------------------------------------------------------------------------


class Slow(Assistant):
    """The real assistant, but a search takes until it is told to end; `searched` are its queries."""

    def begin(self) -> "Slow":
        self.searched: list[str] = []
        self.go_on = threading.Event()
        return self

    def search(self, query: str, k: int, caller: Caller, **options: Any) -> SearchResult:
        self.searched.append(query)
        assert self.go_on.wait(20)
        return super().search(query, k, caller, **options)


@pytest.fixture
def slow(assistant: Assistant) -> Slow:
    return Slow(assistant.reader, assistant.models, assistant.freshness).begin()


@contextmanager
def service(slow: Slow, folder: Path, limits: Limits) -> Iterator[tuple[str, str]]:
    """The address of the service, and the key of a reader."""
    keys = KeyStore(folder / "keys.sqlite")
    app = create_app(
        Answering(slow, Gateway(GatewaySettings()), Admission(limits)),
        Jobs(lambda names, report: pytest.fail("nothing is ingested"), folder / "jobs.json"),
        Sources(slow.reader, {}),
        Authenticator(keys, None, anonymous({"public"})),
    )
    close, slow.close = slow.close, lambda: None  # type: ignore[method-assign]
    try:
        with served(app) as address:
            yield address, keys.create("reader", ["public"]).secret
    finally:
        slow.close = close  # type: ignore[method-assign]
        slow.go_on.set()


def until(happened: Callable[[], bool]) -> None:
    """Until something has happened, a while at most."""
    for _ in range(500):
        if happened():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_a_flood_is_told_to_come_again_and_health_is_still_told(slow: Slow, tmp_path: Path) -> None:
    limits = Limits(search_at_once=1, waiting=8, search_wait=20)
    with (
        service(slow, tmp_path, limits) as (address, key),
        httpx.Client(base_url=address, timeout=30) as client,
        ThreadPoolExecutor(30) as people,
    ):
        flood = [people.submit(client.get, "/search", params={"q": "backup"}) for _ in range(20)]
        until(lambda: sum(each.done() for each in flood) == 20 - 1 - 4)
        signed_in = people.submit(
            client.get,
            "/search",
            params={"q": "restore"},
            headers={"Authorization": f"Bearer {key}"},
        )
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
        slow.go_on.set()
        assert signed_in.result().status_code == 200
        statuses = Counter(each.result().status_code for each in flood)
        assert statuses == {200: 5, 503: 15}
        for response in (each.result() for each in flood):
            if response.status_code == 503:
                assert response.headers["content-type"] == "application/problem+json"
                assert int(response.headers["retry-after"]) >= 1
                assert response.json()["title"] == "Overloaded"
        assert slow.searched.index("restore") <= 2


def test_a_search_whose_client_left_is_never_begun(slow: Slow, tmp_path: Path) -> None:
    with (
        service(slow, tmp_path, Limits(search_at_once=1, search_wait=20)) as (address, _),
        httpx.Client(base_url=address, timeout=30) as client,
        ThreadPoolExecutor(2) as people,
    ):
        first = people.submit(client.get, "/search", params={"q": "first"})
        until(lambda: slow.searched == ["first"])
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{address}/search", params={"q": "gone"}, timeout=0.2)
        last = people.submit(client.get, "/search", params={"q": "last"})
        time.sleep(0.2)
        slow.go_on.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
        assert slow.searched == ["first", "last"]


def test_a_search_that_is_not_read_for_says_so(assistant: Assistant) -> None:
    answering = Answering(assistant, Gateway(GatewaySettings()))
    found: list[SearchResult] = []

    async def search() -> None:
        found.append(await answering.search("How are backups restored?", 5, anonymous({"public"})))

    async def crowd() -> None:
        await search()
        with answering._brownout.reading(), answering._brownout.reading():
            await search()

    anyio.run(crowd)
    whole, hasty = found
    assert whole.notice is None
    assert hasty.notice is not None
    assert "no passage was read" in hasty.notice
    assert len(hasty.hits) == 5

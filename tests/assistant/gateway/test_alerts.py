"""Alerts: a webhook on a real socket is told once of each threshold, and no call waits for it."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from assistant.gateway.alerts import Alerts
from assistant.gateway.ledger import Attempt, Ledger
from assistant.gateway.schema import Payer, Usage
from assistant.gateway.settings import Alerts as AlertSettings
from assistant.gateway.settings import Budget

SETTINGS = AlertSettings(url_env="HOOK", at=[0.5, 1.0])
CI = Payer("ci", "sre")


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


class Hook:
    """A webhook: what it was told, and how it answers."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 204
        self.may_answer = threading.Event()
        self.may_answer.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.paths.append(self.path)
                hook.may_answer.wait(10)
                if hook.status == 204:
                    assert self.headers["Content-Type"] == "application/json"
                    hook.told.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("Location", f"{hook.address}/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                hook.paths.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


class Service:
    """A ledger and its alerts, as the gateway has them; another one is a restart."""

    def __init__(self, path: Path, clock: Clock, address: str, *budgets: dict[str, Any]) -> None:
        found = [Budget.model_validate(budget) for budget in budgets]
        self.ledger = Ledger(path / "usage.sqlite", found, clock, SETTINGS.at)
        self.alerts = Alerts(SETTINGS, self.ledger, {"HOOK": address} if address else {})

    def call(self, times: int = 1, tokens: int = 10, cost: str = "0", payer: Payer = CI) -> None:
        for _ in range(times):
            attempt = Attempt("small", "completed", Usage(tokens, 0), Decimal(cost), None, 1.0)
            self.ledger.settle(self.ledger.reserve(payer, 0, Decimal(0)), [attempt])
            self.alerts.check()

    def told(self) -> None:
        self.alerts.close()


REQUESTS = {"per": "key", "requests": 4}


def test_the_webhook_is_told_at_each_threshold_once(tmp_path: Path, hook: Hook) -> None:
    service = Service(tmp_path, Clock(), hook.address + "/hook?secret=1", REQUESTS)
    service.call()
    service.told()
    assert hook.told == []
    service.call(3)
    service.told()
    same = {"budget": "requests", "per": "key", "name": "ci", "day": "2026-03-01", "limit": 4}
    assert hook.told == [same | {"used": 2, "at": 0.5}, same | {"used": 4, "at": 1.0}]
    assert set(hook.paths) == {"/hook?secret=1"}


def test_a_restart_tells_nothing_again_and_a_new_day_does(tmp_path: Path, hook: Hook) -> None:
    clock = Clock()
    first = Service(tmp_path, clock, hook.address, REQUESTS)
    first.call(2)
    first.told()
    second = Service(tmp_path, clock, hook.address, REQUESTS)
    second.call(1)
    second.told()
    assert len(hook.told) == 1
    clock.time += timedelta(days=1)
    second.call(2)
    second.told()
    assert [told["day"] for told in hook.told] == ["2026-03-01", "2026-03-02"]


def test_every_budget_and_measure_is_told_of(tmp_path: Path, hook: Hook) -> None:
    budgets = {"per": "team", "tokens": 100}, {"per": "all", "dollars": "0.3"}
    service = Service(tmp_path, Clock(), hook.address, *budgets)
    service.call(1, tokens=100)
    service.told()
    service.call(3, tokens=0, cost="0.1", payer=Payer("ada"))
    service.told()
    told = {(each["per"], each["name"], each["budget"], each["at"]): each for each in hook.told}
    assert set(told) == {
        ("team", "sre", "tokens", 0.5),
        ("team", "sre", "tokens", 1.0),
        ("all", "", "dollars", 0.5),
        ("all", "", "dollars", 1.0),
    }
    assert (
        told["all", "", "dollars", 1.0] | {"used": 0.3, "limit": 0.3}
        == (told["all", "", "dollars", 1.0])
    )


def test_what_could_not_be_delivered_is_delivered_later(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    service = Service(tmp_path, clock, hook.address + "/secret", REQUESTS)
    hook.status = 500
    service.call(2)
    service.told()
    service.call()
    service.told()
    assert len(hook.paths) == 1
    assert "the webhook of HOOK answered 500" in caplog.text
    assert "secret" not in caplog.text
    hook.status = 204
    clock.time += timedelta(minutes=1)
    service.alerts.check()
    service.told()
    assert [told["used"] for told in hook.told] == [2]


def test_another_process_delivers_what_one_left(tmp_path: Path, hook: Hook) -> None:
    clock = Clock()
    died = Service(tmp_path, clock, hook.address, REQUESTS)
    died.alerts.check = lambda: None  # type: ignore[method-assign]
    died.call(2)
    after = Service(tmp_path, clock, hook.address, REQUESTS)
    after.alerts.check()
    after.told()
    assert len(hook.told) == 1


def test_no_call_waits_for_the_webhook(tmp_path: Path, hook: Hook) -> None:
    hook.may_answer.clear()
    service = Service(tmp_path, Clock(), hook.address, {"per": "key", "requests": 4})
    began = time.monotonic()
    service.call(4)
    assert time.monotonic() - began < 2
    assert hook.told == []
    hook.may_answer.set()
    service.told()
    assert [told["at"] for told in hook.told] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "HOOK holds no http address"),
        ("file:///etc/passwd?secret", "HOOK holds no http address"),
        ("http://user:secret@127.0.0.1:1/", "or one with a password"),
        ("http://", "HOOK holds no http address"),
        ("http://127.0.0.1:secret/", "the webhook of HOOK: InvalidURL"),
        ("http://127.0.0.1:1/secret", "the webhook of HOOK: Connection refused"),
        ("http://[secret", "HOOK holds no http address"),
    ],
)
def test_an_address_that_leads_nowhere_fails_no_call_and_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, address: str, reason: str
) -> None:
    service = Service(tmp_path, Clock(), address, REQUESTS)
    service.call(4)
    service.told()
    assert reason in caplog.text
    assert "secret" not in caplog.text


def test_a_redirect_is_not_followed(tmp_path: Path, hook: Hook) -> None:
    service = Service(tmp_path, Clock(), hook.address + "/hook", REQUESTS)
    hook.status = 302
    service.call(2)
    service.told()
    assert hook.paths == ["/hook"]


def test_no_thread_is_left(tmp_path: Path, hook: Hook) -> None:
    service = Service(tmp_path, Clock(), hook.address, REQUESTS)
    service.call(4)
    service.told()
    assert not any(thread.name == "alerts" for thread in threading.enumerate())


def test_two_processes_tell_once(tmp_path: Path, hook: Hook) -> None:
    clock = Clock()
    both = [Service(tmp_path, clock, hook.address, REQUESTS) for _ in range(2)]
    hook.may_answer.clear()
    both[0].call(2)
    while not hook.paths:
        time.sleep(0.005)
    both[1].call(1)
    both[1].told()
    hook.may_answer.set()
    both[0].told()
    assert len(hook.told) == len(hook.paths) == 1

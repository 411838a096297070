"""The fake provider itself: that it does what its names say, seen by a plain client."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.assistant.gateway.behaviours import BADLY, WELL
from tests.assistant.gateway.misbehaving import UNREACHABLE, Misbehaving

CLIENT = httpx.Client()
"""One for all: making one reads all certificates of this machine."""

NO_ANSWER = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
"""What reading an answer ends in where there is none."""

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    with Misbehaving() as server:
        yield server


def post(address: str, stream: bool = True, timeout: float = 0.05) -> tuple[int, str]:
    """Status and body, or as much of it as comes in time."""
    body: dict[str, Any] = BODY | {"stream": stream, "stream_options": {"include_usage": True}}
    key = {"Authorization": "Bearer s3cret"}
    until, data = time.monotonic() + timeout, b""
    url = f"{address}/chat/completions"
    with CLIENT.stream("POST", url, json=body, headers=key, timeout=timeout) as response:
        for piece in response.iter_raw():
            data += piece
            if time.monotonic() > until:
                break
    return response.status_code, data.decode("utf-8", "replace")


def text_of(body: str, stream: bool) -> str:
    if not stream:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    events = [line[6:] for line in body.split("\n") if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content", "") for choice in choices)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", [each.__name__ for each in WELL])
def test_behaving_well_is_a_whole_answer(server: Misbehaving, name: str, stream: bool) -> None:
    for seed in range(5):
        _, body = post(server.address_of(name, seed, f"{name}-{seed}-{stream}"), stream, 5)
        (exchange,) = server.seen(f"{name}-{seed}-{stream}")
        assert text_of(body, stream) == exchange.answer == exchange.said
        assert exchange.whole
        assert exchange.authorization == "Bearer s3cret"
        assert (exchange.usage is None) == (name == "plain")
        assert exchange.usage is None or json.dumps(exchange.usage) in body


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", [*(each.__name__ for each in BADLY), *UNREACHABLE])
def test_behaving_badly_is_none(server: Misbehaving, name: str, stream: bool) -> None:
    for seed in range(3):
        provider = f"{name}-{seed}-{stream}"
        try:
            status, body = post(server.address_of(name, seed, provider), stream)
            text = text_of(body, stream)
        except (httpx.HTTPError, *NO_ANSWER):
            continue
        complete = server.seen(provider)[0].whole or name in ("empty_choices", "wrong_json")
        assert complete or len(text) > 1_000_000 or status != 200


def test_a_seed_repeats_what_was_done(server: Misbehaving) -> None:
    answers = {}
    for seed in (1, 2):
        for _ in range(2):
            with Misbehaving("reset", seed) as other, suppress(httpx.HTTPError):
                post(other.address)
            answers.setdefault(seed, []).append(other.exchanges[0].said)
    assert answers[1][0] == answers[1][1] != answers[2][0]


def test_answers_may_follow_the_request_and_behaviour_may_change() -> None:
    with Misbehaving(answers=lambda body: body["messages"][-1]["content"].upper()) as server:
        assert text_of(post(server.address, timeout=5)[1], True) == "HELLO"
        server.behaviour = "error_500"
        assert post(server.address, timeout=5)[0] >= 500


def test_connections_are_kept_where_all_is_well_and_nothing_stays_open() -> None:
    with Misbehaving("instant") as server:
        with httpx.Client() as client:
            for _ in range(3):
                client.post(f"{server.address}/chat/completions", json=BODY).raise_for_status()
        assert server.connections["http"] == 1
        port = int(server.address.split("/")[2].split(":")[1])
    assert server.open == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

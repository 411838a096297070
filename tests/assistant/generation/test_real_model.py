"""A real model over its HTTP interface, through the gateway: llama.cpp with gemma3-270m."""

from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from openai import OpenAI

from assistant.gateway.gateway import Gateway
from assistant.gateway.schema import Call, Completed, Delta, Event, Message, Payer
from assistant.gateway.settings import GatewaySettings, ModelEntry, Timeouts
from assistant.generation.prompt import pack, tokens_of
from tests.assistant.generation.llama import llama
from tests.assistant.generation.making import passage

pytestmark = pytest.mark.slow

NAME = "gemma3-270m"
PUBLIC = frozenset({"public"})
COUNTING = (Message("user", "Go on, with one number a line:\n1\n2\n3\n4\n5\n6"),)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with llama() as address:
        yield address


def settings(address: str, folder: Path, *, stream: bool = True) -> GatewaySettings:
    model = {"name": NAME, "model": NAME, "address": address, "context": 4096, "max_output": 24}
    price = {"input": 1, "output": 2}
    return GatewaySettings(
        models=[ModelEntry.model_validate({**model, "stream": stream, "price": price})],
        # A busy machine may read no more than a few tokens a second.
        timeouts=Timeouts(connect=5, first_token=120, between_tokens=60, total=240),
        ledger=folder / "usage.sqlite",
    )


def call(messages: tuple[Message, ...]) -> Call:
    return Call(
        messages=messages,
        tokens=tokens_of(messages),
        max_output_tokens=24,
        payer=Payer("ann", "platform"),
        labels=PUBLIC,
        audience=PUBLIC,
        index_state="state",
    )


def asked(settings: GatewaySettings, *calls: Call) -> list[list[Event]]:
    """The events of each call, one after the other, through one gateway."""

    async def run() -> list[list[Event]]:
        gateway = Gateway(settings)
        try:
            told = []
            for each in calls:
                async with aclosing(gateway.stream(each)) as events:
                    told.append([event async for event in events])
            return told
        finally:
            await gateway.close()

    return anyio.run(run)


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def completed(events: list[Event]) -> Completed:
    last = events[-1]
    assert isinstance(last, Completed)
    return last


def test_it_answers_plain(address: str, tmp_path: Path) -> None:
    (events,) = asked(settings(address, tmp_path, stream=False), call(COUNTING))
    assert len([event for event in events if isinstance(event, Delta)]) == 1
    assert text(events).split()[:3] == ["7", "8", "9"]


def test_it_answers_streamed_with_the_same_words(address: str, tmp_path: Path) -> None:
    (streamed,) = asked(settings(address, tmp_path), call(COUNTING))
    (plain,) = asked(settings(address, tmp_path, stream=False), call(COUNTING))
    assert len([event for event in streamed if isinstance(event, Delta)]) > 5
    assert text(streamed).strip() == text(plain).strip()


@pytest.mark.parametrize("stream", [True, False])
def test_usage_is_the_servers_own_and_priced(address: str, tmp_path: Path, stream: bool) -> None:
    (events,) = asked(settings(address, tmp_path, stream=stream), call(COUNTING))
    end = completed(events)
    assert not end.estimated
    assert end.model == NAME
    assert end.attempts == 1
    assert end.usage.input == tokens_by_server(address, COUNTING)
    assert 0 < end.usage.output <= 24
    dollars = (end.usage.input + 2 * end.usage.output) * Decimal("1e-6")
    assert end.cost == dollars


def test_an_answer_at_the_limit_of_tokens_is_truncated(address: str, tmp_path: Path) -> None:
    (events,) = asked(settings(address, tmp_path), call(COUNTING))
    assert completed(events).truncated


def test_the_prompt_makes_it_quote_with_a_citation(address: str, tmp_path: Path) -> None:
    said = "East-west traffic becomes governed, observable, and easier to reason about."
    found = [passage(said), passage("A mesh policy is reviewed by two people.", "b", row=1)]
    packed = pack("How does east-west traffic look now?", [], found, 2000)
    (events,) = asked(settings(address, tmp_path), call(packed.messages))
    assert text(events).strip().startswith("East-west traffic")
    assert "[1]" in text(events)


def tokens_by_server(address: str, messages: tuple[Message, ...]) -> int:
    """What the official client is told that these messages take."""
    with OpenAI(base_url=address, api_key="none") as client:
        told = client.chat.completions.create(
            model=NAME,
            messages=[{"role": "user", "content": each.text} for each in messages],
            max_tokens=1,
        )
    assert told.usage is not None
    return told.usage.prompt_tokens

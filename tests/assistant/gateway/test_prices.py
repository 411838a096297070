"""Prices: the settings', else the public list's, else none."""

import socket
from decimal import Decimal
from typing import Any

import pytest

from assistant.gateway.prices import cost, price_of
from assistant.gateway.schema import Usage
from assistant.gateway.settings import ModelEntry, Price


def entry(model: str, **changes: Any) -> ModelEntry:
    return ModelEntry.model_validate({"name": "small", "model": model, **changes})


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a price was asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_price_of_the_settings_counts_first() -> None:
    price = Price(input=Decimal(1), output=Decimal(2))
    assert price_of(entry("gpt-4o-mini", price=price)) == price


def test_a_known_model_has_the_price_of_the_public_list() -> None:
    price = price_of(entry("gpt-4o-mini"))
    assert price is not None
    assert price == price_of(entry("gpt-4o-mini", address="https://api.openai.com/v1"))
    assert 0 < (price.cached or 0) < price.input < price.output
    assert price_of(entry("claude-sonnet-4-5", provider="anthropic")) is not None


@pytest.mark.parametrize(
    "unknown",
    [
        {"model": "gemma3-270m"},
        {"model": "gpt-4o-mini", "address": "http://127.0.0.1:8080/v1"},
        {"model": "gpt-4o-mini", "address": "https://llm.acme.example/v1"},
        {"model": "sonar", "address": "https://api.perplexity.ai"},  # also costs by the request
    ],
)
def test_what_is_not_known_has_no_price(unknown: dict[str, str]) -> None:
    assert price_of(entry(**unknown)) is None


def test_where_long_prompts_cost_more_the_longest_allowed_one_sets_the_price() -> None:
    prices = [
        price_of(entry("claude-sonnet-4-5", provider="anthropic", context=context))
        for context in (8192, 200_000, 1_000_000)
    ]
    short, at_the_edge, long = prices
    assert short == at_the_edge
    assert short is not None
    assert long is not None
    assert (short.input, short.output) < (long.input, long.output)


def test_cached_tokens_are_among_the_input_and_have_their_own_price() -> None:
    price = Price(input=Decimal(10), output=Decimal(30), cached=Decimal(1))
    assert cost(price, Usage(1000, 100, 400)) == Decimal("0.0094")
    without = Price(input=Decimal(10), output=Decimal(30))
    assert cost(without, Usage(1000, 100, 400)) == Decimal("0.013")
    free = Price(input=Decimal(10), output=Decimal(30), cached=Decimal(0))
    assert cost(free, Usage(1000, 100, 400)) == Decimal("0.009")


def test_more_cached_than_sent_never_makes_a_call_cheaper_than_free() -> None:
    price = Price(input=Decimal(10), output=Decimal(30), cached=Decimal(1))
    assert cost(price, Usage(10, 0, 10**9)) == Decimal("0.00001")


def test_a_cost_is_rounded_up_to_a_nano_dollar() -> None:
    price = Price(input=Decimal("0.0375"), output=Decimal(1))
    assert cost(price, Usage(1, 0)) == Decimal("0.000000038")
    assert cost(price, Usage(2, 0)) == Decimal("0.000000075")

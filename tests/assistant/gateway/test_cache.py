"""The cache: the same call gets the same answer, and any difference is another call."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from assistant.gateway.cache import Cache, key_of
from assistant.gateway.schema import Call, Completed, Message, Payer, Usage
from assistant.gateway.settings import ModelEntry

MODEL = ModelEntry.model_validate(
    {"name": "small", "model": "gemma", "address": "http://127.0.0.1/v1"}
)
CALL = Call(
    messages=(Message("system", "Be brief."), Message("user", "Why?")),
    tokens=10,
    max_output_tokens=100,
    payer=Payer("ada", "sre"),
    labels=frozenset({"sre"}),
    audience=frozenset({"sre", "public"}),
    index_state="one",
)
DONE = Completed("small", Usage(10, 5, 2), Decimal("0.1"), attempts=2, truncated=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": (Message("system", "Be brief."), Message("user", "Why not?"))},
        {"messages": (Message("system", "Be brief."), Message("assistant", "Why?"))},
        {"messages": (Message("user", "Why?"), Message("system", "Be brief."))},
        {"messages": (Message("system", "Be brief.Why?"), Message("user", ""))},
        {"max_output_tokens": 101},
        {"audience": frozenset({"sre"})},
        {"audience": frozenset({"sre", "public", "hr"})},
        {"audience": frozenset({"public,sre"})},
        {"audience": frozenset()},
        {"index_state": "two"},
    ],
)
def test_any_difference_is_another_call(changes: dict[str, Any]) -> None:
    assert key_of(replace(CALL, **changes), MODEL) != key_of(CALL, MODEL)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "large"},
        {"model": "gemma2"},
        {"address": "http://127.0.0.2/v1"},
        {"address": None},
        {"provider": "anthropic"},
    ],
)
def test_another_model_gives_another_answer(changes: dict[str, Any]) -> None:
    other = ModelEntry.model_validate(MODEL.model_dump() | changes)
    assert key_of(CALL, other) != key_of(CALL, MODEL)


def test_callers_who_may_read_the_same_share_answers() -> None:
    same = replace(CALL, payer=Payer("bob"), audience=frozenset({"public", "sre"}))
    assert key_of(same, MODEL) == key_of(CALL, MODEL)


def test_a_kept_answer_cost_nothing_this_time() -> None:
    cache = Cache(2)
    cache.put("a", "Because.", DONE)
    assert cache.get("a") == (
        "Because.",
        Completed("small", Usage(0, 0), Decimal(0), attempts=0, from_cache=True, truncated=True),
    )
    assert cache.get("b") is None


def test_the_answer_not_used_for_longest_makes_room() -> None:
    cache = Cache(2)
    for key in "ab":
        cache.put(key, key, DONE)
    assert cache.get("a")
    cache.put("c", "c", DONE)
    assert [bool(cache.get(key)) for key in "abc"] == [True, False, True]
    cache.put("a", "new", DONE)
    cache.put("d", "d", DONE)
    assert [bool(cache.get(key)) for key in "acd"] == [True, False, True]
    assert (cache.get("a") or ("",))[0] == "new"


def test_a_cache_of_none_keeps_none() -> None:
    cache = Cache(0)
    cache.put("a", "a", DONE)
    assert cache.get("a") is None

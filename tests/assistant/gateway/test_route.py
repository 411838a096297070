"""Which models a call goes to."""

from typing import Any

import pytest

from assistant.gateway.errors import NoRoute
from assistant.gateway.route import Router
from assistant.gateway.schema import UNLABELLED, Call, Message, Payer
from assistant.gateway.settings import GatewaySettings, ModelEntry, Rule


def router(*rules: dict[str, Any], models: str = "cloud local big") -> Router:
    context = {"big": 100_000}
    entries = [
        ModelEntry(name=name, model=name, context=context.get(name, 4000), max_output=400)
        for name in models.split()
    ]
    return Router(GatewaySettings(models=entries, rules=[Rule(**rule) for rule in rules]))


def names(router: Router, *labels: str, tokens: int = 1000, output: int = 400) -> list[str]:
    call = Call(
        messages=(Message("user", "?"),),
        tokens=tokens,
        max_output_tokens=output,
        payer=Payer("a"),
        labels=frozenset(labels),
        audience=frozenset(labels),
        index_state="s",
    )
    return [model.name for model in router.route(call)]


LOCAL_ONLY = {"labels": ["restricted"], "models": ["local"]}


def test_without_rules_models_are_asked_in_their_order() -> None:
    assert names(router(), "public") == ["cloud", "local", "big"]


def test_restricted_passages_go_to_the_local_model_only() -> None:
    assert names(router(LOCAL_ONLY), "public", "restricted") == ["local"]
    assert names(router(LOCAL_ONLY), "public") == ["cloud", "local", "big"]


def test_of_several_rules_all_must_allow_a_model_and_the_first_orders() -> None:
    rules = {"models": ["big", "local", "cloud"]}, {"labels": ["sre"], "models": ["cloud", "big"]}
    assert names(router(*rules), "sre") == ["big", "cloud"]
    assert names(router(*rules), "hr") == ["big", "local", "cloud"]


def test_rules_that_allow_no_model_together_leave_no_route() -> None:
    rules = LOCAL_ONLY, {"labels": ["secret"], "models": ["big"]}
    with pytest.raises(NoRoute, match="may see"):
        names(router(*rules), "restricted", "secret")
    with pytest.raises(NoRoute, match="may see"):
        names(router({"labels": ["secret"], "models": []}), "secret")


def test_rules_go_by_length() -> None:
    rules = {"max_tokens": 500, "models": ["local"]}, {"min_tokens": 501, "models": ["big"]}
    assert names(router(*rules), tokens=500) == ["local"]
    assert names(router(*rules), tokens=501) == ["big"]


def test_models_too_small_for_prompt_and_answer_are_passed_over() -> None:
    assert names(router(), tokens=3600) == ["cloud", "local", "big"]
    assert names(router(), tokens=3601) == ["big"]
    assert names(router(), tokens=3601, output=399) == ["cloud", "local", "big"]
    assert names(router(), tokens=3600, output=9999) == ["cloud", "local", "big"]
    with pytest.raises(NoRoute, match="so long"):
        names(router(models="cloud local"), tokens=3601)


def test_a_small_model_is_no_way_around_a_rule() -> None:
    with pytest.raises(NoRoute, match="so long"):
        names(router(LOCAL_ONLY), "restricted", tokens=5000)


def test_room_is_that_of_the_first_model_the_labels_allow() -> None:
    assert router().room(frozenset()) == 3600
    assert router({"labels": ["long"], "models": ["big"]}).room(frozenset({"long"})) == 99_600
    assert router({"labels": ["none"], "models": []}).room(frozenset({"none"})) == 0
    assert router(models="").room(frozenset()) == 0


@pytest.mark.parametrize(
    "rules",
    [
        ({"max_tokens": 2000, "models": ["local"]}, {"min_tokens": 2001, "models": []}),
        ({"max_tokens": 2000, "models": ["local"]}, {"min_tokens": 2001, "models": ["big"]}),
        ({"min_tokens": 1500, "models": []},),
    ],
)
def test_a_prompt_that_fills_the_room_has_a_route(rules: tuple[dict[str, Any], ...]) -> None:
    room = router(*rules).room(frozenset())
    assert room >= 1499
    assert names(router(*rules), tokens=room)


def test_a_document_without_labels_goes_where_every_rule_of_labels_lets_it() -> None:
    both = {"labels": ["public"], "models": ["cloud", "local"]}
    assert names(router(both, LOCAL_ONLY), UNLABELLED) == ["local"]
    assert names(router(both, LOCAL_ONLY), "public") == ["cloud", "local"]

"""Answers in a model's words: checked sentence by sentence, or the sources' own in their place."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller, anonymous
from assistant.answering import Answering
from assistant.api import create_app
from assistant.assistant import Assistant
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.gateway.errors import TooManyRequests
from assistant.gateway.gateway import Gateway
from assistant.gateway.settings import GatewaySettings
from assistant.jobs import Jobs
from assistant.schema import Answer, AskRequest, Turn
from assistant.sources import Sources
from tests.assistant.gateway.misbehaving import Misbehaving
from tests.conftest import PUBLIC, READER, World

QUESTION = "What coordinates backup and restore actions?"
TRUE = "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]."
UNASKED = "How long do I bake sourdough bread?"


def asking(
    assistant: Assistant,
    provider: Misbehaving,
    folder: Path,
    question: str = QUESTION,
    caller: Caller = READER,
    turns: tuple[Turn, ...] = (),
    **settings: Any,
) -> list[AnswerEvent]:
    """The events of one answer from one provider."""

    async def run() -> list[AnswerEvent]:
        gateway = Gateway(settings_of(provider, folder, **settings))
        answering = Answering(assistant, gateway)
        request = AskRequest(question=question, explain=True, conversation=list(turns))
        async with aclosing(answering.stream(request, caller)) as events:
            found = [event async for event in events]
        await gateway.close()
        return found

    return asyncio.run(run())


def settings_of(provider: Misbehaving, folder: Path, **settings: Any) -> GatewaySettings:
    model = {"name": "fake", "model": "fake", "address": provider.address}
    return GatewaySettings.model_validate(
        {"models": [model], "ledger": folder / "usage.sqlite", **settings}
    )


def saying(text: str) -> Callable[[dict[str, Any]], str]:
    return lambda body: text


def final(events: list[AnswerEvent]) -> Answer:
    assert isinstance(events[-1], Final)
    return events[-1].answer


@pytest.fixture
def provider() -> Iterator[Misbehaving]:
    with Misbehaving("usage", answers=saying(TRUE)) as provider:
        yield provider


def test_a_supported_sentence_is_given_with_an_exact_citation(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    events = asking(assistant, provider, tmp_path)
    answer = final(events)
    assert (answer.status, answer.mode, answer.model) == ("answered", "generated", "fake")
    (sentence,) = answer.sentences
    assert sentence.text == TRUE.replace(" [1]", "")
    assert sentence.mode == "generated"
    citation = answer.citations[sentence.citations[0] - 1]
    document = assistant.document(citation.document_id, READER)
    assert document.text[citation.start : citation.end] == citation.quote
    assert "Kanister blueprints coordinate backup actions" in citation.quote
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.trace is not None
    assert answer.trace.generation is not None
    assert [each.kept for each in answer.trace.generation.sentences] == [True]
    assert [type(event) for event in events] == [Citations, Citations, Said, Final]


def test_an_invented_sentence_is_left_out_and_counted(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.answers = saying(f"{TRUE} Kanister was founded in Paris in 1987 [1].")
    answer = final(asking(assistant, provider, tmp_path))
    assert "1987" not in answer.answer
    assert answer.mode == "generated"
    assert answer.notice == ("1 sentence of the model was left out: the sources do not support it.")


def test_a_number_that_the_passage_does_not_say_is_no_answer(world: World, tmp_path: Path) -> None:
    world.write(
        "budget.md", "# Error budget\n\nThe error budget of the gateway is 30 minutes a month.\n"
    )
    world.ingest()
    with Misbehaving(
        "usage", answers=saying("The error budget of the gateway is 13 minutes a month [1].")
    ) as provider:
        answer = final(
            asking(
                world.assistant(), provider, tmp_path, "What is the error budget of the gateway?"
            )
        )
    assert answer.mode == "extractive"
    assert "30 minutes" in answer.answer
    assert "do not support" in (answer.notice or "")


def test_a_model_that_invents_all_gives_way_to_the_sources(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.answers = saying("Velero was written by Ada Lovelace [1]. It runs on the moon [2].")
    answer = final(asking(assistant, provider, tmp_path))
    assert answer.mode == "extractive"
    assert answer.sentences == assistant.ask(AskRequest(question=QUESTION), READER).sentences
    assert answer.notice == (
        "Of 2 sentences that the model wrote, the sources do not support 2: "
        "these are the sources' own sentences instead."
    )


def test_a_model_that_finds_nothing_gives_way_to_the_sources(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.answers = saying("The passages do not say.")
    answer = final(asking(assistant, provider, tmp_path))
    assert answer.mode == "extractive"
    assert "found no answer in these passages" in (answer.notice or "")


def test_the_model_is_not_asked_what_the_sources_are_silent_on(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    answer = final(asking(assistant, provider, tmp_path, UNASKED))
    assert answer.status == "abstained"
    assert not provider.exchanges


def test_without_a_model_that_answers_the_sources_speak(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.behaviour = "refused"
    answer = final(asking(assistant, provider, tmp_path))
    assert (answer.status, answer.mode) == ("answered", "extractive")
    assert answer.notice is not None
    assert answer.trace is not None
    assert answer.trace.generation is not None
    assert answer.trace.generation.attempts


def test_an_answer_that_breaks_off_is_partial_and_the_sources_follow(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    said = f"{TRUE} " + "Operators hand over the workloads of Kubernetes to each other. " * 20
    provider.behaviour, provider.answers = "reset", saying(said)
    answers = [
        final(asking(assistant, Seeded(provider, seed), tmp_path))
        for seed in range(12)  # type: ignore[arg-type]
    ]
    partial = [answer for answer in answers if answer.status == "partial"]
    assert partial
    for answer in partial:
        modes = [sentence.mode for sentence in answer.sentences]
        assert modes == sorted(modes, reverse=True), "none of the model's after the sources' own"
        assert modes[0] == "generated"
        assert modes[-1] == "extractive"
        assert answer.model == "fake"
        assert [each.n for each in answer.citations] == list(range(1, len(answer.citations) + 1))
    assert all(answer.mode == "extractive" for answer in answers if answer.status != "partial")


class Seeded:
    """One address of a provider, where the seed chooses when it breaks."""

    def __init__(self, provider: Misbehaving, seed: int) -> None:
        self.address = provider.address_of(provider.behaviour, seed)


def test_over_budget_means_the_sources_and_a_notice(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    budgets = [{"per": "all", "requests": 1}]
    first = final(asking(assistant, provider, tmp_path, budgets=budgets))
    second = final(asking(assistant, provider, tmp_path, budgets=budgets, cache=0))
    assert (first.mode, second.mode) == ("generated", "extractive")
    assert "budget" in (second.notice or "")
    assert len(provider.exchanges) == 1


def test_money_is_counted(assistant: Assistant, provider: Misbehaving, tmp_path: Path) -> None:
    model = {
        "name": "dear",
        "model": "fake",
        "address": provider.address,
        "price": {"input": 1_000_000, "output": 0},
    }
    answer = final(asking(assistant, provider, tmp_path, models=[model]))
    assert answer.usage is not None
    assert answer.usage.cost is not None
    assert Decimal(answer.usage.cost) == answer.usage.input_tokens


def test_restricted_passages_go_to_the_local_model_alone(world: World, tmp_path: Path) -> None:
    world.write("open.md", "# Drill\n\nThe restore drill runs every quarter.\n")
    world.write(
        "closed.md", "---\naccess: [board]\n---\n# Payroll\n\nThe payroll restore is run by Dana.\n"
    )
    world.ingest()
    caller = anonymous(PUBLIC | {"board"})
    with Misbehaving("usage", answers=saying("Dana runs the payroll restore [1].")) as server:
        models = [
            {"name": name, "model": "m", "address": server.address_of("usage", 0, name)}
            for name in ("cloud", "local")
        ]
        rules = [{"labels": ["board"], "models": ["local"]}]
        settings = {"models": models, "rules": rules}
        earlier = Turn(question="Who runs payroll?", answer="Dana, says the board [1].")
        final(
            asking(
                world.assistant(),
                server,
                tmp_path,
                "Who runs the payroll restore?",
                caller,
                **settings,
            )
        )
        open_only = anonymous(PUBLIC)
        final(
            asking(
                world.assistant(),
                server,
                tmp_path,
                "How often does the restore drill run?",
                open_only,
                (earlier,),
                **settings,
            )
        )
        assert len(server.seen("local")) == 1
        (cloud,) = server.seen("cloud")
    assert "Dana" not in str(cloud.body)


def test_a_caller_who_asks_too_fast_is_told_when_to_come_back(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    async def run() -> None:
        gateway = Gateway(settings_of(provider, tmp_path, limits={"requests_per_minute": 1}))
        answering = Answering(assistant, gateway)
        await answering.answer(AskRequest(question=QUESTION), READER)
        with pytest.raises(TooManyRequests) as refused:
            await answering.answer(AskRequest(question=QUESTION), READER)
        assert 0 < int(refused.value.headers["Retry-After"]) <= 60
        await gateway.close()

    asyncio.run(run())


def test_both_sides_of_a_disagreement_are_cited(world: World, tmp_path: Path) -> None:
    for name, date, hours in (("old", "2024-01-01", 24), ("new", "2026-01-01", 48)):
        world.write(
            f"{name}.md",
            f"---\nupdated: {date}\n---\n# Retention {name}\n\nThe audit log is kept for {hours} hours.\n",
        )
    world.ingest()
    said = "The audit log is kept for 48 hours [1] [2]."
    with Misbehaving("usage", answers=saying(said)) as provider:
        answer = final(
            asking(world.assistant(), provider, tmp_path, "How long is the audit log kept?")
        )
    assert answer.mode == "generated"
    assert "disagree" in (answer.notice or "")
    quotes = {citation.quote for citation in answer.citations}
    assert quotes == {f"The audit log is kept for {hours} hours." for hours in (24, 48)}


def test_an_unexpected_failure_of_the_check_is_told_to_whoever_waits(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("assistant.generation.verify.Verifier.check", broken)
    answering = Answering(assistant, Gateway(settings_of(provider, tmp_path)))
    app = create_app(
        answering,
        Jobs(lambda names, report: pytest.fail("no ingestion"), tmp_path / "jobs.json"),
        Sources(assistant.reader, {}),
        Authenticator(None, None, READER),
    )
    # Not entered: that would close the assistant of the whole session.
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    streamed = client.post(
        "/ask", json={"question": QUESTION}, headers={"Accept": "text/event-stream"}
    )
    assert "event: error" in streamed.text
    assert "ZeroDivision" not in streamed.text
    whole = client.post("/ask", json={"question": QUESTION})
    assert whole.status_code == 500
    assert whole.headers["content-type"] == "application/problem+json"


def test_a_sentence_that_was_cut_off_is_not_shown(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.answers = saying(f"{TRUE} " + "Nothing of this kind is said. " * 200)
    answer = final(asking(assistant, provider, tmp_path))
    assert answer.mode == "generated"
    assert "cut at its limit of length" in (answer.notice or "")
    assert answer.trace is not None
    assert answer.trace.generation is not None
    assert all(each.text.endswith(".") for each in answer.trace.generation.sentences)


def test_what_a_model_says_twice_is_given_once(
    assistant: Assistant, provider: Misbehaving, tmp_path: Path
) -> None:
    provider.answers = saying(f"{TRUE} {TRUE}")
    answer = final(asking(assistant, provider, tmp_path))
    assert [sentence.text for sentence in answer.sentences] == [TRUE.replace(" [1]", "")]
    assert answer.notice is None

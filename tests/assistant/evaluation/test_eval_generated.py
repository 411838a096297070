"""Answers in a model's words, as `casebook eval` measures them."""

from pathlib import Path

import pytest

from assistant.assistant import Assistant
from assistant.evaluation.compare import Comparison
from assistant.evaluation.figures import evaluate
from assistant.evaluation.generated import Judged, in_a_models_words, judge, supports
from assistant.evaluation.gold import GoldQuestion, GoldSpan
from assistant.evaluation.result import record
from assistant.evaluation.run import Outcome
from assistant.evaluation.wording import lines
from assistant.gateway.settings import GatewaySettings
from assistant.schema import (
    Answer,
    AnswerSentence,
    AskRequest,
    TraceGeneration,
    TracePassage,
    TraceSentence,
)
from index.errors import InvalidInput
from tests.assistant.evaluation.making import answer, citation, outcome, run
from tests.assistant.gateway.misbehaving import Misbehaving

BACKUPS = "Backups of the ledger are kept for 90 days in another region."
DRILL = "The restore drill runs every quarter."
TEXTS = {"backup": BACKUPS, "drill": DRILL}
ANSWERABLE = GoldQuestion("q", "How long?", True, {"backup": 1}, (GoldSpan("backup", 0, 9),))


def passage(document: str, start: int, end: int) -> str:
    return TEXTS[document][start:end]


def written(
    *shown: tuple[str, list[int]], removed: tuple[str, ...] = (), mode: str = "generated"
) -> Answer:
    """An answer whose citation 1 is the backups and 2 the drill, both given to the model whole."""
    cited = [
        citation(document, 0, len(text), text).model_copy(update={"n": n})
        for n, (document, text) in enumerate(TEXTS.items(), 1)
    ]
    sentences = [
        AnswerSentence.model_validate({"text": text, "citations": numbers, "mode": mode})
        for text, numbers in shown
    ]
    told = [(text, True) for text, _ in shown] if mode == "generated" else []
    told += [(text, False) for text in removed]
    generation = TraceGeneration(
        prompt_version="1",
        prompt_sha256="",
        prompt_tokens=1,
        passages=[
            TracePassage(document_id=key, start=0, end=len(text)) for key, text in TEXTS.items()
        ],
        model="fake",
        outcome="completed",
        attempts=[],
        sentences=[
            TraceSentence(text=text, kept=kept, reason=None, probability=1.0, citations=[])
            for text, kept in told
        ],
        times_ms={"total": 100.0},
    )
    made = answer(shown[0][0] if shown else "", *cited)
    assert made.trace
    trace = made.trace.model_copy(update={"generation": generation})
    return made.model_copy(
        update={"trace": trace, "sentences": sentences, "mode": mode, "model": "fake"}
    )


def judged(given: Answer) -> Judged:
    found = judge(given, passage)
    assert found
    return found


def asked(given: Answer, question: GoldQuestion = ANSWERABLE) -> Outcome:
    made = outcome(question, given)
    return Outcome(**{**vars(made), "judged": judge(given, passage)})


@pytest.mark.parametrize(
    ("sentence", "supported"),
    [
        (BACKUPS, True),
        ("Backups of the ledger: kept for 90 days, in another region!", True),
        ("Another ledger of the region is kept in backups for 90 days.", False),
        ("Backups of the ledger are not kept for 90 days in another region.", False),
        ("Backups of the ledger are kept for 30 days in another region.", False),
        ("Backups of the ledger are encrypted by Vault with rotating keys.", False),
        ("It is.", False),
    ],
)
def test_a_sentence_is_supported_by_its_words_and_every_number(
    sentence: str, supported: bool
) -> None:
    assert supports(BACKUPS, sentence) is supported


def test_sentences_are_judged_before_and_after_the_check() -> None:
    found = judged(
        written((DRILL, [2]), ("The moon is green.", [1]), removed=(BACKUPS, "Vault rotates keys."))
    )
    assert found.written == (True, False, True, False)
    assert found.removed == 2
    assert found.shown == (True, False)


def test_a_sentence_is_recalled_only_if_its_own_quotes_hold_it() -> None:
    found = judged(written((DRILL, [2]), (DRILL, [1])))
    assert found.shown == (True, True)
    assert found.cited == (True, False)


def test_a_citation_is_of_use_if_it_supports_alone_or_is_missed_by_the_others() -> None:
    both = "The restore drill runs every quarter and backups of the ledger are kept for 90 days."
    found = judged(written((BACKUPS, [1, 2]), (both, [1, 2]), (DRILL, [1])))
    assert found.citations == (True, False, True, True, False)


def test_the_sources_own_sentences_are_not_judged_as_a_models() -> None:
    found = judged(written((DRILL, [2]), removed=("Vault rotates keys.",), mode="extractive"))
    assert found.written == (False,)
    assert (found.shown, found.cited, found.citations) == ((), (), ())


def test_an_answer_that_no_model_was_asked_for_is_not_judged() -> None:
    assert judge(answer("Text.", citation()), passage) is None


def test_figures_are_shares_of_all_sentences() -> None:
    one = asked(written((DRILL, [2]), (BACKUPS, [1]), removed=("Vault rotates keys.",)))
    two = asked(written((DRILL, [1])))
    fell_back = asked(written((DRILL, [2]), removed=("Keys rotate.",) * 2, mode="extractive"))
    figures = evaluate(run(one, two, fell_back)).figures
    assert figures["generated"].value == pytest.approx(2 / 3)
    assert figures["fell_back"].value == pytest.approx(1 / 3)
    assert figures["unsupported_written"].value == pytest.approx(3 / 6)
    assert figures["removed"].value == pytest.approx(3 / 6)
    assert figures["unsupported_shown"].value == 0
    assert figures["citation_recall"].value == pytest.approx(2 / 3)
    assert figures["citation_precision"].value == pytest.approx(2 / 3)
    assert figures["answer_span_hit_generated"].value == 1
    assert figures["unsupported_written"].low <= 0.5 <= figures["unsupported_written"].high


def test_without_a_model_nothing_is_said_of_one() -> None:
    evaluation = evaluate(run(outcome(ANSWERABLE, answer("Text.", citation("backup")))))
    assert "Answers in a model's words" not in lines(evaluation)
    assert not any(stage.startswith("model") for stage in evaluation.latency)


def test_with_a_model_its_figures_times_and_name_are_told() -> None:
    evaluation = evaluate(run(asked(written((DRILL, [2])))))
    told = {line.measure.label for line in lines(evaluation)["Answers in a model's words"]}
    assert {"citation precision", "citation recall", "unsupported, as written"} <= told
    assert evaluation.latency["model: total"].p50.value == 100
    assert record(evaluation.run.outcomes[0])["model"] == "fake"
    assert Comparison((evaluation,), evaluation, "ndcg@10").best is evaluation


def test_a_model_is_asked_through_the_gateway_whatever_its_limits(
    assistant: Assistant, tmp_path: Path
) -> None:
    said = (
        "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]."
    )
    with Misbehaving("usage", answers=lambda body: said) as provider:
        settings = GatewaySettings.model_validate(
            {
                "models": [{"name": "fake", "model": "fake", "address": provider.address}],
                "limits": {"requests_per_minute": 1},
                "ledger": tmp_path / "usage.sqlite",
                "cache": 0,
            }
        )
        request = AskRequest(question="What coordinates backup and restore actions?", explain=True)
        with in_a_models_words(assistant, settings) as ask:
            answers = [ask(request) for _ in range(3)]
    assert [each.mode for each in answers] == ["generated"] * 3
    assert len(provider.exchanges) == 3


def test_asking_a_model_that_is_not_there_is_refused(assistant: Assistant) -> None:
    with (
        pytest.raises(InvalidInput, match=r"gateway\.models"),
        in_a_models_words(assistant, GatewaySettings()),
    ):
        pass

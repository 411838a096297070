"""What counts as right, and what outcomes add up to."""

import pytest

from assistant.evaluation.compare import best_per_ms
from assistant.evaluation.figures import Evaluation, evaluate
from assistant.evaluation.gold import GoldQuestion, GoldSpan, holds, is_right
from assistant.evaluation.result import worst
from tests.assistant.evaluation.making import answer, citation, outcome, run

SPANNED = GoldQuestion("s", "Where?", True, pages={"a": 1}, spans=(GoldSpan("a", 5, 20),))
PAGED = GoldQuestion("p", "Which page?", True, pages={"a": 1})
WORDED = GoldQuestion("w", "How many?", True, pages={"a": 1}, answers=("56.2%", "a half"))
SILENT = GoldQuestion("u", "Who knows?", answerable=False)


@pytest.mark.parametrize(
    ("text", "expected", "inside"),
    [
        ("In 1901 it was 56.2%, they say.", "56.2%", True),
        ("The  Half-Life of “an answer”", "half life of answer", True),
        ("The half-life", "a half", True),
        ("Norman's castle", "Norman", True),
        ("Founded in 2010", "10", False),
        ("Founded in 2010", "?!", False),
        ("Cafe\u0301 au lait", "caf\u00e9", True),
    ],
)
def test_expected_string_counts_as_whole_words(text: str, expected: str, inside: bool) -> None:
    assert holds(text, expected) is inside


def test_answer_is_right_by_the_most_exact_judgment_there_is() -> None:
    assert is_right(answer("It was 56.2%.", citation("b")), WORDED)
    assert not is_right(answer("It was 12%.", citation("a")), WORDED)
    assert is_right(answer("Here.", citation("a", 19, 30)), SPANNED)
    assert not is_right(answer("Here.", citation("a", 20, 30)), SPANNED)
    assert not is_right(answer("Here.", citation("b", 5, 20)), SPANNED)
    assert is_right(answer("This.", citation("b"), citation("a")), PAGED)


def test_whatever_is_said_to_an_unanswerable_question_is_wrong() -> None:
    assert is_right(answer("It was 56.2%.", citation("a")), SILENT) is False


def test_an_abstention_is_judged_by_what_it_held_back_and_not_by_the_passages_it_shows() -> None:
    shown, held_back = citation("a", 5, 20), citation("b", 0, 5)
    abstention = answer("", shown, abstained=True, held_back=[held_back])
    assert is_right(abstention, SPANNED) is False
    assert is_right(answer("", held_back, abstained=True, held_back=[shown]), SPANNED) is True
    assert is_right(answer("", shown, abstained=True, held_back=[shown]), SILENT) is False


def test_an_abstention_without_a_trace_is_not_judged() -> None:
    abstention = answer("", citation("a", 5, 20), abstained=True)
    assert is_right(abstention.model_copy(update={"trace": None}), SPANNED) is None


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Three right, one wrong, one refused, one unanswerable answered, one left unanswered."""
    return evaluate(
        run(
            outcome(SPANNED, answer("Here it stands.", citation("a", 5, 20), confidence=0.9)),
            outcome(WORDED, answer("It was 56.2%.", citation("a"), confidence=0.8)),
            outcome(PAGED, answer("This one.", citation("a"), confidence=0.7), rank=3),
            outcome(WORDED, answer("It was 12%.", citation("a"), confidence=0.6)),
            outcome(PAGED, answer("", confidence=0.4, abstained=True), rank=None),
            outcome(SILENT, answer("It was me.", citation("a"), confidence=0.55), rank=None),
            outcome(SILENT, answer("", confidence=0.1, abstained=True), rank=None),
        )
    )


def test_figures_count_what_they_say(evaluation: Evaluation) -> None:
    value = {name: figure.value for name, figure in evaluation.figures.items()}
    size = {name: figure.n for name, figure in evaluation.figures.items()}
    assert value["passage_hit@1"] == pytest.approx(3 / 5)
    assert value["passage_hit@5"] == pytest.approx(4 / 5)
    assert value["mrr"] == 1
    assert (value["answer_span_hit"], size["answer_span_hit"]) == (pytest.approx(3 / 5), 5)
    assert value["answer_span_hit_answered"] == pytest.approx(3 / 4)
    assert value["answer_words"] == pytest.approx((3 + 3 + 2 + 3 + 3) / 5)
    assert value["coverage"] == pytest.approx(5 / 7)
    assert (value["error"], size["error"]) == (pytest.approx(2 / 5), 5)
    assert value["refused_answerable"] == pytest.approx(1 / 5)
    assert value["answered_unanswerable"] == pytest.approx(1 / 2)
    assert value["auroc"] == pytest.approx(9 / 10)
    assert evaluation.judged == 7  # abstentions by what they held back
    assert evaluation.risk_coverage[-1].coverage == 1
    assert evaluation.threshold == 0.5
    assert all(figure.low <= figure.high for figure in evaluation.figures.values())


def test_worst_questions_come_in_order_of_harm(evaluation: Evaluation) -> None:
    assert [why for _, why in worst(evaluation)] == [
        "wrong answer",
        "answered, though unanswerable",
        "refused, though answerable",
        "gold passage at rank 3",
    ]


def test_search_alone_claims_nothing_about_answers() -> None:
    found = evaluate(run(outcome(PAGED, None), outcome(SILENT, None, rank=None), reranker=None))
    assert set(found.latency) == {"search"}
    assert found.figures["passage_hit@1"].n == 1
    assert not {"auroc", "coverage", "calibration_error", "answer_span_hit"} & set(found.figures)
    assert found.reliability == found.risk_coverage == ()


def test_a_question_set_without_unanswerable_ones_has_no_auroc() -> None:
    found = evaluate(run(outcome(PAGED, answer("This.", citation("a")))))
    assert "auroc" not in found.figures
    assert found.figures["error"].value == 0


def _measured(first: int, of: int, ms: float) -> Evaluation:
    found = [outcome(SPANNED, None, rank=1 if n < first else 2, search_ms=ms) for n in range(of)]
    return evaluate(run(*found, reranker=None))


def test_best_is_the_fastest_within_a_point_of_the_best() -> None:
    good, as_good, worse = _measured(200, 200, 90), _measured(198, 200, 20), _measured(197, 200, 5)
    assert best_per_ms([good, as_good, worse], "passage_hit@1") is as_good
    assert best_per_ms([good, worse], "passage_hit@1") is good

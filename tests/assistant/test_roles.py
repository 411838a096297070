import pytest

from assistant.roles import answers_questions, asks_for_help


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset the admin password?",
        "cluster stuck in Creating new replica",
        "I get an IntegrityError",
        "Can I trigger a renewal at will? (cert-manager)",
        "x509: certificate signed by unknown authority error",
    ],
)
def test_a_question_or_a_symptom_asks_for_help(text: str) -> None:
    assert asks_for_help(text)


@pytest.mark.parametrize(
    "text", ["velero restore namespace", "Kanister blueprints", "error_budget"]
)
def test_a_subject_alone_does_not(text: str) -> None:
    assert not asks_for_help(text)


@pytest.mark.parametrize(
    ("title", "headings"),
    [("FAQ", ()), ("Guide", ("Troubleshooting",)), ("Known issues", ()), ("A", ("B", "Q&A"))],
)
def test_places_that_answer_questions(title: str, headings: tuple[str, ...]) -> None:
    assert answers_questions(title, headings)


def test_other_places_do_not() -> None:
    assert not answers_questions("Debugger internals", ("Architecture", "Questions of style"))

"""The span reader: it points at the words that answer, and tells when there are none."""

import pytest

from assistant.models import Models

PASSAGE = (
    "Restore drill\nThe restore drill runs every quarter, and the platform team signs it off within "
    "two days. Backups are kept in Frankfurt."
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How often does the restore drill run?", "every quarter"),
        ("Who signs off the restore drill?", "platform team"),
        ("Where are backups kept?", "Frankfurt"),
    ],
)
def test_it_points_at_the_words_that_answer(models: Models, question: str, answer: str) -> None:
    (reading,) = models.span_reader.read(question, [PASSAGE])
    assert answer in PASSAGE[reading.start : reading.end]
    assert reading.none < 0


@pytest.mark.parametrize(
    "question",
    [
        "Where is the restore drill of the payments team described?",
        "Who failed the restore drill?",
        "How much does a backup cost?",
    ],
)
def test_it_tells_a_question_that_only_looks_like_answered(models: Models, question: str) -> None:
    (reading,) = models.span_reader.read(question, [PASSAGE])
    assert reading.none > 0


def test_texts_are_read_alike_whatever_is_read_beside_them(models: Models) -> None:
    question = "Where are backups kept?"
    texts = [PASSAGE, "Nothing.", "Backups are kept for 90 days. " * 60]
    together = models.span_reader.read(question, texts)
    for text, reading in zip(texts, together, strict=True):
        (alone,) = models.span_reader.read(question, [text])
        assert (alone.start, alone.end) == (reading.start, reading.end)
        assert alone.none == pytest.approx(reading.none, abs=0.05)


def test_nothing_to_read_is_no_answer(models: Models) -> None:
    (reading,) = models.span_reader.read("Where are backups kept?", [""])
    assert reading.start == reading.end

"""Questions that come while the model is busy are embedded together, and as if each were alone."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from assistant.batching import BatchingEmbedder
from index.embedder import EmbeddedQuestion, Embedder
from tests.conftest import ROOT

QUESTIONS = [
    json.loads(line)["question"]
    for line in (ROOT / "tests/data/case-study-questions.jsonl").read_text("utf-8").splitlines()
][:24]


class Counted:
    """An embedder whose runs are noted, and wait until they are let go."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.runs: list[list[str]] = []
        self.go_on = threading.Event()

    def embed_questions(self, questions: Sequence[str]) -> list[EmbeddedQuestion]:
        self.runs.append(list(questions))
        assert self.go_on.wait(10)
        if "broken" in questions[0]:
            raise ValueError("it broke")
        return self._embedder.embed_questions(questions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)


@pytest.fixture
def counted(embedder: Embedder) -> Counted:
    return Counted(embedder)


def asked_in_turn(
    batching: BatchingEmbedder, questions: Sequence[str], people: ThreadPoolExecutor
) -> list[Any]:
    """Each question asked by a thread, the next when the one before waits."""
    futures = []
    for number, question in enumerate(questions):
        futures.append(people.submit(batching.embed_question, question))
        # The first is in its run, and the others wait behind it.
        while len(batching._waiting) != number or not batching._embedder.runs:  # type: ignore[attr-defined]
            pass
    return futures


def equal(one: EmbeddedQuestion, other: EmbeddedQuestion) -> bool:
    return (
        np.allclose(one[0], other[0], atol=1e-6)
        and one[1].spans == other[1].spans
        and np.allclose(one[1].vectors, other[1].vectors, atol=1e-6)
    )


def test_questions_that_come_meanwhile_share_one_run(counted: Counted, embedder: Embedder) -> None:
    batching = BatchingEmbedder(counted)
    with ThreadPoolExecutor(8) as people:
        futures = asked_in_turn(batching, QUESTIONS[:6], people)
        counted.go_on.set()
        found = [future.result(10) for future in futures]
    assert [len(run) for run in counted.runs] == [1, 5]
    alone = [embedder.embed_question(question) for question in QUESTIONS[:6]]
    assert all(map(equal, found, alone))


def test_one_question_alone_waits_for_nobody(counted: Counted) -> None:
    counted.go_on.set()
    batching = BatchingEmbedder(counted)
    batching.embed_question(QUESTIONS[0])
    batching.embed_question(QUESTIONS[1])
    assert counted.runs == [[QUESTIONS[0]], [QUESTIONS[1]]]


@pytest.mark.parametrize("size", [2, 7, 24])
def test_embedded_together_is_embedded_alone(embedder: Embedder, size: int) -> None:
    together = embedder.embed_questions(QUESTIONS[:size])
    assert all(map(equal, together, map(embedder.embed_question, QUESTIONS[:size])))


def test_a_run_that_fails_fails_for_nobody_else(counted: Counted, embedder: Embedder) -> None:
    batching = BatchingEmbedder(counted)
    with ThreadPoolExecutor(4) as people:
        first, broken, *others = asked_in_turn(
            batching, [QUESTIONS[0], "broken", *QUESTIONS[1:3]], people
        )
        counted.go_on.set()
        with pytest.raises(ValueError, match="it broke"):
            broken.result(10)
        assert equal(first.result(10), embedder.embed_question(QUESTIONS[0]))
        for question, future in zip(QUESTIONS[1:3], others, strict=True):
            assert equal(future.result(10), embedder.embed_question(question))


def test_no_question_is_lost_or_mixed_up_among_many_threads(embedder: Embedder) -> None:
    batching = BatchingEmbedder(embedder)
    with ThreadPoolExecutor(8) as people:
        found = list(people.map(batching.embed_question, QUESTIONS * 3))
    alone = [embedder.embed_question(question) for question in QUESTIONS] * 3
    assert all(map(equal, found, alone))

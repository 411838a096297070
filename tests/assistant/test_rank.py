"""Ranking: how much is read before the order is settled."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant.assistant import Assistant
from assistant.rank import CLEAR_MARGIN, FEWEST_RERANKED, RERANK_TOKENS, RETRIEVED, Ranking, rank
from index.reranker import Reranker


class Recording:
    """The real reranker, and how many texts it was given at a time."""

    def __init__(self, reranker: Reranker) -> None:
        self.name = reranker.name
        self._reranker = reranker
        self.read: list[int] = []

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        self.read.append(len(texts))
        return self._reranker.score(question, texts)


def ranked(
    assistant: Assistant, question: str, tokens: int = RERANK_TOKENS
) -> tuple[Ranking, list[int]]:
    reranker = Recording(assistant.reranker)
    state = assistant.reader.current()
    vector = assistant.embedder.embed_question(question)[0]
    found = rank(
        question, vector, state.segments, assistant.reader.catalog, reranker, tokens=tokens
    )
    return found, reranker.read


def finals(ranking: Ranking) -> list[float]:
    return [each.scores["final"] for each in ranking.candidates if "final" in each.scores]


CLEAR = "What problem does the Kubernetes Backup and Restore case study solve?"
VAGUE = "What is important?"


def test_clear_winner_ends_the_reading(assistant: Assistant) -> None:
    found, read = ranked(assistant, CLEAR)
    scores = finals(found)
    assert len(read) == 1
    assert scores[0] - scores[1] >= CLEAR_MARGIN


def test_close_race_is_read_on(assistant: Assistant) -> None:
    found, read = ranked(assistant, VAGUE)
    assert len(read) == 2
    assert len(finals(found)) == sum(read) > FEWEST_RERANKED
    assert finals(found) == sorted(finals(found), reverse=True)


@pytest.mark.parametrize("question", [CLEAR, VAGUE])
def test_nothing_found_is_lost_or_doubled(assistant: Assistant, question: str) -> None:
    found, _ = ranked(assistant, question)
    rows = [each.passage.row for each in found.candidates]
    assert len(rows) == len(set(rows)) == RETRIEVED


def test_budget_is_kept(assistant: Assistant) -> None:
    found, read = ranked(assistant, VAGUE, tokens=600)
    tokens = [each.passage.chunk.tokens for each in found.candidates[: sum(read)]]
    assert sum(tokens) <= 600 or len(tokens) == FEWEST_RERANKED

"""Batching: questions that come while the embedding model is busy are embedded together.

Nobody waits for a batch to fill: the thread that finds the model idle embeds what there is, and those who
come meanwhile go with the next run, which the first of them makes for all.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.embedder import EmbeddedQuestion, Embedder, TokenEmbeddings


@dataclass(eq=False)
class _Asked:
    """A question, and what came of it. `turn` is set when it has come, or when the thread that asked is to
    make a run itself.
    """

    question: str
    found: EmbeddedQuestion | None = None
    turn: threading.Event = field(default_factory=threading.Event)


class BatchingEmbedder:
    """An embedder whose questions, asked by threads at the same time, share runs of the model.

    What is embedded together equals what is embedded alone, but for float rounding. Where a run
    fails, it fails for the thread that made it, and the others make theirs.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dimension = embedder.dimension
        self.max_tokens = embedder.max_tokens
        self._lock = threading.Lock()
        self._running = False
        self._waiting: list[_Asked] = []

    def embed_question(self, question: str) -> EmbeddedQuestion:
        """A question's vector and its tokens, as the embedder gives them."""
        asked = _Asked(question)
        with self._lock:
            waits = self._running
            if waits:
                self._waiting.append(asked)
            self._running = True
        if waits:
            asked.turn.wait()
        if asked.found is None:
            self._run(asked)
        assert asked.found is not None
        return asked.found

    def _run(self, asked: _Asked) -> None:
        """Embed a question and all that wait, then have the first who came meanwhile make the next run."""
        with self._lock:
            others, self._waiting = self._waiting, []
        batch = [asked, *others]
        try:
            found = self._embedder.embed_questions([each.question for each in batch])
            for each, embedded in zip(batch, found, strict=True):
                each.found = embedded
        finally:
            with self._lock:
                following = self._waiting.pop(0) if self._waiting else None
                self._running = following is not None
            for other in others:
                other.turn.set()
            if following is not None:
                following.turn.set()

    def embed_questions(self, questions: Sequence[str]) -> list[EmbeddedQuestion]:
        """As the embedder does."""
        return self._embedder.embed_questions(questions)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the embedder does."""
        return self._embedder.count_tokens(texts)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As the embedder does."""
        return self._embedder.embed(texts)

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        """As the embedder does."""
        return self._embedder.embed_tokens(texts)

    def is_word(self, word: str) -> bool:
        """As the embedder does."""
        return self._embedder.is_word(word)

"""Evidence: the sentences of passages that speak for a claim, and how strongly they do, as signals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.confidence import REREAD_FROM
from assistant.generation.content import EMPTY, content_terms, near
from assistant.support import PassageTokens
from index.embedder import TokenEmbeddings
from index.schema import Passage
from index.sentences import sentences
from index.text import word_spans

MOST_SENTENCES = 3
"""Sentences that one claim may rest on: a model fuses two, rarely three."""

ADDS = 0.06
"""Mean support that another sentence has to add to be worth citing: a word in ten said better."""


@dataclass(frozen=True)
class Span:
    """One sentence, `[start, end)` in its document, of the passage at `number`, counted from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Evidence:
    """The spans that support a claim best, in the order of the passages, their words, and the support
    of each of the claim's words by them or by the place they stand at, -1 to 1.
    """

    spans: tuple[Span, ...]
    place: str
    text: str
    support: NDArray[np.float32]

    @property
    def read(self) -> str:
        """What a cross-encoder reads: the place, a line, and the spans."""
        return f"{self.place}\n{self.text}"


@dataclass(frozen=True)
class _Pool:
    """The sentences of some passages and the support of each of the claim's words by each sentence,
    `(words, sentences)`, and by their places, `(words,)`.
    """

    spans: list[Span]
    by_sentence: NDArray[np.float32]
    by_place: NDArray[np.float32]


class Finder:
    """Finds evidence by late interaction of token vectors (see `assistant.support`)."""

    def __init__(self, tokens: PassageTokens) -> None:
        self._tokens = tokens

    def find(self, claim: str, numbered: Sequence[tuple[int, Passage]]) -> Evidence | None:
        """The evidence for a claim in some passages taken together; None if they or it say nothing."""
        groups = word_groups(claim, self._tokens.of([claim])[0])
        pools = [
            pool
            for number, passage in numbered
            if groups and (pool := self._pool(groups, number, passage))
        ]
        if not pools:
            return None
        spans = [span for pool in pools for span in pool.spans]
        by_sentence = np.concatenate([pool.by_sentence for pool in pools], axis=1)
        by_place = np.max([pool.by_place for pool in pools], axis=0)
        chosen = _chosen(by_sentence, by_place)
        kept = tuple(spans[at] for at in chosen)
        passages = dict(numbered)
        used = dict.fromkeys(span.number for span in kept)
        return Evidence(
            spans=kept,
            place=" / ".join(_place(passages[number]) for number in used),
            text=" ".join(
                passages[each.number].document.text[each.start : each.end] for each in kept
            ),
            support=np.maximum(by_place, by_sentence[:, chosen].max(axis=1)),
        )

    def _pool(
        self, groups: Sequence[NDArray[np.float32]], number: int, passage: Passage
    ) -> _Pool | None:
        body = passage.body
        # What a passage asks it does not say.
        found = [each for each in sentences(body) if body[each.end - 1] != "?"]
        if not found:
            return None
        texts = [_place(passage), *(body[each.start : each.end] for each in found)]
        vectors = [each.vectors for each in self._tokens.of(texts)]
        support = np.stack([_support(groups, each) for each in vectors], axis=1)
        start = passage.chunk.body_start
        spans = [Span(number, start + each.start, start + each.end) for each in found]
        return _Pool(spans, support[:, 1:], support[:, 0])


def word_groups(text: str, tokens: TokenEmbeddings) -> list[NDArray[np.float32]]:
    """The token vectors, `(tokens, dim)`, of each word of a text that says something by itself."""
    groups = []
    for start, end in word_spans(text):
        inside = [at for at, (a, b) in enumerate(tokens.spans) if a >= start and b <= end]
        if inside and text[start:end].lower() not in EMPTY:
            groups.append(tokens.vectors[inside])
    return groups


def _support(
    groups: Sequence[NDArray[np.float32]], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The support of each word: the mean over its tokens of the likeness of the nearest one there."""
    if not len(vectors):
        return np.zeros(len(groups), dtype=np.float32)
    nearest = (np.concatenate(groups) @ vectors.T).max(axis=1)
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    sizes = np.array([len(group) for group in groups])
    return np.asarray(np.add.reduceat(nearest, starts) / sizes, dtype=np.float32)


def _chosen(by_sentence: NDArray[np.float32], by_place: NDArray[np.float32]) -> list[int]:
    """The sentences that together support the words best, in their order."""
    chosen: list[int] = []
    so_far = by_place
    while len(chosen) < min(MOST_SENTENCES, by_sentence.shape[1]):
        means = np.maximum(so_far[:, None], by_sentence).mean(axis=0)
        # Where the place says it all, the sentence that says most of it by itself is the one.
        best = int((means + 0.1 * by_sentence.mean(axis=0)).argmax())
        if chosen and (best in chosen or means[best] < so_far.mean() + ADDS):
            break
        chosen.append(best)
        so_far = np.maximum(so_far, by_sentence[:, best])
    return sorted(chosen)


def _place(passage: Passage) -> str:
    parts = dict.fromkeys((*passage.document.place, *passage.chunk.heading_path))
    return " > ".join(part for part in parts if part)


def signals(claim: str, evidence: Evidence, rerank: float, likeness: float) -> dict[str, float]:
    """What speaks for and against a claim; `rerank` and `likeness` are of the claim and the evidence.

    `rerank`: the cross-encoder's logit, kept within what it separates; `likeness`: of their embeddings; `least`: the
    least support of a word of the claim; `own`: logarithm of one more than the terms that neither evidence nor
    place holds; `near`: share of its neighbouring terms that are near each other there.
    """
    said, stated = content_terms(claim), content_terms(evidence.text)
    own = set(said) - {*stated, *content_terms(evidence.place)}
    return {
        "rerank": max(REREAD_FROM, rerank),
        "likeness": likeness,
        "least": float(evidence.support.min()),
        "own": math.log1p(len(own)),
        "near": near(said, stated),
    }

"""Evidence: the sentences of passages that speak for a claim, and how strongly they do, as signals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.generation.content import EMPTY, content_terms, in_order, near
from assistant.generation.polarity import PASSIVE
from assistant.support import PassageTokens
from index.embedder import TokenEmbeddings
from index.schema import Passage
from index.sentences import Sentence, sentences
from index.text import word_spans

MOST_SENTENCES = 3
"""Sentences that one claim may rest on: a model fuses two, rarely three."""

ADDS = 0.06
"""Mean support that another sentence has to add to be worth citing: a word in ten said better."""

WEAK = 0.5
"""Support below which a claim's word counts as not said: see `assistant.confidence.UNSUPPORTED`."""


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
        found = sentences(passage.body) or [Sentence(0, len(passage.body))]
        texts = [_place(passage), *(passage.body[each.start : each.end] for each in found)]
        vectors = [each.vectors for each in self._tokens.of(texts)]
        if not passage.body.strip():
            return None
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
    """What speaks for and against a claim.

    `rerank`: the cross-encoder's logit of claim and evidence; `likeness`: of their embeddings; `support`,
    `least`: mean and least support of the claim's words, `weak`: share of those hardly supported; `overlap`: share
    of its terms that the evidence or its place holds, `own`: number that it does not; `order`: how far
    the terms they share come in the same order, `near`: share of the claim's neighbouring terms that are near each
    other there, `voice`: one of the two says it in the passive; `size`: terms of the claim.
    """
    said, stated = content_terms(claim), content_terms(evidence.text)
    known = {*stated, *content_terms(evidence.place)}
    own = [term for term in dict.fromkeys(said) if term not in known]
    return {
        "rerank": max(-8.0, rerank),
        "likeness": likeness,
        "support": float(evidence.support.mean()),
        "least": float(evidence.support.min()),
        "weak": float((evidence.support < WEAK).mean()),
        "overlap": 1 - len(own) / max(1, len(set(said))),
        "own": float(np.log1p(len(own))),
        "order": in_order(said, stated),
        "near": near(said, stated),
        "voice": float(bool(PASSIVE.search(claim)) != bool(PASSIVE.search(evidence.text))),
        "size": float(np.log1p(len(said))),
    }

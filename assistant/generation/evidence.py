"""Evidence: the sentences of passages that speak for a claim, and how strongly they do, as signals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.confidence import REREAD_FROM
from assistant.generation.content import EMPTY, content_terms, near
from assistant.generation.orders import is_order
from assistant.support import PassageTokens
from index.embedder import TokenEmbeddings
from index.schema import Passage
from index.sentences import sentences
from index.text import word_spans

MOST_SENTENCES = 3
"""Sentences that one claim may rest on: a model fuses two, rarely three."""

WEAKEST = 0.2
"""What the word supported least counts beside the mean of all: one word makes a sentence false."""

ADDS = 0.06
"""What another sentence has to add to be worth citing: a word in ten said better, or the weakest one said."""


WRITTEN = 0.8
"""Least support of a word that is written there, in another form or another context. Of what gemma3-270m wrote, 33
of 34 kept sentences hold with it, 30 of 31 without, 30 of 34 at 0.95."""


@dataclass(frozen=True)
class Word:
    """A word of a claim: its terms, all of which have to be there for it to be written, and the vectors of
    its tokens, `(tokens, dim)`.
    """

    terms: frozenset[str]
    vectors: NDArray[np.float32]


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
    texts: tuple[str, ...]
    support: NDArray[np.float32]

    @property
    def text(self) -> str:
        """The words of all spans."""
        return " ".join(self.texts)

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
        said = content_words(claim, self._tokens.of([claim])[0])
        pools = [
            pool
            for number, passage in numbered
            if said and (pool := self._pool(said, number, passage))
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
            texts=tuple(
                passages[each.number].document.text[each.start : each.end] for each in kept
            ),
            support=np.maximum(by_place, by_sentence[:, chosen].max(axis=1)),
        )

    def _pool(self, said: Sequence[Word], number: int, passage: Passage) -> _Pool | None:
        body = passage.body
        # What a passage asks it does not say, nor what it tells its reader to answer.
        found = [
            each
            for each in sentences(body)
            if body[each.end - 1] != "?" and not is_order(body[each.start : each.end])
        ]
        if not found:
            return None
        texts = [_place(passage), *(body[each.start : each.end] for each in found)]
        tokens = self._tokens.of(texts)
        columns = [
            _support(said, text, each.vectors) for text, each in zip(texts, tokens, strict=True)
        ]
        support = np.stack(columns, axis=1)
        start = passage.chunk.body_start
        spans = [Span(number, start + each.start, start + each.end) for each in found]
        return _Pool(spans, support[:, 1:], support[:, 0])


def content_words(text: str, tokens: TokenEmbeddings) -> list[Word]:
    """The words of a text that say something by themselves."""
    found = []
    for start, end in word_spans(text):
        inside = [at for at, (a, b) in enumerate(tokens.spans) if a >= start and b <= end]
        if inside and text[start:end].lower() not in EMPTY:
            # A compound's first term is the whole; it is there where its parts are.
            terms = content_terms(text[start:end])
            found.append(Word(frozenset(terms[1:] or terms), tokens.vectors[inside]))
    return found


def _support(said: Sequence[Word], text: str, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The support of each word by a text: that of a word written there, or the mean over its tokens of the
    likeness of the nearest one there.
    """
    if not len(vectors):
        return np.zeros(len(said), dtype=np.float32)
    nearest = (np.concatenate([word.vectors for word in said]) @ vectors.T).max(axis=1)
    sizes = [len(word.vectors) for word in said]
    means = np.add.reduceat(nearest, np.cumsum([0, *sizes[:-1]])) / np.array(sizes)
    stated = set(content_terms(text))
    written = [WRITTEN if word.terms and word.terms <= stated else -1.0 for word in said]
    return np.asarray(np.maximum(means, written), dtype=np.float32)


def _chosen(by_sentence: NDArray[np.float32], by_place: NDArray[np.float32]) -> list[int]:
    """The sentences that together support the words best, in their order."""
    chosen: list[int] = []
    so_far, worth = by_place, -np.inf
    while len(chosen) < min(MOST_SENTENCES, by_sentence.shape[1]):
        with_each = np.maximum(so_far[:, None], by_sentence)
        worths = with_each.mean(axis=0) + WEAKEST * with_each.min(axis=0)
        # Where the place says it all, the sentence that says most of it by itself is the one.
        best = int((worths + WEAKEST * by_sentence.mean(axis=0)).argmax())
        if best in chosen or worths[best] < worth + ADDS:
            break
        chosen.append(best)
        so_far, worth = with_each[:, best], float(worths[best])
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
    said = content_terms(claim)
    stated = [content_terms(text) for text in evidence.texts]
    own = set(said).difference(*stated, content_terms(evidence.place))
    return {
        "rerank": max(REREAD_FROM, rerank),
        "likeness": likeness,
        "least": float(evidence.support.min()),
        "own": math.log1p(len(own)),
        "near": near(said, stated),
    }

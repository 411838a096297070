"""Support: which words of a question the passages say anything about.

Late interaction over the embedder's own token vectors (MaxSim; Khattab and Zaharia, *ColBERT*,
2020): a word is supported as far as some token of a passage, in its context, is like it. Words
that no passage supports are what the sources are silent about, and an abstention names them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assistant.question import subject_words
from index.embedder import Embedder, TokenEmbeddings
from index.text import STOPWORDS, word_spans


@dataclass(frozen=True)
class WordSupport:
    """A word of the question and the likeness of its nearest token in the passages, -1 to 1.

    `subject` is False for words that only ask for a part of a story, like "benefits".
    """

    word: str
    support: float
    subject: bool


def word_support(
    question: str, tokens: TokenEmbeddings, passages: Sequence[TokenEmbeddings]
) -> list[WordSupport]:
    """The support of each word of the question that is no stop word, in order."""
    if not passages:
        return []
    subject = set(subject_words(question))
    nearest = (tokens.vectors @ np.concatenate([each.vectors for each in passages]).T).max(axis=1)
    found = []
    for start, end in word_spans(question):
        word = question[start:end]
        if word.lower() in STOPWORDS:
            continue
        inside = [i for i, (a, b) in enumerate(tokens.spans) if a >= start and b <= end]
        if inside:
            found.append(WordSupport(word, float(nearest[inside].mean()), word in subject))
    return found


class PassageTokens:
    """Token vectors of passages, remembered for the passages asked for most lately."""

    def __init__(self, embedder: Embedder, kept: int = 256) -> None:
        self._embedder = embedder
        self._kept = kept
        self._known: dict[str, TokenEmbeddings] = {}

    def of(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        """The token vectors of each text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = {text: self._known[text] for text in texts if text in self._known}
        if new:
            found.update(zip(new, self._embedder.embed_tokens(new), strict=True))
        # Rebuilt rather than changed in place: several threads may ask at once.
        recent = {text: tokens for text, tokens in self._known.items() if text not in found}
        self._known = dict(list((recent | found).items())[-self._kept :])
        return [found[text] for text in texts]

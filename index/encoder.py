"""Encoders: a BERT with its tokenizer, run over batches of texts that are alike in length."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.bert import Weights, build, load_calibration, read_weights

BATCH_TOKENS = 512
"""Padded tokens in one run: what fits a core's cache, and texts that are alike in length. Reranking
eight passages takes 106 ms so, 127 ms at 1,024, 150 ms at 4,096."""

WIDTHS = 16
"""Widths are multiples of it. OpenVINO keeps what it compiles for each shape: with every width there
is, memory grew by 7 MB a question, and each question waited for the compiler."""

CALIBRATIONS = Path(__file__).with_name("int8")


class Encoder:
    """A packaged BERT, quantised by the calibration of its name. Safe to share between threads.

    `head` is one of those of `index.bert.build`; `weights` are those of the folder unless given.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        head: str,
        max_tokens: int,
        weights: Weights | None = None,
    ) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self._request = compiled(
            build(
                read_weights(folder) if weights is None else weights,
                heads_of(folder),
                head,
                load_calibration(CALIBRATIONS / f"{name}.npz"),
            )
        ).create_infer_request()
        # One at a time: a run already keeps every core busy.
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[Any]) -> list[Any]:
        """The tokenizer's encodings of texts, or of pairs of texts, cut at `max_tokens`."""
        return list(self.tokenizer.encode_batch(list(texts)))

    def run(
        self, encodings: Sequence[Any]
    ) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
        """The outputs of the network batch by batch: positions of its texts, and its arrays."""
        for batch in batches([len(encoding.ids) for encoding in encodings], BATCH_TOKENS):
            arrays = padded([encodings[position] for position in batch])
            with self._lock:
                results = self._request.infer(arrays)
                outputs = [np.array(results[number]) for number in range(len(results))]
            yield batch, outputs


def heads_of(folder: Path) -> int:
    """Attention heads, from the model's configuration; all BERTs of 384 dimensions have 12."""
    config = folder / "config.json"
    stated = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    return int(stated.get("num_attention_heads", 12))


def compiled(model: Any, **options: str) -> Any:
    """A graph ready to run on the CPU."""
    import openvino

    return openvino.Core().compile_model(model, "CPU", options)


def padded(encodings: Sequence[Any]) -> list[NDArray[np.int64]]:
    """Ids, mask and types, each `(texts, width) int64`, zero where a text has ended."""
    longest = max(len(encoding.ids) for encoding in encodings)
    width = -(-longest // WIDTHS) * WIDTHS
    arrays = [np.zeros((len(encodings), width), dtype=np.int64) for _ in range(3)]
    for row, encoding in enumerate(encodings):
        size = len(encoding.ids)
        arrays[0][row, :size] = encoding.ids
        arrays[1][row, :size] = 1
        arrays[2][row, :size] = encoding.type_ids
    return arrays


def batches(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Positions by size, cut into batches of at most `most` tokens when padded to their longest."""
    found: list[list[int]] = []
    for position in sorted(range(len(sizes)), key=sizes.__getitem__):
        batch = found[-1] if found else []
        if batch and (len(batch) + 1) * sizes[position] <= most:
            batch.append(position)
        else:
            found.append([position])
    return found

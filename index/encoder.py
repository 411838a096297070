"""Encoders: a BERT with its tokenizer, run over batches of texts that are alike in length."""

import json
import threading
from collections import deque
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

CPU = Path("/proc/cpuinfo")
"""Where Linux says what the processor can do."""

CALIBRATIONS = Path(__file__).with_name("int8")


class Encoder:
    """A packaged BERT, quantised by the calibration of its name. Safe to share between threads.

    `head` is one of those of `index.bert.build`; `weights` are those of the folder unless given. Each of
    the `streams` has its share of the cores: more of them do more at once, and one batch takes longer.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        head: str,
        max_tokens: int,
        weights: Weights | None = None,
        streams: int = 1,
    ) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        model = compiled(
            build(
                read_weights(folder) if weights is None else weights,
                heads_of(folder),
                head,
                load_calibration(CALIBRATIONS / f"{name}.npz"),
            ),
            NUM_STREAMS=str(streams),
            **precision(CPU),
        )
        self._request = model.create_infer_request()
        # One at a time: a run already keeps every core busy.
        self._lock = threading.Lock()
        # Requests of their own, so that a question waits for the batches begun and for no others.
        self._many = [model.create_infer_request() for _ in range(streams)]
        self._many_lock = threading.Lock()

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

    def run_many(self, encodings: Sequence[Any]) -> NDArray[np.float32]:
        """The network's first output for each of many texts, a batch on every stream at a time."""
        found: list[Any] = [None] * len(encodings)
        running: deque[tuple[Any, list[int]]] = deque()

        def collect() -> Any:
            request, batch = running.popleft()
            request.wait()
            for position, row in zip(batch, request.get_output_tensor(0).data, strict=True):
                found[position] = np.array(row)
            return request

        with self._many_lock:
            idle = list(self._many)
            try:
                for batch in batches([len(encoding.ids) for encoding in encodings], BATCH_TOKENS):
                    arrays = padded([encodings[position] for position in batch])
                    request = idle.pop() if idle else collect()
                    request.start_async(arrays)
                    running.append((request, batch))
            finally:
                while running:
                    collect()
        return np.stack(found)


def heads_of(folder: Path) -> int:
    """Attention heads, from the model's configuration; all BERTs of 384 dimensions have 12."""
    config = folder / "config.json"
    stated = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    return int(stated.get("num_attention_heads", 12))


def precision(cpu: Path) -> dict[str, str]:
    """What the layers that are not in 8 bits are computed in, by the processor that `cpu` describes.

    OpenVINO takes bfloat16 where a processor knows it at all. Intel's multiply it faster than float32 with AMX
    only, and without pay for the conversions (`docs/retrieval.md` has the measurements).
    """
    said = cpu.read_text(encoding="utf-8", errors="replace") if cpu.exists() else ""
    slower = "GenuineIntel" in said and "amx_bf16" not in said
    return {"INFERENCE_PRECISION_HINT": "f32"} if slower else {}


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

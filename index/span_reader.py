"""The span reader: reads a passage for the words that answer a question, and says when there are none.

It is the packaged cross-encoder, trained on from where it was: `span_reader.npz` holds what
training changed, each matrix as two thin ones (Hu et al., *LoRA*, 2021), and two small heads: where an
answer begins and ends (Devlin et al., *BERT*, 2019), and whether there is none (Rajpurkar et al.,
*Know What You Don't Know*, 2018). `python -m benchmarks.train_reader` makes the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.bert import Weights, read_weights
from index.embedder import packaged_path
from index.encoder import Encoder
from index.errors import ModelUnavailable
from index.reranker import DEFAULT_RERANKER, PACKAGED

NAME = "span-reader"

WEIGHTS = Path(__file__).with_suffix(".npz")

MAX_TOKENS = 384

LONGEST_SPAN = 24
"""Tokens; of SQuAD's answers one in two hundred is longer."""


@dataclass(frozen=True)
class Reading:
    """What was read in one text: the best answer's `[start, end)` in characters, empty where there is
    nothing to read, and `none`, the log odds that there is no answer.
    """

    start: int
    end: int
    none: float


class SpanReader:
    """Reads texts for an answer; raises `ModelUnavailable` where its base model is not installed.

    Loaded when it first reads: a search does without it.
    """

    @cached_property
    def _encoder(self) -> Encoder:
        folder = packaged_path(*PACKAGED[DEFAULT_RERANKER])
        if folder is None:
            raise ModelUnavailable(
                f"the reader is trained on {DEFAULT_RERANKER}, which is not installed: "
                f"install the package {PACKAGED[DEFAULT_RERANKER][0]}"
            )
        return Encoder(NAME, folder, "spans", MAX_TOKENS, reader_weights(folder))

    def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        """The best answer in each of the texts, whatever it is worth."""
        encodings = self._encoder.encode([(question, text) for text in texts])
        readings: dict[int, Reading] = {}
        for positions, (spans, none) in self._encoder.run(encodings):
            for row, position in enumerate(positions):
                readings[position] = _reading(encodings[position], spans[row], float(none[row, 0]))
        return [readings[position] for position in range(len(texts))]


def reader_weights(folder: Path) -> Weights:
    """The cross-encoder's weights as training left them, and those of the two heads."""
    weights = dict(read_weights(folder))
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        for key in stored.files:
            how, _, name = key.partition("/")
            if how == "left":
                change = stored[key].astype(np.float32) @ stored[f"right/{name}"].astype(np.float32)
                weights[name] = weights[name] + change
            elif how == "add":
                weights[name] = weights[name] + stored[key].astype(np.float32)
            elif how == "head":
                weights[name] = stored[key].astype(np.float32)
    return weights


def _reading(encoding: Any, logits: NDArray[np.float32], none: float) -> Reading:
    """The best span of one text from `(tokens, 2)` logits of beginnings and ends."""
    ids, types, offsets = encoding.ids, encoding.type_ids, encoding.offsets
    size = len(ids)
    log_starts, log_ends = (
        logits[:size, side] - np.logaddexp.reduce(logits[:size, side]) for side in (0, 1)
    )
    inside = np.array(
        [kind == 1 and end > start for kind, (start, end) in zip(types, offsets, strict=True)]
    )
    where = np.flatnonzero(inside)
    if not len(where):
        return Reading(0, 0, none)
    scores = log_starts[where][:, None] + log_ends[where][None, :]
    distance = where[None, :] - where[:, None]
    scores = np.where((distance >= 0) & (distance < LONGEST_SPAN), scores, -np.inf)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    return Reading(
        start=offsets[where[first]][0],
        end=offsets[where[last]][1],
        none=none,
    )

"""Calibrate the 8-bit models: `python -m benchmarks.quantize` writes index/int8/*.npz.

Runs each packaged model in full precision over passages of the shared evaluation data and keeps what
its linear layers were given; then compares both precisions on passages it was not calibrated on.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.questions import SHARED_EVAL, rows
from index import reranker, span_reader
from index.bert import (
    SMOOTHING,
    Calibration,
    Weights,
    build,
    read_weights,
    save_calibration,
)
from index.embedder import PACKAGED, packaged_path
from index.encoder import CALIBRATIONS, compiled, heads_of, padded
from index.span_reader import reader_weights

CALIBRATED_ON = 160
HELD_OUT = 60
PASSAGE = 700
"""Characters, about what a chunk holds."""


def passages() -> list[str]:
    """Passages of infrastructure documentation and encyclopedia, title in front, shuffled."""
    random = np.random.default_rng(1)
    found = []
    for name in ("infra-faq", "squad2"):
        pages = rows(SHARED_EVAL / name / "corpus.jsonl.gz")
        for number in random.choice(len(pages), CALIBRATED_ON + HELD_OUT, replace=False):
            page = pages[number]
            start = int(random.integers(0, max(1, len(page["text"]) - PASSAGE)))
            found.append(f"{page['title']}\n{page['text'][start : start + PASSAGE]}")
    random.shuffle(found)
    return found[: CALIBRATED_ON + HELD_OUT]


def pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Each passage with a question, most of them about something else."""
    questions = [
        row["text"]
        for name in ("infra-faq", "squad2")
        for row in rows(SHARED_EVAL / name / "dev" / "queries.jsonl")[: len(texts)]
    ]
    order = np.random.default_rng(2).permutation(len(questions))[: len(texts)]
    return [(questions[number], text) for number, text in zip(order, texts, strict=True)]


def calibrate(weights: Weights, heads: int, encodings: Sequence[Any]) -> Calibration:
    """What the linear layers see: first for the scales, then, smoothed by them, for the ranges."""
    seen = _seen(build(weights, heads, "calibrate"), encodings)
    scales = {
        site: np.clip(
            np.maximum(most.max(axis=0), 1e-5) ** SMOOTHING
            / np.maximum(_largest_weights(weights, site), 1e-5) ** (1 - SMOOTHING),
            1e-3,
            1e3,
        ).astype(np.float32)
        for site, most in seen["channels"].items()
    }
    smoothed = _seen(build(weights, heads, "calibrate", Calibration({}, scales)), encodings)
    ranges = {
        site: (float(low.min()), float(smoothed["high"][site].max()))
        for site, low in smoothed["low"].items()
    }
    return Calibration(ranges, scales)


def _seen(model: Any, encodings: Sequence[Any]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """By kind and site, what was seen for each text."""
    request = compiled(model, INFERENCE_PRECISION_HINT="f32").create_infer_request()
    names = [output.any_name for output in model.outputs]
    rows_of: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for encoding in encodings:
        results = request.infer(padded([encoding]))
        for number, name in enumerate(names):
            rows_of[name].append(np.array(results[number]))
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, values in rows_of.items():
        kind, _, site = name.partition("/")
        found.setdefault(kind, {})[site] = np.array(values)
    return found


def _largest_weights(weights: Weights, site: str) -> NDArray[np.float32]:
    """The largest weight that each input channel of a site meets."""
    if site.endswith(".self"):
        layers = [weights[f"{site}.{part}.weight"] for part in ("query", "key", "value")]
    else:
        layers = [weights[f"{site}.weight"]]
    return np.max([np.abs(layer).max(axis=0) for layer in layers], axis=0)


def quantize(
    name: str, folder: Path, head: str, texts: Sequence[Any], weights: Weights | None = None
) -> None:
    """Calibrate one model, write it, and print how near it comes to full precision."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    encodings = tokenizer.encode_batch(list(texts))
    weights, heads = weights or read_weights(folder), heads_of(folder)
    calibration = calibrate(weights, heads, encodings[:CALIBRATED_ON])
    CALIBRATIONS.mkdir(exist_ok=True)
    save_calibration(CALIBRATIONS / f"{name}.npz", calibration)
    run = _runner(encodings[CALIBRATED_ON:])
    full = run(build(weights, heads, head), INFERENCE_PRECISION_HINT="f32")
    small = run(build(weights, heads, head, calibration))
    if head in ("score", "spans"):
        print(f"{name}: mean difference of a logit {np.abs(full - small).mean():.3f}")
    else:
        cosines = (full * small).sum(axis=-1)
        print(f"{name}: cosine mean {cosines.mean():.4f}, least {cosines.min():.4f}")


def _runner(encodings: Sequence[Any]) -> Callable[..., NDArray[np.float32]]:
    def run(model: Any, **options: str) -> NDArray[np.float32]:
        request = compiled(model, **options).create_infer_request()
        outputs = [np.array(request.infer(padded([each]))[0]) for each in encodings]
        return np.concatenate([output.reshape(-1, output.shape[-1]) for output in outputs])

    return run


def main() -> int:
    """Calibrate every packaged model."""
    if not SHARED_EVAL.exists():
        print(f"calibration needs the evaluation data at {SHARED_EVAL}", file=sys.stderr)
        return 1
    texts = passages()
    for name, known in PACKAGED.items():
        if folder := packaged_path(known.package, known.folder):
            quantize(name, folder, known.pooling, texts)
    for name, (package, inside) in reranker.PACKAGED.items():
        if folder := packaged_path(package, inside):
            quantize(name, folder, "score", pairs(texts))
            if name == reranker.DEFAULT_RERANKER:
                weights = reader_weights(folder)
                quantize(span_reader.NAME, folder, "spans", pairs(texts), weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What size costs: `python -m benchmarks.scale` measures dense search on up to a million vectors, and
the whole search over a corpus of a hundred thousand chunks.

Vectors: those of the infra-faq corpus, and above their number copies of them moved by noise to a
cosine of about 0.85, so that neighbourhoods stay as crowded as real ones. Questions are the dev
questions. `--index` names an index of the whole corpus, as `casebook eval` leaves it under
`.casebook/eval`; the first run without one takes a quarter of an hour to embed it.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from assistant.access.caller import LOCAL
from assistant.assistant import Assistant, open_assistant
from assistant.evaluation.dataset import load_dataset
from assistant.settings import load_settings
from benchmarks.questions import SHARED_EVAL
from index import vectors
from ingest.sync import sync_documents

NOISE = 0.62
"""Length of the noise added to a unit vector: `1 / sqrt(1 + 0.62**2)` is 0.85."""

K = 10


@click.command()
@click.option("--index", default=".casebook/eval/scale", type=click.Path(path_type=Path))
@click.option("--sizes", default="20000,100000,1000000", help="Numbers of vectors.")
def main(index: Path, sizes: str) -> None:
    """Measure and print a JSON object a line."""
    content = load_dataset(SHARED_EVAL / "infra-faq")
    assistant = open_assistant(load_settings(index=index))
    sync_documents(content.documents, index, assistant.embedder, report=lambda progress: None)
    questions = [question.text for question in content.questions]
    print(json.dumps(whole_search(assistant, questions)), flush=True)
    asked = np.stack([assistant.embedder.embed_question(text)[0] for text in questions])
    real = _real_vectors(assistant)
    for size in map(int, sizes.split(",")):
        print(json.dumps(dense_search(sized(real, size), asked)), flush=True)


def whole_search(assistant: Assistant, questions: list[str]) -> dict[str, Any]:
    """Milliseconds a search over the index, with and without reranking, from the question as text."""
    state = assistant.reader.current()
    measured: dict[str, Any] = {"chunks": sum(segment.chunk_count for segment in state.segments)}
    for name, rerank in (("plain", False), ("reranked", True)):
        times = []
        for number, question in enumerate([*questions[:5], *questions]):
            began = time.perf_counter()
            assistant.search(question, K, LOCAL, rerank=rerank)
            if number >= 5:
                times.append(1000 * (time.perf_counter() - began))
        p50, p95 = np.percentile(times, [50, 95])
        measured |= {f"{name}_p50_ms": round(float(p50), 1), f"{name}_p95_ms": round(float(p95), 1)}
    return measured


def _real_vectors(assistant: Assistant) -> NDArray[np.float32]:
    """The vectors of all chunks as the catalog has them."""
    catalog = assistant.reader.catalog
    state = assistant.reader.current().state
    chunks = catalog.chunk_rows([row.row for row in catalog.document_rows(state.id)])
    return catalog.vectors([chunk.embedding_key for chunk in chunks], state.dimension)


def sized(real: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """`(size, dim) float32` unit rows: real ones, then moved copies of them."""
    random = np.random.default_rng(0)
    parts = [real[:size]]
    while (missing := size - sum(map(len, parts))) > 0:
        noise = random.standard_normal(real.shape, dtype=np.float32)
        moved = real + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        parts.append((moved / np.linalg.norm(moved, axis=1, keepdims=True))[:missing])
    return np.concatenate(parts)


def dense_search(rows: NDArray[np.float32], asked: NDArray[np.float32]) -> dict[str, Any]:
    """Bytes a vector, recall@10 of exact search, and milliseconds a search."""
    import faiss

    exact = faiss.IndexFlatIP(rows.shape[1])
    exact.add(rows)
    _, truth = exact.search(asked, K)
    began = time.perf_counter()
    index = vectors.build(rows)
    built = time.perf_counter() - began
    times, kept = [], 0
    for question, best in zip(asked, truth, strict=True):
        began = time.perf_counter()
        found = vectors.search(index, question, K)
        times.append(1000 * (time.perf_counter() - began))
        kept += len({row for row, _ in found} & set(best.tolist()))
    return {
        "vectors": len(rows),
        "index": type(index).__name__,
        "bytes_a_vector": round(len(vectors.to_bytes(index)) / len(rows), 1),
        "recall@10": round(kept / truth.size, 4),
        "p50_ms": round(float(np.median(times)), 2),
        "build_s": round(built, 1),
    }


if __name__ == "__main__":
    main()

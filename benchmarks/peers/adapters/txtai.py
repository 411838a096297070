"""txtai: its hybrid index over paragraphs.

`Embeddings(hybrid=True, content=True)` by https://neuml.github.io/txtai/embeddings/configuration/
general/#hybrid, with its default weights. Paragraphs by https://neuml.github.io/txtai/pipeline/data/
segmentation/, as its author's RAG application splits (https://github.com/neuml/rag); Textractor is
that pipeline with readers for files, which text in memory has no need of. Title and project are columns
beside the text (https://neuml.github.io/txtai/embeddings/#index): stored, not embedded.

Works offline from a folder. `paragraphs` needs no nltk data, which `sentences` would.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from benchmarks.peers.contract import Hit, Page, Task
from benchmarks.peers.measure import Ingest, Searchable, run


def load(task: Task) -> Ingest:
    """Load the embedding model into an empty index."""
    from txtai import Embeddings
    from txtai.pipeline import Segmentation

    embeddings = Embeddings(path=task.model, hybrid=True, content=True, gpu=False)
    segment = Segmentation(paragraphs=True)

    def ingest(pages: Sequence[Page]) -> Searchable[Any]:
        segments = [(page, text) for page in pages for text in segment(page.text)]
        embeddings.index(
            (number, {"text": text, "title": page.title, "project": page.project})
            for number, (page, text) in enumerate(segments)
        )

        @cache
        def places() -> list[tuple[str, int, int]]:
            return list(_places(segments))

        def hits(found: Sequence[dict[str, Any]]) -> Iterable[Hit]:
            for row in found:
                yield Hit(*places()[int(row["id"])], row["score"])

        def search(query: str) -> list[dict[str, Any]]:
            return embeddings.search(query, task.k)

        return Searchable(search, hits, lambda: [len(text) for _, text in segments])

    return ingest


def _places(segments: Sequence[tuple[Page, str]]) -> Iterator[tuple[str, int, int]]:
    """Page id, start and end of segments in the order of their pages.

    Segmentation strips a paragraph and makes one space of several, so it is sought word by word
    after the one before it.
    """
    last, position = None, 0
    for page, text in segments:
        if page.id != last:
            last, position = page.id, 0
        pattern = re.compile(" +".join(re.escape(word) for word in text.split(" ")))
        match = pattern.search(page.text, position)
        if match is None:
            raise ValueError(f"segment not found in page {page.id!r}: {text[:80]!r}")
        position = match.end()
        yield page.id, match.start(), match.end()


if __name__ == "__main__":
    run(load, ["txtai", "faiss-cpu", "sentence-transformers", "transformers", "torch"])

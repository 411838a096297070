"""Casebook itself, by its public functions: `sync_documents`, then `Assistant.search`.

The index is made in an empty folder on disk, as the product does it, so ingestion counts the
durable writes that the in-memory stores of the others do without.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.contract import Hit, Page, Task
from benchmarks.peers.measure import Ingest, Searchable, run

PUBLIC = frozenset({"public"})


def load(task: Task) -> Ingest:
    """Load the embedder and the reranker; `plain` searches without the second."""
    from assistant.access.caller import LOCAL
    from assistant.assistant import Assistant
    from assistant.freshness import Freshness
    from assistant.models import Models
    from assistant.schema import SearchResult
    from index.embedder import load_embedder
    from index.reader import IndexReader
    from index.reranker import load_reranker
    from index.schema import Document, DocumentId, Revision, content_hash
    from index.span_reader import SpanReader
    from ingest.sync import sync_documents

    embedder = load_embedder()
    reranker = load_reranker()
    folder = Path(task.scratch)
    now = datetime.now(UTC).isoformat(timespec="seconds")

    def document(page: Page) -> Document:
        return Document(
            id=DocumentId(page.id),
            title=page.title,
            text=page.text,
            source=page.id,
            kind="page",
            revision=Revision(content_hash(page.text)[:16]),
            modified_at=None,
            ingested_at=now,
            access=PUBLIC,
            metadata={"project": page.project},
        )

    models = Models(embedder, reranker, SpanReader())

    def ingest(pages: Sequence[Page]) -> Searchable[Any]:
        sync_documents(
            [document(page) for page in pages], folder, embedder, report=lambda progress: None
        )
        assistant = Assistant(IndexReader(folder), models, Freshness(folder))
        state = assistant.reader.current().state.id  # opens it, as a first question would

        def search(query: str) -> SearchResult:
            return assistant.search(query, task.k, LOCAL, rerank=task.variant == "reranked")

        def chunk_chars() -> list[int]:
            catalog = assistant.reader.catalog
            passages = (catalog.passages_of(state, page.id) for page in pages)
            return [each.chunk.end - each.chunk.start for found in passages for each in found]

        return Searchable(search, _hits, chunk_chars)

    return ingest


def _hits(found: Any) -> Iterable[Hit]:
    for hit in found.hits:
        yield Hit(hit.document_id, hit.start, hit.end, hit.score)


if __name__ == "__main__":
    run(
        load,
        ["casebook", "sentence-transformers", "transformers", "torch", "faiss-cpu", "openvino"],
    )

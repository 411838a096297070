"""Haystack: BM25 and vectors in an in-memory store, joined by reciprocal rank.

The pipelines of https://haystack.deepset.ai/tutorials/33_hybrid_retrieval, joined by the
`reciprocal_rank_fusion` of https://docs.haystack.deepset.ai/docs/documentjoiner in place of a ranker.
That tutorial says to fit `split_length` to the model's limit when all-MiniLM-L6-v2 is used: this
takes DocumentSplitter's own default of 200 words. Many are longer than 256 tokens, but 100, 120
and 256 words did no better on 30 pages. Title and project are embedded as
https://haystack.deepset.ai/tutorials/39_embedding_metadata_for_improved_retrieval advises.

Works offline: splitting by word needs no nltk data. Telemetry is turned off by the environment.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.peers.contract import Hit, Page, Task
from benchmarks.peers.measure import Ingest, Searchable, run


def load(task: Task) -> Ingest:
    """Build both pipelines around one store, and load the embedders' models."""
    from haystack import Document, Pipeline
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.retrievers.in_memory import (
        InMemoryBM25Retriever,
        InMemoryEmbeddingRetriever,
    )
    from haystack.components.writers import DocumentWriter
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
        SentenceTransformersTextEmbedder,
    )

    store = InMemoryDocumentStore()
    model = {
        "model": task.model,
        "device": ComponentDevice.from_str("cpu"),
        "progress_bar": False,
    }
    indexing = Pipeline()
    indexing.add_component("splitter", DocumentSplitter(split_by="word", split_length=200))
    indexing.add_component(
        "embedder",
        SentenceTransformersDocumentEmbedder(**model, meta_fields_to_embed=["project", "title"]),
    )
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("splitter", "embedder")
    indexing.connect("embedder", "writer")

    querying = Pipeline()
    querying.add_component("embedder", SentenceTransformersTextEmbedder(**model))
    querying.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=task.k))
    querying.add_component("lexical", InMemoryBM25Retriever(store, top_k=task.k))
    querying.add_component(
        "joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=task.k)
    )
    querying.connect("embedder.embedding", "dense.query_embedding")
    querying.connect("dense", "joiner")
    querying.connect("lexical", "joiner")
    indexing.warm_up()
    querying.warm_up()

    def search(query: str) -> list[Document]:
        found = querying.run({"embedder": {"text": query}, "lexical": {"query": query}})
        return found["joiner"]["documents"]

    def ingest(pages: Sequence[Page]) -> Searchable[Any]:
        documents = [
            Document(
                content=page.text,
                meta={"page": page.id, "title": page.title, "project": page.project},
            )
            for page in pages
        ]
        indexing.run({"splitter": {"documents": documents}})
        return Searchable(
            search, _hits, lambda: [len(chunk.content) for chunk in store.filter_documents()]
        )

    return ingest


def _hits(found: Sequence[Any]) -> Iterable[Hit]:
    for document in found:
        start = document.meta["split_idx_start"]
        yield Hit(document.meta["page"], start, start + len(document.content), document.score)


if __name__ == "__main__":
    run(
        load,
        [
            "haystack-ai",
            "sentence-transformers-haystack",
            "sentence-transformers",
            "transformers",
            "torch",
        ],
    )

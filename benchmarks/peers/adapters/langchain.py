"""LangChain: FAISS alone, and FAISS and BM25 in an EnsembleRetriever.

Splitting by https://docs.langchain.com/oss/python/langchain/knowledge-base (“the recommended text
splitter for generic text”, 1,000 characters, 200 of overlap, `add_start_index`); `hybrid` by
https://python.langchain.com/docs/how_to/ensemble_retriever/ (BM25Retriever and FAISS, weights 0.5
and 0.5). Those pages keep such as title and project as metadata for filters and citations; they are not embedded.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.peers.contract import Hit, Page, Task
from benchmarks.peers.measure import Ingest, Searchable, run

CHUNK_CHARS = 1000
CHUNK_OVERLAP = 200


def load(task: Task) -> Ingest:
    """Load the embedding model; `hybrid` adds BM25 to the dense retriever."""
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_community.retrievers import BM25Retriever
    from langchain_community.vectorstores import FAISS
    from langchain_core.documents import Document
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    model = HuggingFaceEmbeddings(model_name=task.model, model_kwargs={"device": "cpu"})
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=CHUNK_CHARS, chunk_overlap=CHUNK_OVERLAP, add_start_index=True
    )

    def ingest(pages: Sequence[Page]) -> Searchable[Any]:
        documents = [
            Document(
                page_content=page.text,
                metadata={"source": page.id, "title": page.title, "project": page.project},
            )
            for page in pages
        ]
        chunks = splitter.split_documents(documents)
        store = FAISS.from_documents(chunks, model)

        def chunk_chars() -> list[int]:
            return [len(chunk.page_content) for chunk in chunks]

        if task.variant == "dense":

            def search(query: str) -> list[tuple[Document, float | None]]:
                return store.similarity_search_with_score(query, k=task.k)

            return Searchable(search, _hits, chunk_chars)

        lexical = BM25Retriever.from_documents(chunks)
        lexical.k = task.k
        dense = store.as_retriever(search_kwargs={"k": task.k})
        ensemble = EnsembleRetriever(retrievers=[lexical, dense], weights=[0.5, 0.5])

        def fused(query: str) -> list[tuple[Document, float | None]]:
            return [(document, None) for document in ensemble.invoke(query)]

        return Searchable(fused, _hits, chunk_chars)

    return ingest


def _hits(found: Sequence[tuple[Any, float | None]]) -> Iterable[Hit]:
    for document, distance in found:
        start = document.metadata["start_index"]
        score = None if distance is None else -float(distance)  # FAISS gives an L2 distance
        yield Hit(document.metadata["source"], start, start + len(document.page_content), score)


if __name__ == "__main__":
    run(
        load,
        [
            "langchain-core",
            "langchain-classic",
            "langchain-community",
            "langchain-huggingface",
            "langchain-text-splitters",
            "faiss-cpu",
            "rank-bm25",
            "sentence-transformers",
            "transformers",
            "torch",
        ],
    )

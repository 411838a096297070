"""LlamaIndex: BM25 and vectors fused by reciprocal rank, and what it does when left alone.

`hybrid` follows https://developers.llamaindex.ai/python/framework/integrations/retrievers/
reciprocal_rerank_fusion/: 256-token chunks, BM25 over the index's docstore, and `num_queries=1` as
its comment says for fusion without an LLM. That page leaves the overlap at SentenceSplitter's 200
tokens, more than twice the chunks; this takes the 20 that https://developers.llamaindex.ai/python/
framework/optimizing/basic_strategies/basic_strategies/ calls the default. `stock` is
`VectorStoreIndex.from_documents(documents)` and nothing else: 1,024-token chunks, dense only.

Metadata, here title and project, is embedded and matched in front of the text by default.
Works offline: the wheel of llama-index-core holds nltk's punkt and tiktoken's encoding.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.peers.contract import Hit, Page, Task
from benchmarks.peers.measure import Ingest, Searchable, run

CHUNK_TOKENS = 256
CHUNK_OVERLAP = 20


def load(task: Task) -> Ingest:
    """Load the embedding model; the variants differ in how they split and retrieve."""
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.retrievers.bm25 import BM25Retriever

    model = HuggingFaceEmbedding(model_name=task.model, device="cpu")
    splitter = SentenceSplitter(chunk_size=CHUNK_TOKENS, chunk_overlap=CHUNK_OVERLAP)

    def ingest(pages: Sequence[Page]) -> Searchable[Any]:
        documents = [
            Document(
                text=page.text, metadata={"project": page.project, "title": page.title}, id_=page.id
            )
            for page in pages
        ]
        index = VectorStoreIndex.from_documents(
            documents,
            embed_model=model,
            transformations=[splitter] if task.variant == "hybrid" else None,
        )
        retriever = index.as_retriever(similarity_top_k=task.k)
        if task.variant == "hybrid":
            lexical = BM25Retriever.from_defaults(docstore=index.docstore, similarity_top_k=task.k)
            retriever = QueryFusionRetriever(
                [retriever, lexical],
                llm=MockLLM(),  # never asked, but without one it looks for OpenAI's
                similarity_top_k=task.k,
                num_queries=1,
                mode="reciprocal_rerank",
                use_async=True,
            )
        nodes = index.docstore.docs.values()
        return Searchable(retriever.retrieve, _hits, lambda: [len(node.text) for node in nodes])

    return ingest


def _hits(found: Sequence[Any]) -> Iterable[Hit]:
    for scored in found:
        node = scored.node
        yield Hit(node.ref_doc_id, node.start_char_idx, node.end_char_idx, float(scored.score))


if __name__ == "__main__":
    run(
        load,
        [
            "llama-index-core",
            "llama-index-embeddings-huggingface",
            "llama-index-retrievers-bm25",
            "sentence-transformers",
            "transformers",
            "torch",
        ],
    )

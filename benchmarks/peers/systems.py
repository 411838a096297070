"""The systems compared, in the order in which they run and stand in the tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """One row. `adapter` is a module of `benchmarks.peers.adapters`, which knows `variant`.

    `environment` names a file in `requirements/`; None is the product's own environment.
    """

    name: str
    label: str
    adapter: str
    variant: str
    environment: str | None
    configuration: str


SYSTEMS = (
    System(
        "casebook",
        "**Casebook**",
        "casebook",
        "reranked",
        None,
        "chunks along headings; cosine + BM25, then the packaged cross-encoder",
    ),
    System(
        "casebook-plain",
        "**Casebook**, no reranking",
        "casebook",
        "plain",
        None,
        "the same without the cross-encoder",
    ),
    System(
        "llamaindex",
        "LlamaIndex, hybrid",
        "llamaindex",
        "hybrid",
        "llamaindex",
        "SentenceSplitter 256/20 tokens; VectorStoreIndex + BM25Retriever, "
        "QueryFusionRetriever by reciprocal rank, one query; title and project embedded as metadata",
    ),
    System(
        "llamaindex-stock",
        "LlamaIndex, stock",
        "llamaindex",
        "stock",
        "llamaindex",
        "VectorStoreIndex.from_documents: 1,024/200 tokens, dense only; title and project embedded as metadata",
    ),
    System(
        "langchain",
        "LangChain, hybrid",
        "langchain",
        "hybrid",
        "langchain",
        "RecursiveCharacterTextSplitter 1,000/200 characters; FAISS + BM25Retriever in an "
        "EnsembleRetriever, 0.5 each",
    ),
    System(
        "langchain-dense",
        "LangChain, dense",
        "langchain",
        "dense",
        "langchain",
        "the same splitter; FAISS only",
    ),
    System(
        "haystack",
        "Haystack, hybrid",
        "haystack",
        "hybrid",
        "haystack",
        "DocumentSplitter 200 words; InMemoryDocumentStore, embedding + BM25 retrievers, "
        "DocumentJoiner by reciprocal rank; title and project embedded as metadata",
    ),
    System(
        "txtai",
        "txtai, hybrid",
        "txtai",
        "hybrid",
        "txtai",
        "Segmentation by paragraphs; Embeddings(hybrid=True, content=True)",
    ),
)

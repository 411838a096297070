"""The models that answering takes, loaded once and shared."""

from dataclasses import dataclass

from assistant.batching import BatchingEmbedder
from assistant.settings import Settings
from index.embedder import Embedder, load_embedder
from index.reranker import Reranker, load_reranker
from index.span_reader import SpanReader


@dataclass(frozen=True)
class Models:
    """An embedder to find passages, a reranker to order them, a reader to tell whether they answer."""

    embedder: Embedder
    reranker: Reranker
    span_reader: SpanReader


def load_models(settings: Settings) -> Models:
    """The models that the settings name; raises `ModelUnavailable`."""
    embedder = BatchingEmbedder(load_embedder(settings.embedder))
    return Models(embedder, load_reranker(settings.reranker), SpanReader())

"""Made-up documents with random vectors, for what is measured or tested without a model."""

import time

import numpy as np
from numpy.typing import NDArray

from index.catalog import Catalog
from index.schema import Chunk, Document, DocumentId, EmbeddingKey, Labels, Revision, content_hash

MODEL, DIMENSION = "random", 384

PUBLIC: Labels = frozenset({"public"})

WORDS = [f"word{number}" for number in range(500)]


def random_vector(seed: str) -> NDArray[np.float32]:
    """`(DIMENSION,) float32`, a unit row that is always the same for a seed."""
    dice = np.random.default_rng(int(content_hash(seed)[:16], 16))
    vector = dice.standard_normal(DIMENSION, dtype=np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def words(seed: str, count: int) -> str:
    """Some words that are always the same for a seed."""
    dice = np.random.default_rng(int(content_hash(seed)[:16], 16))
    return " ".join(dice.choice(WORDS, count))


def stored(catalog: Catalog, name: str, text: str, labels: Labels = PUBLIC) -> int:
    """Store a document of one chunk with its vector; returns its row."""
    document = Document(
        id=DocumentId(name),
        title=name,
        text=text,
        source=name,
        kind="page",
        revision=Revision(content_hash(text)),
        modified_at=None,
        ingested_at=f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}+00:00",
        access=labels,
        metadata={},
    )
    key = EmbeddingKey(content_hash(MODEL, name, text))
    chunk = Chunk(start=0, end=len(text), body_start=0, heading_path=(), tokens=len(text.split()))
    with catalog.transaction():
        row = catalog.add_document(document, name, content_hash(text), [(chunk, key)])
    catalog.add_embeddings([key], random_vector(text)[None])
    return row

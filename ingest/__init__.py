"""How sources become documents, chunks and a new index state."""

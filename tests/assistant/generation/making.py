"""Made-up candidates for tests of generation."""

from index.retriever import Candidate
from index.schema import Chunk, Document, DocumentId, Passage, Revision


def passage(text: str, document: str = "a", title: str = "Backups", row: int = 0) -> Candidate:
    """A candidate that is the whole of a document under one heading."""
    whole = Document(
        id=DocumentId(document),
        title=title,
        text=text,
        source=document,
        kind="note",
        revision=Revision("1"),
        modified_at=None,
        ingested_at="2026-01-01T00:00:00+00:00",
        access=frozenset({"public"}),
    )
    chunk = Chunk(0, len(text), 0, (title, "Retention"), 0)
    return Candidate(Passage(row, whole, chunk), {}, {})

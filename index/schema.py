"""The vocabulary of Casebook as types; see `docs/architecture.md` for the words."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

DocumentId = NewType("DocumentId", str)
Revision = NewType("Revision", str)
StateId = NewType("StateId", str)
EmbeddingKey = NewType("EmbeddingKey", str)

Labels = frozenset[str]


@dataclass(frozen=True)
class Document:
    """One source item at one revision; `text` is the curated markdown that citations point into.

    `access` holds the labels that may read it; `source_name` is that of the configured source it came
    from, empty for files named on the command line; times are ISO 8601 in UTC.
    """

    id: DocumentId
    title: str
    text: str
    source: str
    kind: str
    revision: Revision
    modified_at: str | None
    ingested_at: str
    access: Labels
    source_name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, ...]:
        """Where the document stands, for people and for embedding: its project, if the metadata
        name one, and its title. Without a project every FAQ is called "FAQ".
        """
        project = self.metadata.get("project")
        return (project, self.title) if isinstance(project, str) else (self.title,)


@dataclass(frozen=True)
class Chunk:
    """A span `[start, end)` of its document's text, in characters, and where it stands.

    `heading_path` begins at the document's top heading and ends at the chunk's own section.
    `body_start` skips the heading lines that the span begins with: `text[body_start:end]` is
    what the section says. `tokens` is counted by tiktoken over `[start, end)`.
    """

    start: int
    end: int
    body_start: int
    heading_path: tuple[str, ...]
    tokens: int

    @property
    def section(self) -> str:
        """The last heading above the chunk, or an empty string above any heading."""
        return self.heading_path[-1] if self.heading_path else ""


@dataclass(frozen=True)
class Passage:
    """A chunk together with the document (at one revision) that it is a slice of."""

    row: int
    document: Document
    chunk: Chunk

    @property
    def text(self) -> str:
        """The slice of the document that the chunk names."""
        return self.document.text[self.chunk.start : self.chunk.end]

    @property
    def body(self) -> str:
        """The slice without the heading lines in front."""
        return self.document.text[self.chunk.body_start : self.chunk.end]

    @property
    def contextual_text(self) -> str:
        """What is embedded, matched and reranked for this passage."""
        return contextual_text(self.document.place, self.chunk.heading_path, self.body)


def content_hash(*parts: str) -> str:
    """SHA-256 over the parts, each ended by a NUL so that no two lists of parts collide."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def contextual_text(place: tuple[str, ...], heading_path: tuple[str, ...], body: str) -> str:
    """What is embedded, matched and reranked for a chunk: where it stands in front of what it says.

    `place` is its document's.
    """
    context = dict.fromkeys((*place, *heading_path))
    return f"{' > '.join(part for part in context if part)}\n{body}"

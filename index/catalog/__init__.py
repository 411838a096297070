"""The catalog: every document, chunk and vector, in one SQLite file; the truth the rest derives from.

Rows of documents, chunks and embeddings never change once written, and a state is a list of
document rows. So a reader that began with one state reads the same rows while a writer adds
others, and the switch to a new state is one transaction. Every row is sealed, and checked when it is
read: what is damaged is refused by name.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from index.catalog.checks import check_catalog
from index.catalog.database import Database
from index.catalog.directory import Directory
from index.catalog.documents import Documents
from index.catalog.embeddings import Embeddings
from index.catalog.rows import (
    ChunkRow,
    DocumentRow,
    SegmentRow,
    State,
    document_digest,
    labels_of,
    utc_now,
)
from index.catalog.states import States

__all__ = [
    "Catalog",
    "ChunkRow",
    "DocumentRow",
    "SegmentRow",
    "State",
    "document_digest",
    "labels_of",
    "utc_now",
]


class Catalog(States, Documents, Embeddings):
    """The truth behind an index. Safe to share between threads.

    Raises `IndexUnavailable` where the file is damaged or of another format.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._db = Database(path, create=create)
        self._directory = Directory(self._db)
        self._recent = {}

    def close(self) -> None:
        """Close the file; the catalog can't be used after."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is written, or nothing is."""
        return self._db.transaction()

    def copy_to(self, path: Path) -> None:
        """Write a copy of the catalog as it is at one moment, while others go on writing."""
        self._db.copy_to(path)

    def check(self) -> list[str]:
        """Everything in the catalog that is not what was written, in words; empty when it is whole."""
        return check_catalog(self._db)

    def source_statuses(self) -> dict[str, Any]:
        """What is known of each source's last sync, by its name, as it was noted."""
        statuses: dict[str, Any] = self._db.fact("sources")
        return statuses

    def set_source_status(self, name: str, status: Mapping[str, Any] | None) -> None:
        """Note how a source's last sync went; None forgets the source."""
        with self._db.told():
            statuses = {each: had for each, had in self.source_statuses().items() if each != name}
            self._db.set_fact(
                "sources", statuses if status is None else statuses | {name: dict(status)}
            )

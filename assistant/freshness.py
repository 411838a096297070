"""Freshness: whether a source is still what was ingested, and how old it may be before we say so."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from index.catalog import DocumentRow, utc_now
from index.schema import Document


@dataclass(frozen=True)
class Freshness:
    """What is known of the age of documents.

    `base`: the folder that files' paths are relative to; `folders`: the names of the sources whose
    documents are files on this machine; `stale_after`: by name of the source.
    """

    base: Path
    folders: frozenset[str] = frozenset({""})
    stale_after: Mapping[str, timedelta] = field(default_factory=dict)
    now: Callable[[], datetime] = utc_now

    def is_stale(self, document: Document | DocumentRow) -> bool:
        """Whether the file behind a document has changed or gone since it was ingested.

        False where the folder it came from is not on this machine: then nothing can be known.
        """
        path = self.base / document.source
        if document.source_name not in self.folders or not path.parent.is_dir():
            return False
        try:
            status = path.stat()
            digest = _digest(path, status.st_mtime_ns, status.st_size)
        except OSError:
            return True
        return not digest.startswith(document.revision)

    def is_overdue(self, document: Document, synced_at: str | None) -> bool:
        """Whether a document is older than its source's `stale_after`: not changed for so long, or
        not looked at.
        """
        longest = self.stale_after.get(document.source_name)
        if longest is None:
            return False
        known = [each for each in (document.modified_at, synced_at) if each]
        return any(self.now() - as_time(each) > longest for each in known)

    def notice(
        self, documents: Sequence[tuple[int, Document]], synced: Mapping[str, str | None]
    ) -> str | None:
        """A word of warning about the numbered citations whose documents are overdue."""
        overdue = {
            n: document
            for n, document in documents
            if self.is_overdue(document, synced.get(document.source_name))
        }
        if not overdue:
            return None
        numbers = ", ".join(f"[{n}]" for n in overdue)
        longest = max(self.stale_after[each.source_name] for each in overdue.values())
        return (
            f"{numbers} may be out of date: unchanged, or not looked at, for more than "
            f"{_in_words(longest)}."
        )


def as_time(stated: str) -> datetime:
    """A time in ISO 8601; one that names no zone is in UTC."""
    time = datetime.fromisoformat(stated)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _in_words(length: timedelta) -> str:
    minutes = max(1, round(length.total_seconds() / 60))
    if length.days > 1:
        return f"{length.days} days"
    return f"{round(minutes / 60)} h" if minutes >= 120 else f"{minutes} min"


@lru_cache(maxsize=4096)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file; read again only when its time or size changes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

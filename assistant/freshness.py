"""Freshness: whether a source is still what was ingested, where that can be known."""

import hashlib
from functools import lru_cache
from pathlib import Path

from index.schema import Document


def is_stale(document: Document, base: Path) -> bool:
    """Whether the file behind a document has changed or gone since it was ingested.

    False where the folder it came from is not on this machine: then nothing can be known.
    """
    path = base / document.source
    if not path.parent.is_dir():
        return False
    try:
        status = path.stat()
        return not _digest(path, status.st_mtime_ns, status.st_size).startswith(document.revision)
    except OSError:
        return True


@lru_cache(maxsize=4096)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file; read again only when its time or size changes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

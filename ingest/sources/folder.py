"""The folder source: documents that lie in files and folders on this machine."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from index.errors import InvalidInput, ParseError
from ingest.parsers import SUFFIXES
from ingest.parsers.text import printable
from ingest.sources.patterns import Patterns
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable

LARGEST = 50 * 1024 * 1024
"""Bytes; what is larger is no document."""


@dataclass(frozen=True)
class FolderSource:
    """Files under some paths; an item's id is its path relative to `base`, where it lies there.

    Hidden files and folders are left alone, and links are not followed out of a folder. A file named
    itself is read whatever its suffix.
    """

    name: str
    paths: Sequence[Path]
    base: Path
    patterns: Patterns = field(default_factory=Patterns)
    suffixes: frozenset[str] = SUFFIXES

    def list(self) -> Listing:
        """Every readable document, in a stable order; raises `InvalidInput`, or with a name
        `SourceUnavailable`, for a path that is absent.
        """
        items: dict[str, Item] = {}
        skipped: list[Skipped] = []
        passed_over = 0
        for path in self.paths:
            if not _exists(path):
                # A configured folder may be a disk that is not mounted; a path just typed is a slip.
                error = SourceUnavailable if self.name else InvalidInput
                raise error(f"there is nothing at {path}: give a file or a folder that exists")
            for file in [path] if path.is_file() else _walk(path):
                item = self._id(file)
                if file != path and not self._is_document(item):
                    passed_over += 1
                elif reason := _unreadable(item, file):
                    skipped.append(Skipped(printable(item), reason))
                else:
                    items[item] = Item(item, _digest(file))
        roots = tuple(self._id(path) for path in self.paths)
        ordered = tuple(items[item] for item in sorted(items))
        return Listing(ordered, None, passed_over, tuple(skipped), roots)

    def read(self, item: Item) -> Content:
        """A file's bytes; raises `ParseError`."""
        path = self.base / item.id
        if not self._inside(path):
            raise ParseError(f"{item.id} leads out of its folder now: put the file itself there")
        try:
            data = path.read_bytes()
            changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        except OSError as error:
            raise ParseError(f"{item.id} can't be read: {error.strerror or error}") from error
        return Content(
            body=data,
            uri=source_of(path, Path.cwd()) if self.name else item.id,
            revision=hashlib.sha256(data).hexdigest()[:16],
            modified_at=changed.isoformat(),
            kind=kind_of(item.id),
        )

    def close(self) -> None:
        """Nothing is kept open."""

    def beside(self, path: str) -> bytes | None:
        """A file that a document includes: inside one of the folders, or None."""
        target = (self.base / path).resolve()
        if not self._inside(target) or not target.is_file() or target.stat().st_size > LARGEST:
            return None
        return target.read_bytes()

    def _inside(self, path: Path) -> bool:
        """Whether what lies at a path now lies in one of the folders; since it was listed it may have become
        a link.
        """
        return any(path.resolve().is_relative_to(root.resolve()) for root in self.paths)

    def _id(self, path: Path) -> str:
        return source_of(path, self.base)

    def _is_document(self, item: str) -> bool:
        return PurePosixPath(item).suffix.lower() in self.suffixes and self.patterns.take(item)


def kind_of(path: str) -> str:
    """What kind of document lies at a path, by the names that engineers give their folders and files."""
    pure = PurePosixPath(path.lower())
    folders = set(pure.parts[:-1])
    if folders & {"adr", "adrs", "decisions"}:
        return "adr"
    if folders & {"runbook", "runbooks", "playbook", "playbooks"}:
        return "runbook"
    if pure.stem == "readme":
        return "readme"
    return "page" if pure.suffix in (".html", ".htm") else "note"


def source_of(path: Path, base: Path) -> str:
    """The path as citations show it: relative to `base` if it lies there, with forward slashes."""
    absolute = Path(os.path.abspath(path))
    root = Path(os.path.abspath(base))
    return (
        absolute.relative_to(root).as_posix()
        if absolute.is_relative_to(root)
        else absolute.as_posix()
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _unreadable(item: str, path: Path) -> str | None:
    """Why a file is not even tried, if so."""
    if printable(item) != item:
        return f"{printable(item)}: its name holds what is no printable text: rename it"
    size = path.stat().st_size
    if size > LARGEST:
        return (
            f"{item} is {size // 2**20} MiB, and documents are read up to {LARGEST // 2**20}: "
            "split it, or exclude it"
        )
    return None


def _digest(path: Path) -> str:
    """SHA-256 of a file, or what makes the reading of it be tried and fail with a reason."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"

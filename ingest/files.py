"""The files source: documents that lie in folders on this machine."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from index.errors import InvalidInput, ParseError
from ingest.parsers import SUFFIXES


@dataclass(frozen=True)
class Item:
    """A file to ingest: `source` is how a citation names it, relative to `base` where it can be."""

    source: str
    path: Path


@dataclass(frozen=True)
class Listing:
    """What lies under some paths: the files to read, and how many others were passed over."""

    items: tuple[Item, ...]
    roots: tuple[str, ...]
    skipped: int


def list_files(paths: Sequence[Path], base: Path) -> Listing:
    """Every readable document under the paths, in a stable order.

    A file named itself is listed whatever its suffix. Hidden files and folders are left alone,
    and links are not followed out of a folder. Raises `InvalidInput` for a path that is absent.
    """
    items: dict[str, Item] = {}
    skipped = 0
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"there is nothing at {path}: give a file or a folder that exists")
        if path.is_file():
            items[source_of(path, base)] = Item(source_of(path, base), path)
            continue
        for file in _walk(path):
            if file.suffix.lower() in SUFFIXES:
                items[source_of(file, base)] = Item(source_of(file, base), file)
            else:
                skipped += 1
    roots = tuple(source_of(path, base) for path in paths)
    return Listing(tuple(items[source] for source in sorted(items)), roots, skipped)


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def source_of(path: Path, base: Path) -> str:
    """The path as citations show it: relative to `base` if it lies there, with forward slashes."""
    absolute = Path(os.path.abspath(path))
    root = Path(os.path.abspath(base))
    return (
        absolute.relative_to(root).as_posix()
        if absolute.is_relative_to(root)
        else absolute.as_posix()
    )


def lies_under(source: str, roots: Sequence[str]) -> bool:
    """Whether a document's source is one of the roots or inside one."""
    return any(root in (".", source) or source.startswith(f"{root}/") for root in roots)


def read(item: Item) -> tuple[bytes, str, datetime]:
    """The bytes of a file, their SHA-256 and its time of change; raises `ParseError`."""
    try:
        data = item.path.read_bytes()
        changed = datetime.fromtimestamp(int(item.path.stat().st_mtime), UTC)
    except OSError as error:
        raise ParseError(f"{item.source} can't be read: {error.strerror or error}") from error
    return data, hashlib.sha256(data).hexdigest(), changed

"""The git source: the documentation of a repository, and its code if asked for, at a branch or tag."""

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Self

from index.errors import ParseError
from ingest.parsers import SUFFIXES
from ingest.parsers.text import decode, printable, read_text, without_front_matter
from ingest.sources.folder import kind_of
from ingest.sources.patterns import Patterns
from ingest.sources.permalink import Links
from ingest.sources.repository import Blobs, Entry, Mirror
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable

LARGEST = 10 * 1024 * 1024
"""Bytes; what is larger is data, not a document."""

_MARKDOWN = frozenset({".md", ".markdown", ".mdx"})
_LFS = b"version https://git-lfs.github.com/spec/"
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999, which a damaged commit may claim to be past."""


@dataclass(frozen=True)
class GitSettings:
    """A repository to read: `url` is a path or URL, `ref` a branch or tag (default: the remote's HEAD).

    `patterns` choose among the documents, and with `code` among the source files too.
    """

    url: str
    ref: str | None = None
    patterns: Patterns = field(default_factory=Patterns)
    code: bool = False
    project: str | None = None
    token_file: Path | None = None


class Touch(NamedTuple):
    """The commit that gave a path its content (`blob`), and its committer's time, ISO 8601 in UTC."""

    blob: str
    commit: str
    time: str | None


class GitSource:
    """A repository's files at the tip of a branch or tag; an item's id is its path, its revision the
    blob's sha. `code_suffixes` says which files are source code, whether parsers list them or not.

    Close it after use, or use it in a `with` block: a git process stays open to read from.
    """

    def __init__(
        self,
        name: str,
        settings: GitSettings,
        folder: Path,
        *,
        code_suffixes: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.settings = settings
        self._code = code_suffixes if settings.code else frozenset[str]()
        self._suffixes = (SUFFIXES - code_suffixes) | self._code
        self._mirror = Mirror(settings.url, settings.ref, folder, token_file=settings.token_file)
        self.links = Links.to(settings.url)
        self._cache = Path(folder, "touches.json")
        self._touches: Mapping[str, Touch] | None = None
        self._blobs: Blobs | None = None

    def list(self) -> Listing:
        """Fetch what is new and list the files of the tip; raises `SourceUnavailable`."""
        commit = self._mirror.update()
        if commit is None:
            self._touches = {}
            return Listing(())
        items, skipped, passed_over = [], [], 0
        for entry in self._mirror.tree(commit):
            path = entry.path.decode(errors="surrogateescape")
            if entry.mode[:3] != "100" or not self._is_document(path):
                passed_over += 1  # links and submodules lead out of the commit
            elif reason := _unreadable(path, entry):
                skipped.append(Skipped(printable(path), reason))
            else:
                items.append(Item(path, entry.sha))
        self._touches = self._last_touches(commit, {item.id: item.revision for item in items})
        return Listing(tuple(items), commit, passed_over, tuple(skipped))

    def read(self, item: Item) -> Content:
        """A file's bytes, with its permalink; raises `ParseError`."""
        if self._touches is None:
            self._touches = _load(self._cache)[1]
        touch = self._touches.get(item.id)
        if touch is None or touch.blob != item.revision:
            raise ParseError(f"{item.id} is not in {self.links.base} as last listed: list it again")
        data = self._file(item.revision)
        if data is None:
            raise ParseError(
                f"{item.id} can't be read from the copy of {self.links.base}: "
                f"delete {self._mirror.path}, and the next sync fetches it anew"
            )
        if data.startswith(_LFS):
            raise ParseError(f"{item.id} lies in Git LFS, which is not fetched: exclude it")
        return Content(
            body=data if PurePosixPath(item.id).suffix else read_text(item.id, data),
            uri=self.links.page(touch.commit, item.id),
            revision=touch.commit[:12],
            modified_at=touch.time,
            kind=self._kind(item.id),
            metadata=self._metadata(item.id, touch.commit, data),
        )

    def beside(self, path: str) -> bytes | None:
        """A file of the same commit that a document includes, or None."""
        inside = posixpath.normpath(path)
        commit = self._mirror.commit()
        if commit is None or "\n" in inside or inside.startswith(("/", "../")):
            return None
        return self._file(f"{commit}:{inside}")

    def close(self) -> None:
        if self._blobs:
            self._blobs.close()
            self._blobs = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- files --------------------------------------------------------------------------------

    def _is_document(self, path: str) -> bool:
        pure = PurePosixPath(path)
        readable = pure.suffix.lower() in self._suffixes or pure.name.lower() == "readme"
        return readable and self.settings.patterns.take(path)

    def _file(self, name: str) -> bytes | None:
        """The bytes of an object, by one git process for all; after a fault the next gets a new one."""
        try:
            self._blobs = self._blobs or self._mirror.blobs()
        except SourceUnavailable as error:
            raise ParseError(str(error)) from error
        data = self._blobs.read(name)
        if data is None:
            self.close()
        return data

    def _kind(self, path: str) -> str:
        if PurePosixPath(path).suffix.lower() in self._code:
            return "code"
        kind = kind_of(path)
        return "page" if kind == "note" else kind

    def _metadata(self, path: str, commit: str, data: bytes) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "path": path,
            "commit": commit,
            "repository": self.links.base,
        }
        if self.settings.project is not None:
            metadata["project"] = self.settings.project
        lines, first = self.links.lines(commit, path), self._first_line(path, data)
        if lines and first:
            metadata |= {"lines": lines, "first_line": first}
        return metadata

    def _first_line(self, path: str, data: bytes) -> int | None:
        """The line of the file that its document begins at; None if a parser makes other lines."""
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in _MARKDOWN:
            whole = decode(path, data)
            return whole.count("\n", 0, len(whole) - len(without_front_matter(whole))) + 1
        return 1 if suffix in ("", ".txt") or suffix in self._code else None

    # --- last commits -------------------------------------------------------------------------

    def _last_touches(self, commit: str, wanted: Mapping[str, str]) -> dict[str, Touch]:
        """Which commit gave each path its content; only commits newer than the last listing are read.

        The log is that of blobs and not of names alone: a merge that drops one side's change leaves
        that side's commits in the log, and they are not where the content is from.
        """
        before, known = _load(self._cache)
        if before != commit and not (before and self._mirror.is_ancestor(before, commit)):
            known = {}  # a branch that was pushed by force no longer holds the commits known
        touches = {
            path: known[path]
            for path, blob in wanted.items()
            if path in known and known[path].blob == blob
        }
        if before != commit and known:
            touches |= self._log(f"{before}..{commit}", wanted)
        missing = {path: blob for path, blob in wanted.items() if path not in touches}
        if missing:
            touches |= self._log(commit, missing)
        if before != commit or missing or len(touches) != len(known):
            _save(self._cache, commit, touches)
        return touches

    def _log(self, commits: str, wanted: Mapping[str, str]) -> dict[str, Touch]:
        """The newest commit of each path in one pass, which ends as soon as all are seen."""
        options = ("-c", "--raw", "-z", "--no-abbrev", "--no-renames", "--format=%H %ct")
        found: dict[str, Touch] = {}
        with self._mirror.tokens("log", *options, commits, "--") as tokens:
            for path, touch in _touches(tokens):
                if path not in found and wanted.get(path) == touch.blob:
                    found[path] = touch
                    if len(found) == len(wanted):
                        break
        return found


def _unreadable(path: str, entry: Entry) -> str | None:
    """Why a file is not even tried, if so."""
    name = printable(path)
    if name != path:
        return f"{name}: its name holds what is no printable text: rename it"
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        return f"{name}: its name leads out of the repository: rename it"
    if entry.size > LARGEST:
        size = f"{entry.size / 2**20:.1f} MiB"
        return f"{name} is {size}, and files are read up to 10: split it, or exclude it"
    return None


def _touches(tokens: Iterator[bytes]) -> Iterator[tuple[str, Touch]]:
    """What `git log --raw -z` prints, as paths with the content that each commit gave them."""
    commit, time = "", None
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(b":"):
            blob = token.split()[-2].decode()
            path = next(tokens, b"").decode(errors="surrogateescape")
            yield path, Touch(blob, commit, time)
        elif token:
            commit, _, seconds = token.decode().partition(" ")
            time = utc(seconds)


def utc(seconds: str) -> str | None:
    """ISO 8601 in UTC of seconds since 1970; None of a damaged date."""
    if not seconds.isdigit() or int(seconds) > _LAST_SECOND:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


# --- the cache ------------------------------------------------------------------------------------


def _load(cache: Path) -> tuple[str | None, dict[str, Touch]]:
    """The commit last listed and the touches of its paths; nothing where there is no cache."""
    try:
        stored = json.loads(cache.read_bytes())
        touches = {path: Touch(*touch) for path, touch in stored["touches"].items()}
        return str(stored["commit"]), touches
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, {}  # it can be made again from the copy


def _save(cache: Path, commit: str, touches: Mapping[str, Touch]) -> None:
    fresh = cache.with_suffix(".new")
    fresh.write_text(json.dumps({"commit": commit, "touches": touches}))
    os.replace(fresh, cache)

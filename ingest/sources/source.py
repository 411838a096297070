"""What a source is: it lists items, each with a revision, and reads one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from index.errors import CasebookError
from ingest.parsers.parsed import Parsed


class SourceUnavailable(CasebookError):
    """A source can't be listed now: what was read from it before stays as it is."""

    status = 503
    exit_code = 8
    title = "Source unavailable"


@dataclass(frozen=True)
class Item:
    """One thing a source holds.

    `id` names it within the source, and stays when its content changes: a path with forward slashes,
    an issue's number, an address. `revision` differs whenever reading would give something else, and
    is known without reading: a hash, an ETag, a time of change.
    """

    id: str
    revision: str


@dataclass(frozen=True)
class Skipped:
    """An item that a source lists but can't give, and why: the summary of a sync names it."""

    item: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """Everything that a source holds now, by `id`.

    `revision` is that of the source as a whole, where it has one (a commit). `passed_over` counts
    what lies there and is no document by its name. `roots` names the part that was listed, if it is not
    all: what lies elsewhere stays as it was.
    """

    items: tuple[Item, ...]
    revision: str | None = None
    passed_over: int = 0
    skipped: tuple[Skipped, ...] = ()
    roots: tuple[str, ...] | None = None

    def covers(self, item: str) -> bool:
        """Whether an item that is not listed is gone, and not just outside of what was listed."""
        return self.roots is None or any(
            root in (".", item) or item.startswith(f"{root}/") for root in self.roots
        )


@dataclass(frozen=True)
class Content:
    """An item as read.

    `body`: bytes that a parser is to read, chosen by the suffix of the item's id; or markdown that
    the source has made itself. `uri`: where a person can open it, shown with citations. `revision`:
    short, shown with citations. `modified_at`: ISO 8601 in UTC. `labels`: who may read it, where the
    source itself knows. `metadata` is added to what the parser finds, and wins.

    `states_access`: whether front matter in the body may say who may read it; not where strangers write it.

    In `metadata`, `project` names what the document belongs to, if anything; `anchors` is a list of
    `[offset, address]` in order, which say where a person can open what begins at each offset of the
    markdown text; `lines` is an address with `{start}` and `{end}`, to be filled with numbers of lines,
    where the text is, from `first_line` on, the lines of a file; `parse_as` is the suffix of a parser,
    where that of the item's id does not tell.
    """

    body: bytes | Parsed
    uri: str
    revision: str
    modified_at: str | None
    kind: str
    labels: frozenset[str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    states_access: bool = True


class Source(Protocol):
    """A place that holds knowledge. Its constructor takes what `casebook.toml` says of it, and a folder
    for the copy it keeps (a mirror, tickets fetched so far), which it alone writes to.
    """

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    def list(self) -> Listing:
        """Bring the copy up to date and say what there is; raises `SourceUnavailable`.

        What was fetched before an interruption is not fetched again.
        """
        ...

    def beside(self, path: str) -> bytes | None:
        """A file that a document includes, by its path from the source's root; None where there is none,
        or the source has no files.
        """
        ...

    def close(self) -> None:
        """Let go of what listing and reading opened; it may be listed again."""
        ...

    def read(self, item: Item) -> Content:
        """One item of the last listing, from the copy alone; raises `ParseError`, which names it."""
        ...

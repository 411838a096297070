"""Tickets: one as a value and as markdown, and the store of those fetched so far."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from index.errors import ParseError
from ingest.parsers.parsed import Parsed
from ingest.parsers.text import storable
from ingest.sources.source import Content, Item, Skipped, SourceUnavailable

BODY_LEVEL = 3
"""The highest heading inside a body: `#` and `##` are the ticket's own, so no body can forge one."""

CLOSING_GRACE = timedelta(hours=1)
"""After a closing, what the closer still adds is its reason ("Closing, fixed in #15")."""

_COURTESY = re.compile(
    r"\W{0,9}((many )?thanks?( you)?( so much| very much| a lot)?|thx|1|same here|closing( this)?)?"
    r"\W{0,9}",
    re.IGNORECASE,
)
_RAW_ENDS = {"<pre": "</pre>", "<script": "</script>", "<style": "</style>"}
_RAW_ENDS |= {"<textarea": "</textarea>", "<!--": "-->", "<?": "?>", "<![cdata[": "]]>", "<!": ">"}

_markdown = MarkdownIt("commonmark")
_markdown.core.ruler.disable("inline")


@dataclass(frozen=True)
class Comment:
    """What somebody said under a ticket; `body` is markdown, dates ISO 8601 in UTC.

    `solution`: marked as the answer where it was written.
    """

    author: str
    created_at: str
    body: str
    url: str = ""
    by_machine: bool = False
    solution: bool = False


@dataclass(frozen=True)
class Ticket:
    """An issue or pull request; `resolved_by` holds lines of markdown that say what closed it."""

    key: str
    title: str
    state: str
    body: str
    url: str
    project: str
    author: str
    labels: tuple[str, ...]
    created_at: str
    updated_at: str
    closed_at: str | None = None
    closed_by: str | None = None
    resolved_by: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def as_content(
    ticket: Ticket, revision: str, labels: frozenset[str] | None = None, note: str = ""
) -> Content:
    """A ticket as one document; `note` is what else its source says in the line of its state."""
    title = f"{ticket.key}: {one_line(ticket.title) or 'Untitled'}"
    sections = [("", f"# {title}\n\n{_facts(ticket, note)}\n\n{embedded(ticket.body)}")]
    sections += _conversation(ticket)
    text, anchors = "", []
    for url, section in sections:
        anchors.append([len(text), url or ticket.url])
        text += section.rstrip() + "\n\n"
    people = [ticket.author, *(c.author for c in ticket.comments), ticket.closed_by or ""]
    return Content(
        body=Parsed(title, text.rstrip() + "\n", {}, dict(ticket.dropped)),
        uri=ticket.url,
        revision=revision[:12],
        modified_at=ticket.updated_at or None,
        kind="ticket",
        labels=labels,
        metadata={
            "project": ticket.project,
            "url": ticket.url,
            "state": ticket.state,
            "labels": list(ticket.labels),
            "participants": list(dict.fromkeys(name for name in people if name)),
            "created_at": ticket.created_at,
            "updated_at": ticket.updated_at,
            "closed_at": ticket.closed_at,
            "anchors": anchors,
        },
    )


def _facts(ticket: Ticket, note: str) -> str:
    facts = [f"State: {ticket.state}.", note]
    if ticket.labels:
        facts.append(f"Labels: {', '.join(map(one_line, ticket.labels))}.")
    facts.append(f"Opened by {one_line(ticket.author) or 'unknown'} on {ticket.created_at[:10]}.")
    if ticket.closed_at:
        by = f" by {one_line(ticket.closed_by)}" if ticket.closed_by else ""
        facts.append(f"Closed{by} on {ticket.closed_at[:10]}.")
    return " ".join(fact for fact in facts if fact)


def _conversation(ticket: Ticket) -> list[tuple[str, str]]:
    """The sections after the description, each with the address of what it shows."""
    found = resolving(ticket)
    sections = []
    for comment in ticket.comments:
        heading = "Resolution: comment" if comment is found else "Comment"
        name = one_line(comment.author) or "unknown"
        heading = f"## {heading} by {name}, {comment.created_at[:10]}"
        sections.append((comment.url, f"{heading}\n\n{embedded(comment.body)}"))
    if ticket.resolved_by:
        sections.append(("", "## Resolution\n\n" + "\n\n".join(ticket.resolved_by)))
    return sections


def resolving(ticket: Ticket) -> Comment | None:
    """The comment that resolved a closed ticket, as far as can be told.

    The one marked as solution; else the last that a person wrote before the closing, or the closer
    soon after, leaving out mere thanks.
    """
    marked = [comment for comment in ticket.comments if comment.solution]
    if marked or not ticket.closed_at or ticket.state == "merged":
        return marked[-1] if marked else None
    closed = datetime.fromisoformat(ticket.closed_at)

    def counts(comment: Comment) -> bool:
        if comment.by_machine or not comment.created_at or _COURTESY.fullmatch(comment.body):
            return False
        grace = CLOSING_GRACE if comment.author == ticket.closed_by else timedelta(0)
        return datetime.fromisoformat(comment.created_at) <= closed + grace

    return next((each for each in reversed(ticket.comments) if counts(each)), None)


# --- bodies -----------------------------------------------------------------------------------


def embedded(body: str) -> str:
    """A body as a part of a larger document: its headings below ours, and nothing left open at
    its end that would swallow what follows. Fenced code stays as it is; comments nobody sees go.
    """
    text = storable(body).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    text = _without_comments(text).strip("\n")
    lines = text.split("\n")
    tokens = _markdown.parse(text)
    headings = [token for token in tokens if token.type == "heading_open" and token.map]
    top = min((int(token.tag[1:]) for token in headings), default=BODY_LEVEL)
    for token in reversed(headings):
        _demote(lines, token, max(0, BODY_LEVEL - top))
    return "\n".join(lines).rstrip() + _closing(tokens, len(text.split("\n")), lines)


def _without_comments(text: str) -> str:
    """Without the HTML comments of issue templates, but those in code."""
    lines = text.split("\n")
    for token in reversed(_markdown.parse(text)):
        if token.type == "html_block" and token.map and "<!--" in token.content:
            start, end = token.map
            lines[start:end] = _visible("\n".join(lines[start:end])).split("\n")
    return "\n".join(lines)


def _visible(html: str) -> str:
    pieces, end = [], 0
    while (start := html.find("<!--", end)) >= 0 and (close := html.find("-->", start)) >= 0:
        pieces.append(html[end:start])
        end = close + len("-->")
    return "".join([*pieces, html[end:]])


def _demote(lines: list[str], token: Token, by: int) -> None:
    """One heading, `# so` or underlined, as `#` lower by some levels; six is the lowest."""
    start, end = token.map or (0, 0)
    marks = "#" * min(6, int(token.tag[1:]) + by)
    if token.markup.startswith("#"):
        lines[start] = re.sub(r"#{1,6}", marks, lines[start], count=1)
    elif end - start >= 2:
        # What stands in front (a quote's `>`, a list's dash) stays there.
        front, *more = lines[start : end - 1]
        # Each part may be empty, so it always matches.
        margin, words = re.match(r"([ >]*(?:[-*+][ ]+|\d+[.)][ ]+)?)(.*)", front, re.S).groups()  # type: ignore[union-attr]
        words = " ".join([words, *(line.strip(" >") for line in more)])
        lines[start:end] = [f"{margin}{marks} {words.strip()}"]


def _closing(tokens: Sequence[Token], count: int, lines: Sequence[str]) -> str:
    """What ends a code or HTML block that its author left open to the end."""
    last = next((token for token in reversed(tokens) if token.map and token.nesting >= 0), None)
    if last is None or last.level or last.map is None or last.map[1] < count:
        return ""
    if last.type == "fence":
        closed = last.map[1] - last.map[0] > 1 and re.fullmatch(
            rf" {{0,3}}{re.escape(last.markup[0])}{{{len(last.markup)},}}[ \t]*", lines[-1]
        )
        return "" if closed else f"\n{last.markup}"
    if last.type == "html_block":
        content = last.content.lstrip().lower()
        end = next((end for start, end in _RAW_ENDS.items() if content.startswith(start)), "")
        return f"\n{end}" if end and end not in content else ""
    return ""


def one_line(text: str) -> str:
    return " ".join(storable(text).replace("\0", "").split())


def web_address(address: object) -> str:
    """An address that a browser may be sent to, else nothing: exports can hold anything."""
    found = re.fullmatch(r"https?://[^\s<>\"'()\\]{1,2000}", str(address or ""))
    return found[0] if found else ""


def utc(stamp: str | None) -> str | None:
    """A time as ISO 8601 in UTC, from ISO or from an e-mail's way of writing it."""
    if not stamp:
        return None
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        time = parsedate_to_datetime(stamp)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


# --- the store --------------------------------------------------------------------------------

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY, data TEXT NOT NULL, digest TEXT NOT NULL, origin TEXT, counted TEXT,
    seen INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS comments (
    id TEXT PRIMARY KEY, ticket TEXT NOT NULL, data TEXT NOT NULL, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tickets_of ON tickets (origin);
CREATE INDEX IF NOT EXISTS comments_of ON comments (ticket);
CREATE TABLE IF NOT EXISTS resolves (
    ticket TEXT NOT NULL, resolved TEXT NOT NULL, PRIMARY KEY (ticket, resolved)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resolved_by ON resolves (resolved);
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, value TEXT NOT NULL);
COMMIT;
"""

Data = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """A ticket as its source gave it, with its comments and the tickets that resolve it."""

    data: Data
    comments: tuple[Data, ...]
    resolved_by: tuple[Data, ...]


class TicketStore:
    """Tickets and comments as fetched, by id, and the cursors that say how far a listing came.

    Everything is written inside `transaction()`, a page together with its cursor, so that an
    interruption leaves whole pages and a place to go on from. Damage raises `SourceUnavailable`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._guarded():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SourceUnavailable(
                f"the copy of tickets at {self._path} can't be used ({error}): make room for it, "
                "or delete it, and all is fetched again"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:  # an interruption, too, must leave nothing half written
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guarded():
            return self._db.execute(sql, values).fetchall()

    def cursor(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM cursors WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_cursor(self, name: str, value: str | None) -> None:
        if value is None:
            self._db.execute("DELETE FROM cursors WHERE name = ?", (name,))
        else:
            self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, value))

    def put_ticket(
        self, id: str, data: Data, resolves: Iterable[str] = (), origin: str | None = None
    ) -> None:
        """Add or replace a ticket; `resolves` are the ids of those that it closed, `origin` the file
        it came from, or what its source knows it by if that is not its id.
        """
        text, digest = _packed(data)
        self._db.execute(
            "INSERT INTO tickets (id, data, digest, origin, seen) VALUES (?, ?, ?, ?, 1) "
            "ON CONFLICT (id) DO UPDATE SET data = excluded.data, digest = excluded.digest, "
            "origin = excluded.origin, seen = 1",
            (id, text, digest, origin),
        )
        self._db.execute("DELETE FROM resolves WHERE ticket = ?", (id,))
        pairs = [(id, each) for each in set(resolves) if each != id]
        self._db.executemany("INSERT INTO resolves VALUES (?, ?)", pairs)

    def put_comment(self, id: str, ticket: str, data: Data) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO comments VALUES (?, ?, ?, ?)", (id, ticket, *_packed(data))
        )

    def replace_comments(self, ticket: str, comments: Mapping[str, Data], like: str = "%") -> None:
        """Make a ticket's comments these and no others, of those whose ids are `like` a pattern."""
        self._db.execute("DELETE FROM comments WHERE ticket = ? AND id LIKE ?", (ticket, like))
        for id, data in comments.items():
            self.put_comment(id, ticket, data)

    def remove(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._db.execute("DELETE FROM tickets WHERE id = ?", (id,))
            self._db.execute("DELETE FROM comments WHERE ticket = ?", (id,))
            self._db.execute("DELETE FROM resolves WHERE ticket = ?", (id,))

    def forget_seen(self) -> None:
        """Begin a full listing: whatever is not put from now on is `unseen`."""
        self._db.execute("UPDATE tickets SET seen = 0")

    def ids(self) -> set[str]:
        return {str(id) for (id,) in self._rows("SELECT id FROM tickets")}

    def of_origin(self, origin: str) -> list[str]:
        """The ids of the tickets that were put with this origin."""
        return [str(id) for (id,) in self._rows("SELECT id FROM tickets WHERE origin = ?", origin)]

    def unseen(self) -> list[str]:
        return [str(id) for (id,) in self._rows("SELECT id FROM tickets WHERE seen = 0")]

    def remove_but_of(self, origins: Iterable[str]) -> None:
        """Remove all tickets but those that came from some files."""
        keep = set(origins)
        rows = self._rows("SELECT id, origin FROM tickets")
        self.remove(id for id, origin in rows if origin not in keep)

    def miscounted(self, like: str) -> list[tuple[str, str]]:
        """Tickets that say they have another number of comments than are stored, with digests.

        Those that `counted` were told of are left out until they change. What they say is
        `comment_count` in their data; the comments counted are those whose ids are `like` a pattern.
        """
        rows = self._rows(
            "SELECT id, digest FROM tickets WHERE counted IS NOT digest AND "
            "coalesce(json_extract(data, '$.comment_count'), 0) != "
            "(SELECT count(*) FROM comments WHERE ticket = tickets.id AND id LIKE ?)",
            like,
        )
        return [(str(id), str(digest)) for id, digest in rows]

    def set_counted(self, id: str, digest: str) -> None:
        self._db.execute("UPDATE tickets SET counted = ? WHERE id = ?", (digest, id))

    def items(self, salt: str = "") -> tuple[Item, ...]:
        """Every ticket with a revision made of it, its comments, and what resolves it."""
        parts: dict[str, list[str]] = {}
        for id, digest in self._rows("SELECT id, digest FROM tickets ORDER BY id"):
            parts[id] = [salt, digest]
        others = (
            "SELECT ticket, digest FROM comments ORDER BY ticket, id",
            "SELECT resolved, digest FROM resolves JOIN tickets ON id = ticket ORDER BY 1, id",
        )
        for sql in others:
            for id, digest in self._rows(sql):
                if id in parts:
                    parts[id].append(digest)
        return tuple(
            Item(id, hashlib.sha256("\n".join(digests).encode()).hexdigest())
            for id, digests in parts.items()
        )

    def ticket(self, id: str) -> Stored | None:
        rows = self._rows("SELECT data FROM tickets WHERE id = ?", id)
        if not rows:
            return None
        comments = self._rows("SELECT data FROM comments WHERE ticket = ? ORDER BY id", id)
        resolving = self._rows(
            "SELECT data FROM resolves JOIN tickets ON id = ticket WHERE resolved = ? ORDER BY id",
            id,
        )
        return Stored(
            json.loads(rows[0][0]),
            tuple(json.loads(data) for (data,) in comments),
            tuple(json.loads(data) for (data,) in resolving),
        )


def _packed(data: Data) -> tuple[str, str]:
    text = json.dumps(data, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def understood(where: str) -> Iterator[None]:
    """Turns what comes of rows in another shape than documented into `SourceUnavailable`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SourceUnavailable(
            f"{where} answers in a shape that casebook does not know "
            f"({type(error).__name__}: {error}): look whether its address is that of the API"
        ) from error


# --- export files -----------------------------------------------------------------------------

EXPORT_LIMIT = 256 * 1024 * 1024
"""Bytes of one export file: it is read whole, and takes several times as much memory."""


@dataclass(frozen=True)
class Exported:
    """A ticket of an export file, ready to be stored."""

    id: str
    updated_at: str
    data: Data
    comments: Sequence[Data]
    resolves: Sequence[str] = ()


ReadExport = Callable[[str, bytes], Iterable[Exported]]


def load_exports(store: TicketStore, path: Path, read: ReadExport) -> tuple[Skipped, ...]:
    """Make a store hold what an export file, or the `.json` and `.xml` files of a folder, hold now.

    A ticket in several files is taken from where it is newest. A file that can't be read is given
    back with the reason, and what came from it before stays; if none can, `SourceUnavailable`.
    """
    files = _export_files(path)
    sums, bad = {}, {}
    for name, file in files.items():
        try:
            sums[name] = hashlib.sha256(_export_bytes(name, file)).hexdigest()
        except ParseError as error:
            bad[name] = str(error)
    seen = json.dumps([sums, bad])
    if store.cursor("exports") == seen:
        return tuple(Skipped(*each) for each in json.loads(store.cursor("skipped") or "[]"))
    found: list[tuple[str, Exported]] = []
    for name in sums:
        try:
            found += [(name, each) for each in read(name, _export_bytes(name, files[name]))]
        except ParseError as error:
            bad[name] = str(error)
    if files and len(bad) == len(files):
        raise SourceUnavailable(next(iter(bad.values())))
    found.sort(key=lambda each: each[1].updated_at)
    with store.transaction():
        store.remove_but_of(bad)
        for name, each in found:
            store.put_ticket(each.id, each.data, each.resolves, name)
            comments = {f"{each.id} {n:06}": data for n, data in enumerate(each.comments)}
            store.replace_comments(each.id, comments)
        store.set_cursor("exports", seen)
        store.set_cursor("skipped", json.dumps(sorted(bad.items())))
    return tuple(Skipped(*each) for each in sorted(bad.items()))


def _export_files(path: Path) -> dict[str, Path]:
    """By name within the export; links and hidden files are left alone."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise SourceUnavailable(
            f"there is no export at {path}: give a file or a folder that exists"
        )
    found = {}
    for file in sorted(each for ending in ("json", "xml") for each in path.rglob(f"*.{ending}")):
        name = file.relative_to(path).as_posix()
        inside = file.resolve() == path.resolve() / name
        if inside and file.is_file() and "/." not in f"/{name}":
            found[name] = file
    return found


def _export_bytes(name: str, file: Path) -> bytes:
    try:
        if file.stat().st_size > EXPORT_LIMIT:
            raise ParseError(f"{name} is over {EXPORT_LIMIT // 2**20} MiB: export it in parts")
        return file.read_bytes()
    except OSError as error:
        raise ParseError(f"{name} can't be read: {error.strerror or error}") from error

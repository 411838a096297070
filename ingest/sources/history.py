"""The history source: commits and tags of a repository, so that "when and why did we change X" finds
the commit that did, in its author's words, with the files that it changed.

A release is one document: a tag, its message, and the commits that no earlier tag holds. Commits that
no tag holds make one document for each month. Item ids are `release/<tag>` and `month/<year>-<month>`.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from index.errors import ParseError
from ingest.parsers.parsed import Parsed
from ingest.parsers.text import printable
from ingest.sources.git import utc
from ingest.sources.permalink import Links
from ingest.sources.repository import TIP, Mirror
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable

FORMAT = "1"
"""Raise it when the same commits would be written or grouped otherwise, and all are read again."""

PART = 250
"""Commits in one document; a longer range is cut from its oldest commit on, so that full parts stay."""

MESSAGE = 8_000
SUBJECT = 300
FILES = 20
"""Characters of a message and its first line, and files named of a commit; what is cut is counted."""


_TAGS = "refs/tags/"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_STATUS = {"A": "new", "D": "deleted", "R": "renamed", "C": "copied"}
_STRUCTURE = re.compile(r"^( {0,3})(#|=|-+[ \t]*$|`{3}|~{3}|<)", re.MULTILINE)


@dataclass(frozen=True)
class HistorySettings:
    """The repository whose history is read: `url` and `ref` are as for the git source."""

    url: str
    ref: str | None = None
    project: str | None = None
    token_file: Path | None = None


@dataclass(frozen=True)
class Group:
    """One document to be: commits, newest first, and the names of the tag that they were released by
    (several where they name one commit), or else their month.
    """

    id: str
    revision: str
    commits: tuple[str, ...]
    part: int
    tags: tuple[str, ...] = ()
    month: str = ""


class HistorySource:
    """Commits and tags of a repository, up to the tip of a branch or tag, and of all tags."""

    def __init__(self, name: str, settings: HistorySettings, folder: Path) -> None:
        self.name = name
        self.settings = settings
        self._mirror = Mirror(
            settings.url, settings.ref, folder, tags=True, token_file=settings.token_file
        )
        self.links = Links.to(settings.url)
        self._cache = Path(folder, "groups.json")
        self._groups: Mapping[str, Group] | None = None

    def beside(self, path: str) -> bytes | None:
        """Nothing here includes a file."""
        return None

    def close(self) -> None:
        """Nothing is kept open: each git that is run ends with what it was asked."""

    def list(self) -> Listing:
        """Fetch what is new and group it; raises `SourceUnavailable`."""
        commit = self._mirror.update()
        if commit is None:
            self._groups = {}
            return Listing(())
        refs = self._mirror.refs()
        state = _digest(FORMAT, *(f"{name} {refs[name]}" for name in sorted(refs)))
        known, groups = _load(self._cache)
        if known != state:
            groups = _group(self._mirror, refs)
            _save(self._cache, state, groups)
        self._groups = {group.id: group for group in groups}
        items = tuple(Item(group.id, group.revision) for group in groups)
        return Listing(items, commit, skipped=tuple(_unnamed(refs)))

    def read(self, item: Item) -> Content:
        """The commits of one group as markdown; raises `ParseError`."""
        if self._groups is None:
            self._groups = {group.id: group for group in _load(self._cache)[1]}
        group = self._groups.get(item.id)
        if group is None or group.revision != item.revision:
            raise ParseError(f"{item.id} is not in {self.links.base} as last listed: list it again")
        try:
            tag = _annotation(self._mirror, group)
            commits = _read_commits(self._mirror, group.commits)
        except SourceUnavailable as error:
            raise ParseError(f"{item.id} can't be read: {error}") from error
        return self._content(group, tag, commits)

    def _content(self, group: Group, tag: "Annotation", commits: Sequence["Commit"]) -> Content:
        title = self._title(group)
        newest = commits[0].sha if commits else tag.commit
        uri = self.links.tag(group.tags[0]) if group.tags else self.links.log(newest)
        text, anchors = f"# {title}\n", [[0, uri]]
        if group.tags and group.part == 1:
            text += _introduction(group, tag)
        for commit in commits:
            text += "\n"
            anchors.append([len(text), self.links.commit(commit.sha)])
            text += _section(commit)
        metadata: dict[str, Any] = {"anchors": anchors, "repository": self.links.base}
        metadata |= {"commit": newest, "commits": len(commits)}
        if group.tags:
            metadata["tag"] = group.tags[0]
        if self.settings.project is not None:
            metadata["project"] = self.settings.project
        return Content(
            body=Parsed(title, text),
            uri=uri,
            revision=newest[:12],
            modified_at=commits[0].time if commits else tag.time,
            kind="history",
            metadata=metadata,
        )

    def _title(self, group: Group) -> str:
        name = self.settings.project or self.links.name
        part = f" (part {group.part})" if group.part > 1 else ""
        if group.tags:
            return f"Release {group.tags[0]} of {name}{part}"
        year, month = group.month.split("-")
        return f"Changes to {name} in {_MONTHS[int(month) - 1]} {year}{part}"


# --- grouping -------------------------------------------------------------------------------------


class _Node(NamedTuple):
    """A commit in the graph; a merge that says nothing of its own is not told of."""

    parents: tuple[str, ...]
    month: str
    told: bool


def _graph(mirror: Mirror) -> dict[str, _Node]:
    """Every commit of the tip and the tags, newest first and never a parent before its child."""
    options = ("-z", "--date-order", "--format=%H %ct %P%n%b", TIP, "--glob=refs/tags/*", "--")
    graph = {}
    with mirror.tokens("log", *options) as tokens:
        for token in tokens:
            head, _, body = token.partition(b"\n")
            sha, seconds, *parents = head.decode().split(" ")
            told = len(parents) < 2 or not parents[1] or bool(body.strip())
            graph[sha] = _Node(tuple(filter(None, parents)), (utc(seconds) or "1970-01")[:7], told)
    return graph


def _group(mirror: Mirror, refs: Mapping[str, str]) -> list[Group]:
    """A group for each release and for each month of what is not released yet, newest first."""
    graph = _graph(mirror)
    tagged = _tagged(refs, graph)
    released: dict[str, str] = {}
    for target in reversed([sha for sha in graph if sha in tagged]):  # the oldest tag first
        waiting = [target]
        while waiting:
            if (sha := waiting.pop()) in graph and sha not in released:
                released[sha] = target
                waiting.extend(graph[sha].parents)
    members: dict[str, list[str]] = {}
    for sha, node in graph.items():
        place = members.setdefault(released.get(sha, node.month), [])
        if node.told:
            place.append(sha)
    return [
        group
        for key, commits in members.items()
        if commits or key in tagged
        for group in _parts(key, commits, tagged, refs)
    ]


def _tagged(refs: Mapping[str, str], graph: Mapping[str, _Node]) -> dict[str, tuple[str, ...]]:
    """The names of the tags of each commit; first the one that is most a release's."""
    named: dict[str, list[str]] = {}
    for name in refs:
        target = refs.get(f"{name}^{{}}", refs[name])
        a_tag = name.startswith(_TAGS) and not name.endswith("^{}")
        if a_tag and target in graph and printable(name) == name:
            named.setdefault(target, []).append(name.removeprefix(_TAGS))

    def least_first(name: str) -> tuple[bool, bool, str]:
        annotated = f"{_TAGS}{name}^{{}}" in refs
        return not annotated, not re.search(r"\d", name), name

    return {target: tuple(sorted(names, key=least_first)) for target, names in named.items()}


def _parts(
    key: str,
    commits: Sequence[str],
    tagged: Mapping[str, tuple[str, ...]],
    refs: Mapping[str, str],
) -> Iterator[Group]:
    tags = tagged.get(key, ())
    oldest_first = commits[::-1]
    for part, start in enumerate(range(0, max(1, len(commits)), PART), 1):
        held = tuple(oldest_first[start : start + PART][::-1])
        name = f"release/{tags[0]}" if tags else f"month/{key}"
        yield Group(
            id=name if part == 1 else f"{name}/part-{part}",
            revision=_digest(FORMAT, *(f"{tag} {refs[_TAGS + tag]}" for tag in tags), *held),
            commits=held,
            part=part,
            tags=tags,
            month="" if tags else key,
        )


def _unnamed(refs: Mapping[str, str]) -> Iterator[Skipped]:
    for name in refs:
        tag = printable(name.removeprefix(_TAGS))
        if name != _TAGS + tag and name.startswith(_TAGS) and not name.endswith("^{}"):
            yield Skipped(
                f"tag {tag}", f"its name holds what is no printable text: {tag}: rename it"
            )


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode(errors="surrogateescape")
    return hashlib.sha256(joined).hexdigest()


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Annotation:
    """What a tag says of itself; of a lightweight tag there is no tagger and no message."""

    commit: str
    time: str | None
    tagger: str
    message: str


@dataclass
class Change:
    """What a commit did to one file: `status` is git's letter; the lines are None of a binary file."""

    status: str
    path: str
    old_path: str
    added: int | None = None
    deleted: int | None = None


@dataclass
class Commit:
    """A commit with the first `FILES` of its changes, and the sums over all."""

    sha: str
    time: str | None
    author: str
    subject: str
    body: str
    changes: dict[bytes, Change] = field(default_factory=dict)
    files: int = 0
    added: int = 0
    deleted: int = 0


def _annotation(mirror: Mirror, group: Group) -> Annotation:
    """The tag of a group; that of a month is empty."""
    if not group.tags:
        return Annotation("", None, "", "")
    name = f"{_TAGS}{group.tags[0]}"
    fields = ("objecttype", "taggername", "taggerdate:unix", "contents:subject", "contents:body")
    layout = "%00".join(f"%({each})" for each in fields)
    said = mirror.run("for-each-ref", "--count=1", f"--format={layout}", name)
    kind, tagger, seconds, subject, body = said.decode(errors="replace").split("\0")
    sha = mirror.run("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()
    if kind != "tag":
        seconds = mirror.run("log", "-1", "--format=%ct", sha).decode().strip()
        return Annotation(sha, utc(seconds), "", "")
    return Annotation(sha, utc(seconds), tagger, f"{subject}\n\n{body}".strip())


def _read_commits(mirror: Mirror, shas: Sequence[str]) -> list[Commit]:
    """The commits in the order asked for, each with what it changed against its only parent."""
    if not shas:
        return []
    options = ("--stdin", "--no-walk=unsorted", "-z", "--raw", "--numstat", "-M", "-l400")
    layout = "--format=%H%x00%ct%x00%an%x00%s%x00%b"
    asked = "".join(f"{sha}\n" for sha in shas).encode()
    with mirror.tokens("log", *options, "--no-ext-diff", layout, stdin=asked) as tokens:
        return list(_commits(tokens))


def _commits(tokens: Iterator[bytes]) -> Iterator[Commit]:
    """What `git log -z --raw --numstat` prints, in which names follow the lines that count them."""
    commit: Commit | None = None
    for token in tokens:
        token = token.lstrip(b"\n")
        if token.startswith(b":") and commit:
            status = token.split()[-1][:1].decode()
            old = next(tokens, b"")
            new = next(tokens, b"") if status in "RC" else old
            commit.files += 1
            if len(commit.changes) < FILES:
                commit.changes[new] = Change(status, _path(new), _path(old))
        elif b"\t" in token and commit:
            added, deleted, path = token.split(b"\t", 2)
            if not path:
                _, path = next(tokens, b""), next(tokens, b"")
            _count(commit, path, added, deleted)
        elif token:
            if commit:
                yield commit
            seconds, author, subject, body = (
                next(tokens, b"").decode(errors="replace") for _ in range(4)
            )
            commit = Commit(token.decode(), utc(seconds), author, subject, body)
    if commit:
        yield commit


def _count(commit: Commit, path: bytes, added: bytes, deleted: bytes) -> None:
    if not added.isdigit():
        return  # a binary file
    commit.added += int(added)
    commit.deleted += int(deleted)
    if change := commit.changes.get(path):
        change.added, change.deleted = int(added), int(deleted)


def _path(path: bytes) -> str:
    return printable(path.decode(errors="surrogateescape")).replace("`", "'")


# --- writing --------------------------------------------------------------------------------------


def _introduction(group: Group, tag: Annotation) -> str:
    others = f", also {', '.join(group.tags[1:])}" if group.tags[1:] else ""
    when = f" on {tag.time[:10]}" if tag.time else ""
    who = f" by {_line(tag.tagger)}" if tag.tagger else ""
    message = f"\n{_message(tag.message)}\n" if tag.message else ""
    return f"\n{group.tags[0]}{others} was tagged{when}{who}.\n{message}"


def _section(commit: Commit) -> str:
    """A commit as a section: its first line, when and by whom, its message, and what it changed."""
    subject = _line(commit.subject) or "(no subject)"
    rest = ""
    if len(subject) > SUBJECT:
        subject, rest = f"{subject[:SUBJECT]}…", f"…{subject[SUBJECT:]}\n\n"
    when = f" on {commit.time[:10]}" if commit.time else ""
    parts = [
        f"## {subject}",
        f"Committed{when} by {_line(commit.author) or 'nobody'} ({commit.sha[:12]}).",
        _message(f"{rest}{commit.body}"),
        _summary(commit),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(commit: Commit) -> str:
    """`Files changed: ...`, capped at `FILES`, with the sums over all of them."""
    if not commit.files:
        return ""
    named = ", ".join(_change(change) for change in commit.changes.values())
    more = commit.files - len(commit.changes)
    rest = f", and {more} more" if more > 0 else ""
    total = f" In all +{commit.added} −{commit.deleted}." if commit.files > 1 else ""
    return f"Files changed: {named}{rest}.{total}"


def _change(change: Change) -> str:
    words = [_STATUS[change.status]] if change.status in _STATUS else []
    counted = change.added is not None
    words.append(f"+{change.added} −{change.deleted}" if counted else "binary")
    moved = f"`{change.old_path}` → " if change.old_path != change.path else ""
    return f"{moved}`{change.path}` ({', '.join(words)})"


def _line(text: str) -> str:
    """One line of printable text."""
    return printable(" ".join(text.split()))


def _message(message: str) -> str:
    """A message as its author wrote it, unless that would make headings or swallow those below.

    Then a backslash is put before the signs that would: `#`, underlines, fences and HTML at the start
    of a line. What is still no plain paragraph, list or closed block is indented, as code is.
    """
    text = message.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").strip("\n").rstrip()
    if len(text) > MESSAGE:
        cut = len(text) - MESSAGE
        text = f"{text[:MESSAGE].rstrip()}\n\n[cut here: {cut} more characters in the commit]"
    if _stays_inside(text):
        return text
    escaped = _STRUCTURE.sub(r"\1\\\2", text)
    if _stays_inside(escaped):
        return escaped
    return "\n".join(f"    {line}" if line.strip() else "" for line in text.split("\n"))


def _stays_inside(text: str) -> bool:
    """Whether a heading that follows the text is the only one that a reader of both finds."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark").enable("table")
    markdown.core.ruler.disable("inline")
    tokens = markdown.parse(f"Before.\n\n{text}\n\n## After\n")
    headings = [token for token in tokens if token.type == "heading_open" and token.level == 0]
    return len(headings) == 1 and tokens[-3] is headings[0]


# --- the cache ------------------------------------------------------------------------------------


def _load(cache: Path) -> tuple[str | None, list[Group]]:
    """The refs last grouped, as a digest, and their groups; nothing where there is no cache."""
    try:
        stored = json.loads(cache.read_bytes())
        groups = [
            Group(**{**group, "commits": tuple(group["commits"]), "tags": tuple(group["tags"])})
            for group in stored["groups"]
        ]
        return str(stored["refs"]), groups
    except (OSError, ValueError, TypeError, KeyError):
        return None, []  # it can be made again from the copy


def _save(cache: Path, state: str, groups: Sequence[Group]) -> None:
    fresh = cache.with_suffix(".new")
    fresh.write_text(json.dumps({"refs": state, "groups": [asdict(group) for group in groups]}))
    os.replace(fresh, cache)

"""Includes: the files that a page's text names, found near it, within limits on depth and size."""

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ingest.parsers.text import without_front_matter

MAX_DEPTH = 10
MAX_FILES = 500
MAX_CHARACTERS = 4 * 1024 * 1024
"""Of one page: more is a page that includes itself in some way, or an attack."""

_FOLDERS = (
    *("includes", "_includes", "snippets", "docs", "docs/includes", "docs/snippets"),
    *("content", "assets", "examples", "partials"),
)
"""Where generators look besides the page's own folder and those above it."""

MARKDOWN = (".md", ".mdx", ".markdown")
_SECTION = re.compile(r"8<-+[ \t]*\[(start|end):([\w.-]+)\]")

Read = Callable[[str], str | None]
"""Gives the text of a file, by its path from the source's root; None where it is absent or outside."""


@dataclass(frozen=True)
class Included:
    """A file that was found: its path, its text, and the files it was included from, itself last."""

    path: str
    text: str
    above: tuple[str, ...]


@dataclass
class Includes:
    """Finds the files that one page includes, counts those it leaves out, and ends any circle."""

    read: Read
    dropped: Counter[str] = field(default_factory=Counter)
    included: dict[str, None] = field(default_factory=dict)
    _files: int = 0
    _characters: int = 0

    def find(
        self, name: str, above: tuple[str, ...], *, keep_absent: bool = False
    ) -> Included | None:
        """The file that a page (the last of `above`) calls `name`, or None and why is counted.

        With `keep_absent` one that isn't there is not counted: its line stays as it is written.
        """
        reason = self._refused(name, above)
        if reason is None:
            self._files += 1
            for path in _candidates(name, above[-1]):
                text = None if path in above else self.read(path)
                if text is not None:
                    return self._take(path, text, above)
                if path in above:
                    reason = "includes in a circle"
                    break
        if reason or not keep_absent:
            self.dropped[reason or "includes not found"] += 1
        return None

    def _refused(self, name: str, above: tuple[str, ...]) -> str | None:
        if "://" in name:
            return "includes from the web"
        if len(above) > MAX_DEPTH or self._files >= MAX_FILES:
            return "includes past the limit"
        return None

    def _take(self, path: str, text: str, above: tuple[str, ...]) -> Included | None:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            self.dropped["includes past the limit"] += 1
            return None
        self.included[path] = None
        return Included(path, text, (*above, path))


def _candidates(name: str, page: str) -> Iterator[str]:
    """Where a file may lie: beside the page, in each folder above, and in folders set aside there."""
    name = name.removeprefix("@site/").lstrip("/")
    folder = posixpath.dirname(page)
    seen = set()
    while True:
        for place in ("", *_FOLDERS):
            path = posixpath.normpath(posixpath.join(folder, place, name))
            if path not in seen and not path.startswith("..") and path != ".":
                seen.add(path)
                yield path
        if not folder:
            return
        folder = posixpath.dirname(folder)


def choose(text: str, part: str) -> str | None:
    """The part of a file that a snippet names after a colon: lines (`3:5,8:9`) or a section's name.

    An empty part is the whole; None where the file has no such section. Marker lines are left out.
    """
    lines = text.splitlines()
    if re.fullmatch(r"[\d:,-]+", part):
        spans = (each.partition(":") for each in part.split(","))
        return _without_markers(
            [line for first, colon, last in spans for line in _span(lines, first, last)]
        )
    if not part:
        return _without_markers(lines)
    inside = False
    found: list[str] | None = None
    for line in lines:
        mark = _SECTION.search(line)
        if mark and mark[2] == part:
            inside = mark[1] == "start"
            found = [] if found is None else found
        elif inside and found is not None:
            found.append(line)
    return None if found is None else _without_markers(found)


def _span(lines: list[str], first: str, last: str) -> list[str]:
    start = int(first) - 1 if first.isdigit() and int(first) else 0
    return lines[start : int(last)] if last.isdigit() else lines[start:]


def _without_markers(lines: list[str]) -> str:
    return "\n".join(line for line in lines if "8<" not in line or not _SECTION.search(line))


def body_of(path: str, text: str) -> str:
    """What a file gives when it is included whole: a markdown file without its front matter."""
    return without_front_matter(text) if path.lower().endswith(MARKDOWN) else text


# --- AsciiDoc ---------------------------------------------------------------------------------

_ADOC_INCLUDE = re.compile(r"^include::([^\[\]\n]+)\[([^\n]*)\][ \t]*$", re.MULTILINE)
_ADOC_ATTRIBUTE = re.compile(r"^:([\w-]+):[ \t]+([^\n]*)$", re.MULTILINE)
_ADOC_TAG = re.compile(r"\b(tag|end)::([\w.-]+)\[\]")
_ADOC_OPTION = re.compile(r"""(?<!\w)(\w+)=(?:"([^"]*)"|([^,]*))""")


def expand_asciidoc(text: str, above: tuple[str, ...], includes: Includes) -> str:
    """`text` with the files put in that its `include::` lines name; a line whose file is absent stays
    and is left out, and counted, when the text is parsed.
    """
    attributes = dict(_ADOC_ATTRIBUTE.findall(text))

    def put_in(line: re.Match[str]) -> str:
        name = re.sub(r"\{([\w-]+)\}", lambda use: attributes.get(use[1], use[0]), line[1].strip())
        options = {key: a or b for key, a, b in _ADOC_OPTION.findall(line[2])}
        found = includes.find(name, above, keep_absent=True)
        if found is None:
            return line[0]
        part = _adoc_part(found.text, options)
        offset = options.get("leveloffset", "0")
        if re.fullmatch(r"\+[1-5]", offset):
            part = re.sub(r"^(?==+ )", "=" * int(offset), part, flags=re.MULTILINE)
        return expand_asciidoc(part, found.above, includes)

    return _ADOC_INCLUDE.sub(put_in, text)


def _adoc_part(text: str, options: dict[str, str]) -> str:
    lines = text.splitlines()
    tags = set(filter(None, re.split(r"[;,]", options.get("tag") or options.get("tags", ""))))
    if "lines" in options:
        spans = (each.partition("..") for each in re.split(r"[;,]", options["lines"]))
        lines = [line for a, dots, b in spans for line in _span(lines, a, b if dots else a)]
    kept: list[str] = []
    open_tags: set[str] = set()
    for line in lines:
        if mark := _ADOC_TAG.search(line):
            (open_tags.add if mark[1] == "tag" else open_tags.discard)(mark[2])
        elif not tags or tags & open_tags or tags & {"*", "**"}:
            kept.append(line)
    return "\n".join(kept)

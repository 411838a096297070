"""Notes and tabs of MkDocs and Docusaurus as plain markdown, line for line.

`!!! note "Title"` and its indented lines, `=== "Tab"`, and `:::note Title` up to `:::` become a bold
label and the words below it. Each line stays a line, so citations keep their line numbers.
"""

import re

_INDENTED = re.compile(
    r"""^[ \t]*(?:(?:!!!|\?\?\?\+?)[ \t]+(?P<kind>[\w-]+)(?:[ \t]+[\w-]+)*|(?P<tab>===[!+]?))"""
    r"""(?:[ \t]+"(?P<title>[^"\n]*)")?[ \t]*$"""
)
_COLON = re.compile(
    r"^[ \t]*:{3,}[ \t]*\{?(?P<kind>[A-Za-z][\w-]*)\}?(?:\[(?P<bracket>[^\]\n]*)\]|[ \t]+(?P<title>[^\s{][^\n{]*+))?"
    r"(?:\{[^}\n]*\})?[ \t]*$"
)
_COLON_END = re.compile(r"^[ \t]*:{3,}[ \t]*$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})(.*)$")
_STRUCTURE = frozenset("code-group tabs tab-set grid div".split())


def label(kind: str, title: str = "") -> str:
    """`**Warning: Freeze writes**`, or `**Warning**`; a title that is only the kind again is left out."""
    kind = kind.strip("{}. ").replace("-", " ").capitalize()
    title = title.strip()
    return f"**{kind}: {title}**" if title and title.lower() != kind.lower() else f"**{kind}**"


def plain(text: str) -> str:
    """`text` with its notes and tabs as labels, nothing else changed; code is left alone."""
    if not any(mark in text for mark in ("!!!", "???", "===", ":::")):
        return text
    walk = _Walk()
    return "\n".join(walk.line(line) for line in text.split("\n"))


class _Walk:
    """Goes down the lines: the notes that are open, by where their marks were indented, and any fence."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.fence = ""
        self.fence_depth = 0
        self.colons = 0

    def line(self, line: str) -> str:
        if not line.strip():
            return line
        self._close(_indent(line))
        line = _dedent(line, len(self.open) * 4)
        if self._in_code(line):
            return line
        if found := _INDENTED.match(line):
            return self._indented(line, found)
        if found := _COLON.match(line):
            self.colons += 1
            kind = found["kind"]
            title = found["bracket"] or found["title"] or ""
            space = line[: _leading(line)]
            return "" if kind.lower() in _STRUCTURE else f"{space}{label(kind, title)}"
        if self.colons and _COLON_END.match(line):
            self.colons -= 1
            return ""
        return line

    def _close(self, indent: int) -> None:
        """A line that is less indented than a note's text ends that note, and a fence in it."""
        while self.open and indent < self.open[-1] + 4:
            self.open.pop()
            if self.fence_depth > len(self.open):
                self.fence = ""

    def _in_code(self, line: str) -> bool:
        found = _FENCE.match(line)
        if self.fence:
            if found and found[1].startswith(self.fence) and not found[2].strip():
                self.fence = ""
            return True
        if found and not (found[1][0] == "`" and "`" in found[2]):
            self.fence, self.fence_depth = found[1], len(self.open)
            return True
        return False

    def _indented(self, line: str, found: re.Match[str]) -> str:
        kind, title = found["kind"], found["title"]
        if found["tab"] and not title:
            return line  # an underlined heading
        space = line[: _leading(line)]
        self.open.append(_indent(line) + 4 * len(self.open))
        return f"{space}{label(kind, title or '') if kind else f'**{title}**'}"


def _leading(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _indent(line: str) -> int:
    return len(line[: _leading(line)].expandtabs(4))


def _dedent(line: str, columns: int) -> str:
    if not columns:
        return line
    leading = _leading(line)
    space = line[:leading].expandtabs(4)
    return space[min(columns, len(space)) :] + line[leading:]

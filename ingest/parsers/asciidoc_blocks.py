"""AsciiDoc's blocks as lines of markdown: sections, lists, listings, tables, notes, blocks in blocks."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.parsers.asciidoc_inline import Attributes, inline, table
from ingest.parsers.asciidoc_list import Item, Level, descend, item_of, next_item
from ingest.parsers.shortcodes import fenced

MAX_DEPTH = 24
"""Blocks in blocks; what is nested deeper is read as paragraphs."""

ATTRIBUTE = re.compile(r":(!?)([\w][\w-]*)(!?):(?:[ \t]+(.*))?$")
_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*)$")
_STYLE = re.compile(r"\[([^\[\]]*(?:\[[^\]]*\][^\[\]]*)*)\]\s*$")
_TITLE = re.compile(r"\.([^\s.].*)$")
_VERBATIM = re.compile(r"(-{4,}+|\.{4,}+|\+{4,}+|`{3,}+)((?<=`)\S*|)\s*$")
_COMPOUND = re.compile(r"(={4,}|\*{4,}|_{4,}|--|~{4,})\s*$")
_TABLE = re.compile(r"[|,:!]={3,}\s*$")
_ADMONITION = re.compile(r"(NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+(.*)$")
_MACRO = re.compile(r"(image|video|audio|toc)::([^\s\[]*)\[(.*)\]\s*$")
_RULE = re.compile(r"(?:'{3,}|<{3,}|-{3}|\*{3})\s*$")
_ADMONITIONS = frozenset("NOTE TIP IMPORTANT WARNING CAUTION".split())


@dataclass
class _Style:
    """What `[…]` and `.Title` lines say of the block below them."""

    parts: list[str] = field(default_factory=list)
    title: str = ""

    @property
    def name(self) -> str:
        return re.split(r"[#.%]", self.parts[0])[0].strip() if self.parts else ""

    @property
    def text(self) -> str:
        return ",".join(self.parts)


class Converter:
    """Goes down the lines once, with the attributes as they are set on the way."""

    def __init__(self, attributes: Attributes, dropped: Counter[str]):
        self.attributes = attributes
        self.dropped = dropped

    def inline(self, text: str) -> str:
        return inline(text, self.attributes, self.dropped)

    def blocks(self, lines: Sequence[str], depth: int) -> list[str]:
        """Markdown lines of some lines of AsciiDoc."""
        out: list[str] = []
        style, at = _Style(), 0
        while at < len(lines):
            line = lines[at]
            if not line.strip() or (line.startswith("//") and not line.startswith("////")):
                at += 1
            elif re.fullmatch(r"/{4,}\s*", line):
                at = _end(lines, at) + 1
            elif attribute := ATTRIBUTE.match(line):
                at = self._attribute(attribute, lines, at)
            elif (found := _STYLE.match(line)) and not line.startswith("[["):
                style.parts = [part.strip() for part in found[1].split(",")]
                at += 1
            elif re.fullmatch(r"\[\[[^\]]*\]\]\s*", line):
                at += 1
            elif found := _TITLE.match(line):
                style.title = self.inline(found[1])
                at += 1
            else:
                made, at = self._block(lines, at, style, depth)
                title = [f"**{style.title}**", ""] if style.title and made else []
                out += ["", *title, *made, ""] if made else []
                style = _Style()
        return out

    def _attribute(self, found: re.Match[str], lines: Sequence[str], at: int) -> int:
        value = found[4] or ""
        while value.endswith(" \\") and at + 1 < len(lines):
            at += 1
            value = f"{value[:-2]} {lines[at].strip()}"
        self.attributes.set(found[2], None if found[1] or found[3] else value)
        return at + 1

    def _block(
        self, lines: Sequence[str], at: int, style: _Style, depth: int
    ) -> tuple[list[str], int]:
        """One block as markdown, and where it ends."""
        line = lines[at]
        if found := _HEADING.match(line):
            return [f"{'#' * len(found[1])} {self.inline(found[2])}"], at + 1
        if found := _VERBATIM.match(line):
            end = _end(lines, at)
            return self._delimited(found, lines[at + 1 : end], style), end + 1
        if _TABLE.match(line):
            end = _end(lines, at)
            return table(lines[at + 1 : end], line[0], style.text, self.inline), end + 1
        if _COMPOUND.match(line):
            end = _end(lines, at)
            return self._compound(line, lines[at + 1 : end], style, depth), end + 1
        if found := _MACRO.match(line):
            return self._macro(found), at + 1
        if _RULE.match(line):
            return ([] if line.startswith("<") else ["---"]), at + 1
        if item_of(line):
            return self._list(lines, at, depth)
        return self._paragraph(lines, at, style)

    def _delimited(self, mark: re.Match[str], body: Sequence[str], style: _Style) -> list[str]:
        if mark[1][0] == "+" and style.name not in ("stem", "latexmath", "asciimath"):
            self.dropped["raw blocks"] += 1
            return []
        return self._listing(body, style, mark[2].strip(","))

    def _listing(self, body: Sequence[str], style: _Style, language: str = "") -> list[str]:
        if not any(line.strip() for line in body):
            return []
        language = language or (style.parts[1] if len(style.parts) > 1 else "")
        named = style.name in ("source", "") and re.fullmatch(r"[\w+#.-]+", language)
        return fenced("\n".join(body), language if named else "").split("\n")

    def _compound(self, line: str, body: Sequence[str], style: _Style, depth: int) -> list[str]:
        if style.name in ("source", "listing", "literal"):
            return self._listing(body, style)
        made = self.blocks(body, depth + 1) if depth < MAX_DEPTH else [*map(self.inline, body)]
        if not any(made):
            return []
        if style.name in _ADMONITIONS:
            return _quoted([f"**{style.name.capitalize()}**", "", *made])
        if line[0] == "_" or style.name in ("quote", "verse"):
            source = ", ".join(part for part in style.parts[1:3] if part)
            return _quoted([*made, *(["", f"— {self.inline(source)}"] if source else [])])
        return made

    def _macro(self, found: re.Match[str]) -> list[str]:
        if found[1] == "toc":
            return []
        self.dropped["images"] += 1
        alt = found[3].split(",")[0].strip().strip('"')
        return [self.inline(alt)] if alt and "=" not in alt else []

    def _paragraph(self, lines: Sequence[str], at: int, style: _Style) -> tuple[list[str], int]:
        end = at + 1
        while end < len(lines) and lines[end].strip() and not _begins_block(lines[end]):
            end += 1
        body = [line for line in lines[at:end] if not re.match(r"//(?!/)|\+\s*$", line)]
        if not body:
            return [], end
        if style.name in ("source", "listing", "literal"):
            return self._listing(body, style), end
        if lines[at][0] in " \t" and style.name != "normal":
            indent = min(len(line) - len(line.lstrip()) for line in body)
            return self._listing([line[indent:] for line in body], _Style()), end
        kind = style.name if style.name in _ADMONITIONS else ""
        if found := _ADMONITION.match(body[0]):
            kind, body[0] = found[1], found[2]
        made = [re.sub(r"(?<![ \t])[ \t]+\+$", "", line.strip()) for line in body]
        made = self.inline("\n".join(made)).split("\n")
        if kind:
            return _quoted([f"**{kind.capitalize()}:** {made[0]}", *made[1:]]), end
        return (_quoted(made) if style.name in ("quote", "verse") else made), end

    # --- lists --------------------------------------------------------------------------------

    def _list(self, lines: Sequence[str], at: int, depth: int) -> tuple[list[str], int]:
        """A list with the lists in it: a mark that is not yet open goes one level deeper."""
        out: list[str] = []
        levels: list[Level] = []
        while at < len(lines):
            line = lines[at]
            if item := item_of(line):
                indent = descend(levels, item)
                text, at = self._item_text(lines, at + 1, item)
                out.append(f"{' ' * indent}{levels[-1].bullet}{text}".rstrip())
            elif line.strip() == "+" and depth < MAX_DEPTH:
                made, at = self._attached(lines, at + 1, depth)
                space = " " * levels[-1].indent
                out += ["", *(space + each if each else "" for each in made)]
            elif not line.strip() and (following := next_item(lines, at)):
                at = following
            else:
                break
        return out, max(at, 1)

    def _item_text(self, lines: Sequence[str], at: int, item: Item) -> tuple[str, int]:
        words = [item.text] if item.text else []
        if item.term and not words:  # its text may begin below a blank line
            below = next((n for n in range(at, min(at + 2, len(lines))) if lines[n].strip()), at)
            at = below if below < len(lines) and _is_plain(lines[below]) else at
        while at < len(lines) and _is_plain(lines[at]):
            if not lines[at].startswith("//"):
                words.append(re.sub(r"(?<![ \t])[ \t]+\+$", "", lines[at].strip()))
            at += 1
        text = self.inline(" ".join(words))
        if item.term:
            text = f"**{self.inline(item.term)}**" + (f": {text}" if text else "")
        return text, at

    def _attached(self, lines: Sequence[str], at: int, depth: int) -> tuple[list[str], int]:
        """The one block that a `+` attaches to an item."""
        end = at
        while end < len(lines) and (_STYLE.match(lines[end]) or _TITLE.match(lines[end])):
            end += 1
        if end < len(lines) and lines[end].strip():
            if (
                _VERBATIM.match(lines[end])
                or _COMPOUND.match(lines[end])
                or _TABLE.match(lines[end])
            ):
                end = _end(lines, end) + 1
            else:
                end += 1
                while end < len(lines) and _is_plain(lines[end]):
                    end += 1
        made = self.blocks(lines[at:end], depth + 1)
        return "\n".join(made).strip("\n").split("\n"), max(end, at)


def _is_plain(line: str) -> bool:
    """Whether a line only goes on with the words above it."""
    return bool(line.strip()) and line.strip() != "+" and not (_begins_block(line) or item_of(line))


def _begins_block(line: str) -> bool:
    marks = (_VERBATIM, _COMPOUND, _TABLE, _STYLE)
    return any(mark.match(line) for mark in marks) or re.fullmatch(r"/{4,}\s*", line) is not None


def _end(lines: Sequence[str], at: int) -> int:
    """The line that closes the block opened at a line, or the end of all."""
    mark = re.match(r"`{3,}", lines[at])
    closing = mark[0] if mark else lines[at].rstrip()
    return next((n for n in range(at + 1, len(lines)) if lines[n].rstrip() == closing), len(lines))


def _quoted(lines: Sequence[str]) -> list[str]:
    tidy = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return [f"> {line}".rstrip() for line in tidy.split("\n")]

"""AsciiDoc inside a line, as markdown: attributes, marks, links, macros; and tables, made of lines."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence

from ingest.parsers import links

MAX_VALUE = 2_000
"""Characters of an attribute's value: values that use each other grow with each definition."""

MAX_COLUMNS, MAX_ROWS = 200, 50
"""That a cell may span."""

_BUILT_IN = {
    **{"empty": "", "sp": " ", "nbsp": " ", "zwsp": "", "amp": "&", "lt": "<", "gt": ">"},
    **{"plus": "+", "vbar": "|", "asterisk": "*", "tilde": "~", "caret": "^", "backtick": "`"},
    **{"startsb": "[", "endsb": "]", "cpp": "C++", "two-colons": "::", "two-semicolons": ";;"},
    **{"apos": "'", "quot": '"', "deg": "°", "backslash": "\\", "blank": "", "hash": "#"},
    **{"ldquo": "“", "rdquo": "”", "lsquo": "‘", "rsquo": "’"},
}
_USE = re.compile(r"(?<!\\)\{([\w][\w-]*)\}")
_CODE = re.compile(r"(?<![\w`\\])(``?)(?!`)(\+?)([^`]{1,500}?)\2(?<!`)\1(?![\w`])")
_PASS = re.compile(r"\+\+\+([^+]{1,500})\+\+\+|\bpass:[a-z,]{0,20}\[([^\]]{0,500})\]")
_PLUS = re.compile(r"(?<![\w+\\])\+(?=\S)([^+\n]{1,500}?)(?<=\S)\+(?![\w+])")
_LINK = re.compile(
    r"(?<!\\)(?:link:)?\b(https?://[^\s\[\]<>]{1,2000})\[([^\]]{0,1000})\]"
    r"|\b(?:link:|mailto:)([^\s\[\]]{1,1000})\[([^\]]{0,1000})\]"
)
_XREF = re.compile(r"\bxref:([^\s\[\]]{1,500})\[([^\]]{0,1000})\]")
_ANGLES = re.compile(r"(?<!\\)<<([^\s<>,][^<>,\n]{0,300})(?:,([^<>]{0,500}))?>>")
_MACRO = re.compile(
    r"\b(image|icon|kbd|btn|menu|footnote|stem|latexmath|asciimath|indexterm2?|anchor|counter):"
    r"([^\s\[\]:]{0,500})\[([^\]]{0,1000})\]"
)
_ANCHOR = re.compile(
    r"\[\[[^\]\n]{1,300}\]\]|\[#[^\]\n]{1,300}\](?![#*_`])|\(\(\([^()\n]{0,300}\)\)\)"
)
_TERM = re.compile(r"\(\(([^()\n]{1,300})\)\)")
_MARKS = (
    (re.compile(r'"`([^`"]{1,500})`"'), r"“\1”"),
    (re.compile(r"'`([^`']{1,500})`'"), r"‘\1’"),
    (re.compile(r"\[[.#][\w.#% -]{1,100}\](?=[#*_`\0])"), ""),
    (re.compile(r"(?<![\w*\\])\*(?=[^\s*])([^*]{1,500}?)(?<=\S)\*(?![\w*])"), r"**\1**"),
    (re.compile(r"(?<!\\)__(?=[^\s_])([^_]{1,500}?)(?<=\S)__"), r"_\1_"),
    (re.compile(r"(?<!\\)##(?=[^\s#])([^#]{1,500}?)(?<=\S)##"), r"\1"),
    (re.compile(r"(?<![\w#&\\])#(?=[^\s#])([^#\n]{1,500}?)(?<=\S)#(?![\w#])"), r"\1"),
    (re.compile(r"\\(?=[*_`#{<\[+'\"])"), ""),
)
_HELD = re.compile("\0(\\d+)\0")
_CELL = re.compile(
    r"(?:(?:^|(?<=[ \t]))((?:(?:\d+(?:\.\d+)?|\.\d+)[*+])?[<^>]?(?:\.[<^>])?[aehlmsdv]?))?(?<!\\)\|",
    re.MULTILINE,
)

Count = Counter[str]


class Attributes:
    """A document's attributes, `{name}` for `:name: value`; a value may use those set before it."""

    def __init__(self) -> None:
        self._values = dict(_BUILT_IN)

    def set(self, name: str, value: str | None) -> None:
        if value is None:
            self._values.pop(name, None)
        elif len(filled := self.fill(value)) <= MAX_VALUE:
            self._values[name] = filled

    def fill(self, text: str) -> str:
        """`text` with each known attribute's value; an unknown one stays as it is written."""
        return _USE.sub(lambda use: self._values.get(use[1].lower(), use[0]), text)


def inline(text: str, attributes: Attributes, dropped: Count) -> str:
    """A paragraph's words as markdown; images without a description are counted."""
    held: list[str] = []

    def hold(kept: str) -> str:
        held.append(kept)
        return f"\0{len(held) - 1}\0"

    for pattern, by in _MARKS[:2]:
        text = pattern.sub(by, text)
    text = _PASS.sub(lambda found: hold(found[1] or found[2] or ""), text)
    text = _CODE.sub(lambda found: hold(f"`{_code(found, attributes)}`"), text)
    text = _PLUS.sub(lambda found: hold(found[1]), text)
    text = _ANCHOR.sub("", attributes.fill(text))
    text = _LINK.sub(lambda found: hold(_link(found[1] or found[3], found[2] or found[4])), text)
    text = _XREF.sub(lambda found: hold(_link(found[1], found[2])), text)
    text = _ANGLES.sub(lambda found: (found[2] or _words(found[1])).strip(), text)
    text = _MACRO.sub(lambda found: _macro(found, dropped), text)
    text = _TERM.sub(r"\1", text)
    for pattern, by in _MARKS[2:]:
        text = pattern.sub(by, text)
    for _ in range(3):  # code in a link's text is held twice
        text = _HELD.sub(lambda mark: held[int(mark[1])], text)
    return text


def _code(found: re.Match[str], attributes: Attributes) -> str:
    return found[3] if found[2] else attributes.fill(found[3])


def _link(target: str, text: str) -> str:
    quoted = re.match(r'\s*"([^"]*)"', text)
    words = quoted[1] if quoted else re.split(r",\s*[\w-]+=", text)[0]
    words = "" if re.match(r"[\w-]+=", words) else words.strip().removesuffix("^").strip()
    for pattern, by in _MARKS[2:]:
        words = pattern.sub(by, words)
    led = links.target(target.replace("++", ""))
    return f"[{words}]({led})" if words and led else words or led or ""


def _words(reference: str) -> str:
    """What a reference without words is called: the section that its id was made from."""
    name = reference.rpartition("#")[2] or reference
    return re.sub(r"[_-]+", " ", name).strip()


def _macro(found: re.Match[str], dropped: Count) -> str:
    kind, target, text = found[1], found[2], found[3].strip()
    if kind == "image":
        dropped["images"] += 1
        alt = text.split(",")[0].strip('" ')
        return "" if "=" in alt else alt
    if kind == "menu":
        return " > ".join(filter(None, (target, text)))
    if kind in ("stem", "latexmath", "asciimath"):
        return f"`{text}`"
    if kind == "footnote":
        return f" ({text})" if text else ""
    if kind == "btn":
        return f"**{text}**"
    return text if kind in ("kbd", "indexterm2") else ""


# --- tables -----------------------------------------------------------------------------------


def table(
    lines: Sequence[str], separator: str, style: str, inline: Callable[[str], str]
) -> list[str]:
    """A table's lines as a markdown table; its first row is the head, as markdown has no other."""
    body = [line for line in lines if not line.startswith("//")]
    if separator in ",:" or re.search(r"format=[\"']?(?:csv|dsv)", style):
        comma = ":" if separator == ":" or "dsv" in style else ","
        rows = [row for row in csv.reader(body, delimiter=comma) if row]
    else:
        rows = _rows(body, _columns(style, body, separator), separator)
    rows = [[_cell_text(cell, inline) for cell in row] for row in rows]
    width = max(map(len, rows), default=0)
    if not width:
        return []
    made = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in rows]
    return [made[0], f"|{' --- |' * width}", *made[1:]]


def _columns(style: str, lines: Sequence[str], separator: str) -> int:
    """From `cols="1,2"` or `cols=3*`, or else the cells in the first line that has any."""
    found = re.search(r"cols=(?:\"([^\"]*)\"|'([^']*)'|([^,\s\]]+))", style)
    if found:
        parts = re.split(r"[,;]", (found[1] or found[2] or found[3]).strip())
        counts = (re.match(r"\s*(\d{1,3})\*", part) for part in parts)
        return min(sum(int(count[1]) if count else 1 for count in counts), MAX_COLUMNS)
    first = next((line for line in lines if line.strip()), "")
    return max(1, min(sum(times for _, times, _ in _cells([first], separator)), MAX_COLUMNS))


def _cells(lines: Sequence[str], separator: str) -> list[tuple[str, int, int]]:
    """Each cell's text, the columns that it takes, and the rows."""
    text = "\n".join(lines)
    if separator == "!":
        text = text.replace("!", "|")
    marks = list(_CELL.finditer(text))
    cells: list[tuple[str, int, int]] = []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(marks, ends, strict=False):
        words = text[mark.end() : end].strip()
        span = re.match(r"(\d*+)\.?(\d*+)([*+])", mark[1] or "")
        across = min(int(span[1] or 1), MAX_COLUMNS) if span else 1
        if span and span[3] == "*":
            cells += [(words, 1, 1)] * across
        else:
            cells.append((words, across, min(int(span[2] or 1), MAX_ROWS) if span else 1))
    return cells


def _rows(lines: Sequence[str], width: int, separator: str) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    below = [0] * width
    for words, across, down in _cells(lines, separator):
        _fill_spanned(rows, below, width)
        for position in range(across):
            if len(rows[-1]) < width:
                below[len(rows[-1])] = down - 1
                rows[-1].append("" if position else words)
    return [row for row in rows if row]


def _fill_spanned(rows: list[list[str]], below: list[int], width: int) -> None:
    """Empty cells where one from above reaches down; a full row is followed by a new one."""
    while True:
        if len(rows[-1]) >= width:
            rows.append([])
        if not below[len(rows[-1])]:
            return
        below[len(rows[-1])] -= 1
        rows[-1].append("")


def _cell_text(cell: str, inline: Callable[[str], str]) -> str:
    words = " ".join(cell.replace("\\|", "|").split())
    return words and inline(words).replace("\n", " ").replace("|", "\\|")

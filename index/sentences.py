"""Sentences: the smallest spans that an answer quotes, found in markdown without changing it."""

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^\s*(```|~~~)")
_TABLE_RULE = re.compile(r"^\s*(?:\|\s*)?:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*(?:\|\s*)?$")
_MARKER = re.compile(r"^\s*(?:>\s*)*(?:[-*+]\s+|\d{1,3}[.)]\s+)?(?:\[[ xX]\]\s+)?")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s")
_RULE = re.compile(r"^\s*([-*_=~^])(\s*\1){2,}\s*$")

_END = re.compile(r"[.!?][\"'”’)\]*_`]*\s+(?=[\"'“‘(\[*_`]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|incl|Mr|Mrs|Ms|Dr|Prof|Inc|Ltd|Co|Corp|Jr|Sr|St"
    r"|Fig|Eq|No|Vol|Sec|Ch|pp?|U\.S|U\.K|[A-Z])|\be\.g\.,?|\bi\.e\.,?)\.$"
)


@dataclass(frozen=True)
class Sentence:
    """A span `[start, end)` of the text searched; `code` marks a whole fenced block."""

    start: int
    end: int
    code: bool = False


def sentences(text: str) -> list[Sentence]:
    """The sentences of a piece of markdown, in order, without overlap.

    A list item, a table row and a fenced block never share a sentence with what is around them;
    headings and rules are no sentences. Markers in front of an item are outside its span.
    """
    found: list[Sentence] = []
    for start, end, code in _units(text):
        found.extend([Sentence(start, end, True)] if code else _split(text, start, end))
    return found


def _units(text: str) -> list[tuple[int, int, bool]]:
    """`(start, end, code)` of each paragraph, list item, table row or fenced block."""
    units: list[tuple[int, int, bool]] = []
    open_start: int | None = None
    fence: int | None = None
    position = 0
    for line in text.splitlines(keepends=True):
        start, end = position, position + len(line.rstrip())
        position += len(line)
        if fence is not None:
            if _FENCE.match(line):
                units.append((fence, end, True))
                fence = None
            continue
        if _FENCE.match(line):
            fence, open_start = start, None
            continue
        if not line.strip() or _HEADING.match(line) or _RULE.match(line) or _TABLE_RULE.match(line):
            open_start = None
            continue
        marker = _MARKER.match(line)
        begin = start + (marker.end() if marker else 0)
        if open_start is None or _ITEM.match(line) or line.lstrip().startswith("|"):
            units.append((begin, end, False))
            open_start = begin
        else:
            units[-1] = (open_start, end, False)
    if fence is not None:
        units.append((fence, len(text.rstrip()), True))
    return [unit for unit in units if unit[0] < unit[1]]


def _split(text: str, start: int, end: int) -> list[Sentence]:
    """Cut one paragraph at the ends of its sentences."""
    cuts = [start]
    for match in _END.finditer(text, start, end):
        if not _ABBREVIATION.search(text[cuts[-1] : match.start() + 1]):
            cuts.append(match.end())
    ends = [*(_rstrip(text, cut) for cut in cuts[1:]), end]
    return [Sentence(a, b) for a, b in zip(cuts, ends, strict=True) if a < b]


def _rstrip(text: str, end: int) -> int:
    while end and text[end - 1].isspace():
        end -= 1
    return end


_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*\*|__|\*)(?=\S)(.+?)(?<=\S)\1(?![\w*])")


def plain(text: str) -> str:
    """A quote as a person reads it: links and emphasis reduced to their words, white space single.

    What is fenced or between backticks stays as written.
    """
    if _FENCE.match(text):
        return text
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    return " ".join(text.split())

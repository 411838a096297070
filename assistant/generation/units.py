"""Units: where a sentence, list item, table row or fenced block of a model's text ends.

Sentences end as in `index.sentences`, and behind citations. What is decided of the beginning of a text
holds for all of it: where the next characters could still change it, `MoreNeeded` says so.
"""

import re

LONGEST = 4000
"""Characters after which a unit is cut whatever it says: four times the longest sentence worth reading."""

_NUMBERS = r"\d{1,2}(?:\s?(?:,|;|&|and|-|–)\s?\^?\d{1,2}){0,16}"
_NOUN = r"(?:passages?|sources?|documents?|citations?|refs?)"
_ONE = rf"[\[【]\s?\^?(?:{_NOUN}\s?)?:?\s?#?(?:{_NUMBERS})\s?[\]】](?:\([^()\s]*\))?"
MARKER = re.compile(_ONE, re.I)
"""A citation: `[1]`, `[1, 2]`, `[1-3]`, `[^1]`, `[passage 1]`, `【1】`, each perhaps with an address behind
it. More than two digits are no citation: `[404]`, `[2024]`."""

_CITED = rf"(?:[ \t]*\(?{_ONE}\)?)+"
_OPEN = r"\(?[\[【][^\]】\n]{0,80}(?:[\]】]\)?(?:\([^()\s]*)?)?"
"""What the next characters may make a citation."""

_SAME_LINE = re.compile(rf"{_CITED}[ \t]*[.,;]?", re.I)
_OWN_LINE = re.compile(rf"\s*\n{_CITED}[ \t]*[.,;]?[ \t]*(?=\n|\Z)", re.I)
_MAY_BE_CITED = re.compile(rf"\s*+(?:{_CITED})?[ \t]*+(?:\(|{_OPEN}|[.,;])?[ \t]*+\Z", re.I)
_ENDS_CITED = re.compile(rf"{_ONE}\)?[ \t]*[.!?…:;]*[\"'”’)\]*_]*[ \t]*\Z", re.I)

_POINT = re.compile(r"`[^`\n]*`|(?P<stop>[.!?…]+[\"'”’)\]*_]*)|(?P<line>\n)|(?P<tick>`)")
_BEGINS = re.compile(r"[\"'“‘(\[*_`]*[^\W_a-z]")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|incl|Mr|Mrs|Ms|Dr|Prof|Inc|Ltd|Co|Corp|Jr|Sr|St"
    r"|Fig|Eq|No|Vol|Sec|Ch|pp?|U\.S|U\.K|[A-Z])\.\Z"
)

ITEM = re.compile(r"[ \t]*(?:>[ \t]*)*(?:[-*+•]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?")
FENCE = re.compile(r"[ \t]*(?:```|~~~)")
OTHER_TURN = re.compile(
    r"[ \t]*+(?:[#*_]*+[ \t]*+(?:q|question|user|human|instructions?|system)[ \t]*[*_]*:"
    r"|<\|im_start\|>|<start_of_turn>|<\|user\|>|\[INST\])",
    re.I,
)
"""What a model writes after its answer: another turn of the conversation, made up."""

LINE = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\||(?:[-*_=][ \t]*){3,}(?:\n|\Z))")
"""A heading, a table's row or a rule: as long as its line."""

_LINE_TOLD = 24
"""Characters of a line by which it is told what kind it is."""

_THINKING = ("<think>", "</think>")


class MoreNeeded(Exception):
    """The text ends before it can be said where its first unit does."""


def unit_end(text: str, ended: bool) -> int:
    """Where the first unit of a text that begins a line, or behind a unit, ends; white space in front
    belongs to it. `ended`: no more will come. Raises `MoreNeeded`.
    """
    if len(text) > LONGEST:
        text, ended = text[:LONGEST], True
    start = len(text) - len(text.lstrip())
    if "\n" not in text[:start]:
        return _sentence_end(text, start, ended)
    _wait_for_line(text, start, ended)
    line = text.rfind("\n", 0, start) + 1
    if text.startswith(_THINKING[0], start):
        return _found(text.find(_THINKING[1], start), len(_THINKING[1]), text, ended)
    if FENCE.match(text, line):
        closing = text.find("\n", fence_end(text, start, ended))
        return _with_citations(text, _found(closing, 0, text, ended), ended)
    if LINE.match(text, line):
        return _found(text.find("\n", start), 0, text, ended)
    item = ITEM.match(text, line)
    return _sentence_end(text, item.end() if item else start, ended)


def fence_end(text: str, start: int, ended: bool = True) -> int:
    """Where the marks that close the fenced block at `start` stand, or the text's end."""
    mark = text[start : start + 3]
    closing = re.compile(rf"\n[ \t]*{mark}").search(text, start)
    return closing.end() if closing else _found(-1, 0, text, ended)


def _found(position: int, length: int, text: str, ended: bool) -> int:
    if position >= 0:
        return position + length
    if ended:
        return len(text)
    raise MoreNeeded


def _wait_for_line(text: str, start: int, ended: bool) -> None:
    """Wait until so much of the line is there that its kind is told."""
    line = text[start:]
    if not ended and "\n" not in line and (len(line) < _LINE_TOLD or not line.strip("-*_= \t")):
        raise MoreNeeded


def _sentence_end(text: str, start: int, ended: bool) -> int:
    for point in _POINT.finditer(text, start):
        if point["stop"] or point["line"]:
            at = point.end() if point["stop"] else point.start()
            if (end := _end_here(text, start, at, ended)) is not None:
                return end
        elif point["tick"] and not ended and "\n" not in text[point.end() :]:
            raise MoreNeeded
    return _found(-1, 0, text, ended)


def _end_here(text: str, start: int, at: int, ended: bool) -> int | None:
    """The sentence's end with its citations if it ends at a stop or a line's end, else None."""
    end = _with_citations(text, at, ended)
    following = end + len(text[end:]) - len(text[end:].lstrip())
    if following == len(text):
        return _found(-1, 0, text, ended)
    if end > at or _ENDS_CITED.search(text[start:at]):
        return end
    gap = text[end:following]
    if "\n" in gap:
        _wait_for_line(text, following, ended)
        line = text.rfind("\n", 0, following) + 1
        kinds = (ITEM, FENCE, LINE, OTHER_TURN)
        if gap.count("\n") > 1 or any(kind.match(text, line) for kind in kinds):
            return end
        if text[start:at].rstrip().endswith(":"):
            return end
    if not gap or text[at - 1].isspace() or not re.search(r"[.!?…]", text[at - 3 : at]):
        return None
    begins = _BEGINS.match(text, following)
    return end if begins and not _ABBREVIATION.search(text[start:at]) else None


def _with_citations(text: str, at: int, ended: bool) -> int:
    """Where the citations behind a sentence end, on its line or on lines of their own."""
    kind = _SAME_LINE
    while True:
        if not ended and _MAY_BE_CITED.match(text, at):
            raise MoreNeeded
        if found := kind.match(text, at):
            at = found.end()
        elif kind is _OWN_LINE:
            return at
        kind = _OWN_LINE

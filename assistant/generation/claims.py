"""Claims: a model's text taken apart, while it streams, into sentences with the passages they cite.

A sentence is given out once nothing that may still come can change it, so a text gives the same
claims however it is cut.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from assistant.generation.prompt import SILENT
from assistant.generation.units import (
    FENCE,
    ITEM,
    MARKER,
    OTHER_TURN,
    MoreNeeded,
    fence_end,
    unit_end,
)
from assistant.generation.wording import CITED, CODE, plain_words

_NOT_SAID = re.compile(r"\s*(?:<think>|#{1,6}\s)")
_RANGE = re.compile(r"(\d+)\s?[-–]\s?(\d+)")


@dataclass(frozen=True)
class Claim:
    """A sentence, list item, table row or fenced block in plain words, and the numbers it cites."""

    text: str
    markers: tuple[int, ...]


class ClaimStream:
    """Takes a model's text piece by piece and gives out its claims."""

    def __init__(self) -> None:
        # A text begins a line, and what begins a line is told by the end of the one before.
        self._text = "\n"
        self._over = False

    def feed(self, text: str) -> list[Claim]:
        """The claims that are whole once this text has come."""
        self._text += text
        return list(self._taken(ended=False))

    def end(self) -> list[Claim]:
        """The claims in what is left."""
        return list(self._taken(ended=True))

    def _taken(self, ended: bool) -> Iterator[Claim]:
        while self._text and not self._over:
            try:
                end = unit_end(self._text, ended)
            except MoreNeeded:
                return
            unit, self._text = self._text[:end], self._text[end:]
            self._over = bool(OTHER_TURN.match(unit.lstrip()))
            if not self._over and (claim := claim_of(unit)):
                yield claim


def claim_of(unit: str) -> Claim | None:
    """What one unit claims; None for headings, rules, preambles and whatever has no words."""
    if _NOT_SAID.match(unit):
        return None
    if FENCE.match(unit.lstrip("\n")):
        return _code(unit.strip())
    line = unit.strip("\n")
    item = ITEM.match(line)
    unit = line[item.end() if item else 0 :].strip().strip("|")
    prose = [(part, bool(number % 2)) for number, part in enumerate(CODE.split(unit))]
    numbers = _cited("".join(part for part, code in prose if not code))
    text = plain_words("".join(part if code else MARKER.sub(CITED, part) for part, code in prose))
    return Claim(text, numbers) if re.search(r"\w", text) and text != SILENT else None


def _code(unit: str) -> Claim | None:
    """A fenced block as it is written, with the citations behind it."""
    end = fence_end(unit, 0)
    code = plain_words(unit[:end])
    return Claim(code, _cited(unit[end:])) if re.search(r"\n.*\w", code) else None


def _cited(text: str) -> tuple[int, ...]:
    """The numbers that a text's citations name, each once; ranges are written out."""
    numbers: list[int] = []
    for marker in MARKER.findall(text):
        inside = re.split(r"[\]】]", marker)[0]
        for first, last in _RANGE.findall(inside):
            numbers.extend(range(int(first), int(last) + 1))
        numbers.extend(int(each) for each in re.findall(r"\d+", inside))
    return tuple(dict.fromkeys(numbers))

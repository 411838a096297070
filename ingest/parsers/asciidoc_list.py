"""AsciiDoc's list items: their marks, and the levels that the marks open."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ITEM = re.compile(r"[ \t]*(\*{1,6}|-|\.{1,6}|\d{1,4}\.|[a-zA-Z]\.|<(?:\d+|\.)>)[ \t]+(\S.*)$")
_TERM = re.compile(r"[ \t]*(\S.{0,300}?)(:{2,4}|;;)(?:[ \t]+(.*))?$")


@dataclass(frozen=True)
class Item:
    """One item: its mark, the words on its line, and its term in a description list."""

    mark: str
    text: str
    term: str = ""
    ordered: bool = False


@dataclass(frozen=True)
class Level:
    """An open list: its mark, the number of its last item, and where its items' text begins."""

    mark: str
    bullet: str
    number: int
    indent: int


def item_of(line: str) -> Item | None:
    """The item that a line begins, if it does."""
    if found := _ITEM.match(line):
        mark = re.sub(r"\d+|[a-zA-Z](?=\.)", "1", found[1])
        text = re.sub(r"^\[[*x ]\][ \t]+", "", found[2])
        return Item(mark, text, ordered=mark[0] in ".1<")
    if (found := _TERM.match(line)) and not line.startswith(("//", "[", "|")):
        return Item(found[2], found[3] or "", term=found[1])
    return None


def descend(levels: list[Level], item: Item) -> int:
    """Open the item's level, closing those inside it; gives the columns in front of its bullet."""
    number = 1
    for position, level in enumerate(levels):
        if level.mark == item.mark:
            number = level.number + 1
            del levels[position:]
            break
    indent = levels[-1].indent if levels else 0
    bullet = f"{number}. " if item.ordered else "- "
    levels.append(Level(item.mark, bullet, number, indent + len(bullet)))
    return indent


def next_item(lines: Sequence[str], at: int) -> int | None:
    """The next line if it is an item, over blank ones."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at if at < len(lines) and item_of(lines[at]) else None

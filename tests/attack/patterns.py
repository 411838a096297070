"""Every regular expression of the packages, found in their source, and texts that expressions choke on."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

METHODS = ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")
ANCHORED = frozenset(("match", "fullmatch"))


@dataclass(frozen=True)
class Expression:
    """A pattern as compiled, where it stands, and whether it is only ever tried at one place of a text."""

    place: str
    pattern: re.Pattern[Any]
    anchored: bool

    def run(self, text: Any) -> None:
        """Use it as the product does."""
        if self.anchored:
            self.pattern.match(text)
        else:
            for _ in self.pattern.finditer(text):
                pass


def expressions() -> list[Expression]:
    """Those that are constants of the calls that take them, and those that modules hold compiled."""
    found: dict[Any, Expression] = {}
    for package in ("ingest", "index", "assistant"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for each in (*_called(path, tree), *_held(path, tree)):
                found[each.pattern.pattern, each.pattern.flags, each.anchored] = each
    return list(found.values())


def _called(path: Path, tree: ast.AST) -> Iterator[Expression]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
        first = node.args[0]
        if of_re and node.func.attr in METHODS and isinstance(first, ast.Constant):
            given = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
            names = {
                each.attr
                for one in given
                for each in ast.walk(one)
                if isinstance(each, ast.Attribute)
            }
            flags = 0
            for name in names & set(re.RegexFlag.__members__):
                flags |= re.RegexFlag[name]
            compiled = re.compile(first.value, flags)  # type: ignore[type-var]
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            yield Expression(place, compiled, node.func.attr in ANCHORED)


def _held(path: Path, tree: ast.AST) -> Iterator[Expression]:
    used: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.setdefault(node.value.id, set()).add(node.attr)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name, value in vars(module).items():
        anchored = bool(used.get(name)) and used[name] <= ANCHORED
        for pattern in _patterns(value):
            yield Expression(f"{path.relative_to(ROOT)} {name}", pattern, anchored)


def _patterns(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | frozenset | set) and depth < 3:
        for each in value:
            yield from _patterns(each, depth + 1)
    elif isinstance(value, dict) and depth < 3:
        for each in value.values():
            yield from _patterns(each, depth + 1)


PIECES = (
    " ", "a", "A", "1", "_", "-", ".", ",", "\t", "\n", "#", "*", "`", "~", "[", "]", "(", "<", ">", "{", "|", "/",
    "\\", '"', "'", "=", ":", ";", "&", "!", "+", "%", "ä", "a ", " \n", "\n\n", "a\n", "- ", "a.", "a,", "1.", "a=",
    "<a", "[a", "[[", "](", "{{", "{{<", "<!--", "```\n", "~~~\n", "---\n", "\n- ", "a-", "a_", "((", "a:", "@a", "//",
    "\\(", "<a ", "='", "0x", "aA", "a1", "1a", "**", "`a", "'a", '"a', "|a", "| ", "&a", "{a", "%}", "http://", "a@",
)  # fmt: skip
"""What is repeated, with each of the ends below: white space, marks of markup, and words in between."""


def texts(pattern: re.Pattern[Any], length: int) -> Iterator[tuple[str, Any]]:
    """Texts of a length that repeat a piece: those above, and what the pattern itself begins with."""
    source = (
        pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    )
    literal = re.sub(r"\\[bBAZ]|\(\?[^)]*\)|[\\()\[\]?*+^$|]|\{[\d,]+\}", "", source)[:12]
    starts = ("", literal) if literal else ("",)
    for start in starts:
        for piece in (*PIECES, literal):
            for end in ("", "\x01"):
                if piece:
                    text = (start + piece * (length // len(piece)))[:length] + end
                    yield (
                        f"{start!r} + {piece!r} · n + {end!r}",
                        text.encode() if isinstance(pattern.pattern, bytes) else text,
                    )

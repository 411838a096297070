"""Chunking source code: spans that follow functions and classes, as `ingest.chunk` follows headings.

The same holds for them: they never overlap, and between two lies nothing but white space. What is
small is packed with its neighbours; what is too large is cut between statements, and only where one
statement alone is too large, between lines.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from index.schema import Chunk, contextual_text
from ingest.chunk import ChunkSizes, cut_code
from ingest.parsers.code import Unit, outline

Outline = Callable[[str, str], Unit | None]
Path = tuple[str, ...]

MAX_PATH = 120
"""Characters of the names in front of a chunk, so that they leave room for code in the model."""

_CHARACTERS_PER_TOKEN = 30
"""No code comes near it: what is longer is cut without counting its tokens first."""

_HEADER_LINES = 3
"""A definition's first lines, up to so many, stay with what follows them."""


@dataclass(frozen=True)
class _Piece:
    """A span of code under the names of its definitions, outermost first.

    `whole` is false for a part of a definition: it is packed with parts of the same one only.
    """

    start: int
    end: int
    path: Path
    whole: bool = True


def chunk_code(
    place: tuple[str, ...],
    text: str,
    language: str,
    sizes: ChunkSizes,
    outline: Outline = outline,
) -> list[Chunk]:
    """Cut a source file into chunks, in order. `place` is the document's.

    `outline` finds definitions: pass `Parsers.outline` to have it done in the sandbox. Code that
    does not parse is cut at blank lines.
    """
    if not text.strip():
        return []
    cut = _Cut(text, place, sizes)
    root = outline(text, language)
    whole = (0, len(text), ())
    pieces = cut.unit(replace(root, names=()), *whole) if root else cut.lines(*whole)
    return [
        Chunk(each.start, each.end, each.start, each.path, sizes.count(text[each.start : each.end]))
        for each in pieces
    ]


@dataclass(frozen=True)
class _Cut:
    text: str
    place: tuple[str, ...]
    sizes: ChunkSizes

    def fits(self, start: int, end: int, path: Path) -> bool:
        if end - start > self.sizes.target * _CHARACTERS_PER_TOKEN:
            return False
        body = self.text[start:end]
        return (
            self.sizes.count(body) <= self.sizes.target
            and self.sizes.model_count(contextual_text(self.place, path, body))
            <= self.sizes.model_limit
        )

    def unit(self, unit: Unit, start: int, end: int, path: Path) -> list[_Piece]:
        """Pieces of `[start, end)`: a unit and what stands behind it up to the next."""
        start, end = _trimmed(self.text, start, end)
        if start >= end:
            return []
        own = _shortened((*path, *unit.names))
        if self.fits(start, end, own):
            return [_Piece(start, end, own)]
        parts = [part for part in self._parts(unit, ()) if start <= part[0] < end]
        if not parts:
            return self.lines(start, end, own)
        pieces: list[_Piece] = []
        if self.text.count("\n", start, parts[0][0]) <= _HEADER_LINES:
            parts[0] = (start, *parts[0][1:])
        else:
            pieces = self.lines(start, parts[0][0], own)
        ends = [*(line for line, *_ in parts[1:]), end]
        for (line, names, inner), part_end in zip(parts, ends, strict=True):
            pieces += self.unit(inner, line, part_end, (*own, *names))
        # Inside a function all statements are packed together, however they are nested.
        return self._packed(pieces, own) if unit.names or not path else pieces

    def lines(self, start: int, end: int, path: Path) -> list[_Piece]:
        """Pieces of code whose structure isn't known, or that has none."""
        start, end = _trimmed(self.text, start, end)
        if start >= end:
            return []
        spans = cut_code(self.text, start, end, lambda a, b: self.fits(a, b, path))
        return [_Piece(*span, path, whole=False) for span in spans]

    def _parts(self, unit: Unit, names: Path) -> Iterator[tuple[int, Path, Unit]]:
        """Where a unit can be cut: at each unit in it that begins a line, with the start of the line.

        One that doesn't (`export class …`, the body behind a `{`) is looked into.
        """
        for child in unit.children:
            line = self.text.rfind("\n", 0, child.start) + 1
            if not self.text[line : child.start].strip():
                yield line, names, child
            else:
                yield from self._parts(child, (*names, *child.names))

    def _packed(self, pieces: Sequence[_Piece], own: Path) -> list[_Piece]:
        """Neighbours joined as long as they fit; then each is a part of the unit called `own`."""
        packed: list[_Piece] = []
        for piece in pieces:
            joined = self._joined(packed[-1], piece) if packed else None
            if joined:
                packed[-1] = joined
            else:
                packed.append(piece)
        return [replace(each, whole=each.whole and not own) for each in packed]

    def _joined(self, first: _Piece, second: _Piece) -> _Piece | None:
        if first.path == second.path:
            path = first.path
        elif first.whole and second.whole:
            path = _common(first.path, second.path)
        else:
            return None
        if not self.fits(first.start, second.end, path):
            return None
        return _Piece(first.start, second.end, path, first.whole and second.whole)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without blank lines in front and white space behind; indentation stays."""
    body = text[start:end]
    first = len(body) - len(body.lstrip())
    return start + body.rfind("\n", 0, first) + 1, start + len(body.rstrip())


def _shortened(path: Path) -> Path:
    """The innermost names that leave room for code."""
    while len(path) > 1 and len(" > ".join(path)) > MAX_PATH:
        path = path[1:]
    return path


def _common(first: Path, second: Path) -> Path:
    """The names that two paths begin with."""
    pairs = zip(first, second, strict=False)
    return tuple(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

"""Chunking: a document's text as spans that follow its headings, lists, tables and code.

Chunks never overlap, and between them lies nothing but white space and thematic breaks, so every
word of a document can be found and cited. A chunk stays inside one section.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from index.schema import Chunk, contextual_text
from index.sentences import sentences

TARGET_TOKENS = 200
"""tiktoken tokens a chunk is packed to; MiniLM reads 256 of its own, its context in front included."""

_LABEL = re.compile(r"\s*[-*+]\s+(?:\*\*|__)?([A-Z][\w/&'’ -]{1,40}?)(?:\*\*|__)?:(?:\*\*|__)?\s+")
_LABEL_WORDS = 4
_LABELLED_WORDS = 4
_LABEL_LEVEL = 7
"""A labelled item has a short name and says at least this much: it is a section in small."""

_markdown = MarkdownIt("commonmark").enable("table")
# Only blocks are wanted; what stands inside a paragraph is parsed for a third of the time.
_markdown.core.ruler.disable("inline")

_BLOCKS = {
    "paragraph_open": "text",
    "blockquote_open": "text",
    "html_block": "text",
    "hr": "break",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
}

CountTokens = Callable[[str], int]


MAX_HEADING = 200
"""Characters of a heading that stand in front of each chunk below it: a page of 100 KB in one heading
would be hashed and counted again for every chunk, and leave no room for any of their words."""

LEAST = 16
"""Characters that are not cut any more: where headings fill what the model reads, no cut makes room."""


@dataclass(frozen=True)
class ChunkSizes:
    """How large a chunk may be, and who counts.

    `count` counts tiktoken tokens up to `target`; `model_count` counts the embedding model's own
    tokens of the contextual text, up to `model_limit`.
    """

    count: CountTokens
    model_count: CountTokens
    model_limit: int
    target: int = TARGET_TOKENS


@dataclass(frozen=True)
class _Block:
    """A piece `[start, end)` of the text; a heading has a level, above 6 for a labelled item."""

    start: int
    end: int
    kind: str
    level: int = 0
    heading: str = ""


@dataclass(frozen=True)
class _Section:
    """The blocks under one heading path; `[start, body_start)` holds the heading lines."""

    start: int
    heading_path: tuple[str, ...]
    blocks: tuple[_Block, ...]


def chunk(place: tuple[str, ...], text: str, sizes: ChunkSizes) -> list[Chunk]:
    """Cut a document's text into chunks, in order. `place` is the document's."""
    chunks: list[Chunk] = []
    for section in _sections(_blocks(text)):
        spans = _pack(text, place, section, sizes)
        for position, (start, end) in enumerate(spans):
            first = section.start if position == 0 else start
            chunks.append(
                Chunk(first, end, start, section.heading_path, sizes.count(text[first:end]))
            )
    return chunks


def cut_code(
    text: str, start: int, end: int, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """Code whose structure is not known as spans that fit: cut at blank lines, else between lines."""
    return _fit(text, start, end, "code", fits)


# --- structure --------------------------------------------------------------------------------


def _blocks(text: str) -> list[_Block]:
    """The top-level blocks of a text; each runs to the start of the next, so nothing is lost."""
    if not text.strip():
        return []
    lines = _line_starts(text)
    starts: list[tuple[int, str, int, str]] = []
    tokens = _markdown.parse(text)
    for position, token in enumerate(tokens):
        if token.level != 0 or token.map is None or token.nesting < 0:
            continue
        start = lines[token.map[0]]
        if token.type == "heading_open":
            starts.append((start, "heading", int(token.tag[1:]), tokens[position + 1].content))
        elif items := _labelled_items(text, lines, tokens, position):
            starts.extend(items)
        else:
            starts.append((start, _BLOCKS.get(token.type, "text"), 0, ""))
        if token.type == "hr":
            # Definitions of links are no blocks, and would be lost with the line above them.
            starts.append((lines[token.map[1]], "text", 0, ""))
    if not starts or text[: starts[0][0]].strip():
        starts.insert(0, (0, "text", 0, ""))
    ends = [*(start for start, *_ in starts[1:]), len(text)]
    return [
        _Block(_skip_blank(text, start, end), end, kind, level, heading)
        for (start, kind, level, heading), end in zip(starts, ends, strict=True)
        if text[start:end].strip()
    ]


def _line_starts(text: str) -> list[int]:
    starts = [0]
    starts.extend(match.end() for match in re.finditer("\n", text))
    starts.append(len(text))
    return starts


def _skip_blank(text: str, start: int, end: int) -> int:
    """The start of the first line that is not blank."""
    while start < end and (newline := text.find("\n", start, end)) >= 0:
        if text[start:newline].strip():
            break
        start = newline + 1
    return start


def _labelled_items(
    text: str, lines: Sequence[int], tokens: Sequence[Token], position: int
) -> list[tuple[int, str, int, str]]:
    """The items of a list in which each item has a name (`- Problem: …`), else nothing."""
    if tokens[position].type != "bullet_list_open":
        return []
    found = []
    for token in tokens[position + 1 :]:
        if token.level == 0:
            break
        if token.type != "list_item_open" or token.level != 1 or token.map is None:
            continue
        start, end = lines[token.map[0]], lines[token.map[1]]
        label = _LABEL.match(text, start, end)
        if not label or len(label[1].split()) > _LABEL_WORDS:
            return []
        if len(text[label.end() : end].split()) < _LABELLED_WORDS:
            return []
        found.append((start, "label", _LABEL_LEVEL, label[1]))
    labels = {label for *_, label in found}
    return found if len(found) > 1 and len(labels) == len(found) else []


def _sections(blocks: Sequence[_Block]) -> Iterator[_Section]:
    """Group blocks under their headings; a heading with nothing of its own opens the next section.

    A thematic break ends a section too, with the heading kept: CommonMark and HTML have it stand where the
    topic changes within a section, so no chunk should say both.
    """
    path: list[tuple[int, str]] = []
    start: int | None = None
    body: list[_Block] = []
    if all(block.kind == "break" for block in blocks):
        body = list(blocks)  # a text of nothing else
        blocks = []
    for block in blocks:
        after_labels = not block.level and bool(path) and path[-1][0] == _LABEL_LEVEL
        if body and (block.level or block.kind == "break" or after_labels):
            yield _section(start, path, body)
            start, body = None, []
        if after_labels:
            path.pop()
        if block.kind == "break":
            continue
        if not block.level:
            body.append(block)
            continue
        start = block.start if start is None else start
        path = [(level, name) for level, name in path if level < block.level]
        path.append((block.level, _plain_heading(block.heading)))
        if block.kind == "label":
            body = [block]
    if body:
        yield _section(start, path, body)
    elif start is not None:
        yield _section(start, path, [_Block(start, blocks[-1].end, "text")])


def _section(start: int | None, path: list[tuple[int, str]], body: list[_Block]) -> _Section:
    return _Section(
        body[0].start if start is None else start,
        tuple(name for _, name in path if name),
        tuple(body),
    )


def _plain_heading(heading: str) -> str:
    heading = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", heading)
    heading = re.sub(r"\{#[^{}]*\}\s*$", "", heading)
    return " ".join(re.sub(r"[*`]|<[^<>]+>", "", heading).split())[:MAX_HEADING]


# --- size -------------------------------------------------------------------------------------


def _pack(
    text: str, place: tuple[str, ...], section: _Section, sizes: ChunkSizes
) -> list[tuple[int, int]]:
    """Spans of one section: whole blocks as long as they fit together, cut only where they don't."""

    @cache
    def fits(start: int, end: int) -> bool:
        body = text[start:end]
        return (
            sizes.count(body) <= sizes.target
            and sizes.model_count(contextual_text(place, section.heading_path, body))
            <= sizes.model_limit
        )

    spans: list[tuple[int, int]] = []
    for block in section.blocks:
        start, end = _body_start(text, block), _strip_end(text, block.start, block.end)
        if spans and fits(spans[-1][0], end):  # then the block fits alone, and need not be counted
            spans[-1] = (spans[-1][0], end)
            continue
        for piece in _fit(text, start, end, block.kind, fits):
            if spans and fits(spans[-1][0], piece[1]):
                spans[-1] = (spans[-1][0], piece[1])
            else:
                spans.append(piece)
    return spans


def _body_start(text: str, block: _Block) -> int:
    label = _LABEL.match(text, block.start, block.end) if block.kind == "label" else None
    return label.end() if label else block.start


def _strip_end(text: str, start: int, end: int) -> int:
    return start + len(text[start:end].rstrip())


def _fit(
    text: str, start: int, end: int, kind: str, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """One block as spans that fit: whole, else by finer and finer seams."""
    if fits(start, end):
        return [(start, end)]
    for seam in _SEAMS[kind]:
        pieces = seam(text, start, end)
        if len(pieces) > 1:
            return [span for piece in pieces for span in _fit(text, *piece, kind, fits)]
    return _halve(text, start, end, kind, fits)


def _halve(
    text: str, start: int, end: int, kind: str, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """The last resort for one endless word or line: cut it in the middle, at a space if any."""
    if end - start <= LEAST:
        return [(start, end)]
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space + 1 if space > start else middle
    pieces = [piece for piece in ((start, cut), (cut, end)) if text[slice(*piece)].strip()]
    if len(pieces) < 2:
        (only,) = pieces
        stripped = (_strip_start(text, *only), _strip_end(text, *only))
        return _fit(text, *stripped, kind, fits)
    return [
        span
        for a, b in pieces
        for span in _fit(text, _strip_start(text, a, b), _strip_end(text, a, b), kind, fits)
    ]


def _strip_start(text: str, start: int, end: int) -> int:
    return end - len(text[start:end].lstrip())


def _cut_at(pattern: str) -> Callable[[str, int, int], list[tuple[int, int]]]:
    """A seam: cut in front of what the pattern finds, nearest the middle to keep pieces even."""
    compiled = re.compile(pattern, re.MULTILINE)

    def cut(text: str, start: int, end: int) -> list[tuple[int, int]]:
        middle = (start + end) // 2
        places = [
            match.start()
            for match in compiled.finditer(text, start + 1, end)
            if text[start : match.start()].strip() and text[match.start() : end].strip()
        ]
        if not places:
            return [(start, end)]
        place = min(places, key=lambda place: abs(place - middle))
        return [
            (start, _strip_end(text, start, place)),
            (_keep_indent(text, place, end), end),
        ]

    return cut


def _keep_indent(text: str, start: int, end: int) -> int:
    """Skip blank lines but not the white space in front of the first word, which code needs."""
    return _skip_blank(text, start, end)


def _cut_sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found = [start + sentence.start for sentence in sentences(text[start:end])]
    places = [place for place in found if text[start:place].strip()]
    if not places:
        return [(start, end)]
    middle = (start + end) // 2
    place = min(places, key=lambda place: abs(place - middle))
    return [(start, _strip_end(text, start, place)), (place, end)]


_blank_line = _cut_at(r"^[ \t]*\n")
_top_item = _cut_at(r"^(?:[-*+]|\d{1,3}[.)])\s")
_any_item = _cut_at(r"^\s*(?:[-*+]|\d{1,3}[.)])\s")
_line = _cut_at(r"^")

_SEAMS: dict[str, list[Callable[[str, int, int], list[tuple[int, int]]]]] = {
    "text": [_blank_line, _any_item, _cut_sentences, _line],
    "list": [_top_item, _any_item, _blank_line, _cut_sentences, _line],
    "label": [_blank_line, _any_item, _cut_sentences, _line],
    "break": [_line],
    "table": [_line],
    "code": [_blank_line, _line],
}

"""A documentation site's markdown: its includes and shortcodes as plain markdown.

MkDocs (snippets, markdown-include, include-markdown, admonitions, tabs), Hugo (shortcodes) and
Docusaurus (MDX) are told apart by what they write, not by a setting: their marks don't collide.
Each page is done by itself and then put into the one that includes it, so what it brings in is not
read a second time. Nothing is fetched or run: a shortcode or component whose words are not in the
source is left out and counted. Every pattern here takes time in proportion to the text.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from index.errors import ParseError
from ingest.parsers import admonitions, mdx, shortcodes
from ingest.parsers.includes import (
    MARKDOWN,
    Included,
    Includes,
    Read,
    body_of,
    choose,
    expand_asciidoc,
)
from ingest.parsers.parsed import Parsed
from ingest.parsers.text import FENCED, decode, printable, title_of

_MARKS = re.compile(
    r"""-8<-|\{[!%]|\{\{[<%]|^[ \t]*(?:!!!|\?\?\?|===[!+]?[ \t]+"|:::)|^import\s""", re.MULTILINE
)
_SNIPPET = re.compile(
    r"""^(?P<indent>[ \t]*)(?P<escape>;*)-+8<-+(?:[ \t]+(?P<quote>["'])(?P<name>[^\n"']+)(?P=quote))?[ \t]*$""",
    re.MULTILINE,
)
_BRACE = re.compile(r"\{!([^{}\n]{1,300}?)!\}")
_JINJA = re.compile(r"(?<!\{)\{%-?\s*include(?:-markdown|_relative)?\s([^%{}]{1,1000}?)-?%\}")
_JINJA_OPTION = re.compile(r"""\b(start|end)=(?:"([^"]*)"|'([^']*)')""")
_INLINE_CODE = re.compile(r"(?<!`)(`{1,9})(?!`)([^\n]{1,1000}?)(?<!`)\1(?!`)")
_HELD = re.compile("\0(\\d+)\0")
_ASCIIDOC = (".adoc", ".asciidoc")


@dataclass(frozen=True)
class Expanded:
    """A page's text as readers of the site see it, and what became of its marks.

    `included`: paths of the files brought in, so that a change to one is a change to the page.
    `verbatim`: the text is the page's own, unchanged. `lines_kept`: line n is still line n of it.
    """

    text: str
    dropped: dict[str, int]
    included: tuple[str, ...]
    verbatim: bool
    lines_kept: bool


def expand(text: str, path: str, read: Read) -> Expanded:
    """Put in what the page at `path` (from the source's root) includes, and take off its marks.

    `text` is without front matter. `read` is called with paths from the source's root, never with
    one that leaves it by `..`, and decides itself about links and ignored files.
    """
    includes = Includes(read)
    if path.lower().endswith(_ASCIIDOC):
        changed = expand_asciidoc(text, (path,), includes)
    elif _MARKS.search(text) or path.lower().endswith(".mdx"):
        changed = _Page(includes, (path,)).expand(text)
    else:
        return Expanded(text, {}, (), True, True)
    return Expanded(
        changed,
        dict(includes.dropped),
        tuple(includes.included),
        changed == text,
        not includes.included and changed.count("\n") == text.count("\n"),
    )


def parse_page(
    parse: Callable[[str, bytes], Parsed], name: str, data: bytes, read: Read
) -> tuple[Parsed, Expanded | None]:
    """Parse a file and, of markdown and AsciiDoc, expand it; None for what has nothing to expand.

    `parse` is `ingest.parsers.parse` or that of the sandbox; raises `ParseError`. AsciiDoc is
    expanded before it is parsed, as its includes may be in code and tables; markdown after its front
    matter is off, and its title is found again.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _ASCIIDOC:
        expanded = expand(decode(name, data), name, read)
        return parse(name, expanded.text.encode()), expanded
    parsed = parse(name, data)
    if suffix not in MARKDOWN:
        return parsed, None
    expanded = expand(parsed.text, name, read)
    if expanded.verbatim:
        return parsed, expanded
    if not expanded.text.strip():
        raise ParseError(f"{printable(name)} holds no text but what it includes: exclude it")
    dropped = dict(Counter(parsed.dropped) + Counter(expanded.dropped))
    title = title_of(name, parsed.metadata, expanded.text)
    return Parsed(title, expanded.text, parsed.metadata, dropped), expanded


@dataclass
class _Page:
    """One page while it is expanded. `held` keeps what must not be read again: code, included text."""

    includes: Includes
    above: tuple[str, ...]
    held: list[str] = field(default_factory=list)

    def expand(self, text: str) -> str:
        text = text.replace("\0", "")
        prose, end = [], 0
        for fence in FENCED.finditer(text):
            prose += [text[end : fence.start()], self.hold(self._in_code(fence[0]))]
            end = fence.end()
        whole = "".join([*prose, text[end:]])
        whole = _INLINE_CODE.sub(lambda code: self.hold(code[0]), whole)
        whole = self._jinja(self._snippets(whole, fenced=False), fenced=False)
        whole = shortcodes.expand(whole, self.hold, self._include, self._count)
        if self.above[-1].lower().endswith(".mdx") or mdx.is_mdx(whole):
            whole = mdx.expand(whole, self.hold, self._include, self._count)
        return admonitions.plain(self._released(whole))

    def hold(self, text: str) -> str:
        self.held.append(text)
        return f"\0{len(self.held) - 1}\0"

    def _count(self, kind: str) -> None:
        self.includes.dropped[kind] += 1

    def _released(self, text: str) -> str:
        """With what was held put back; what is held may hold other things, earlier ones only."""
        return _HELD.sub(lambda mark: self._released(self.held[int(mark[1])]), text)

    # --- what includes name -------------------------------------------------------------------

    def _include(self, name: str, code: bool) -> str | None:
        """A file's text for a shortcode or component: as a page, or as it is if it is code."""
        found = self.includes.find(name, self.above)
        if found is None:
            return None
        return self._inserted(found, found.text if code else body_of(found.path, found.text), code)

    def _inserted(self, found: Included, text: str, code: bool) -> str:
        if code or not found.path.lower().endswith(MARKDOWN):
            return text.rstrip("\n")
        return _Page(self.includes, found.above).expand(text).rstrip("\n")

    def _part(self, name: str, fenced: bool, cut: Callable[[str], str | None]) -> str | None:
        found = self.includes.find(name, self.above, keep_absent=fenced)
        part = cut(body_of(found.path, found.text)) if found else None
        if found and part is None:
            self.includes.dropped["includes not found"] += 1
        return None if found is None or part is None else self._inserted(found, part, fenced)

    # --- MkDocs and Jekyll --------------------------------------------------------------------

    def _in_code(self, fence: str) -> str:
        return self._jinja(self._snippets(fence, fenced=True), fenced=True)

    def _snippets(self, text: str, *, fenced: bool) -> str:
        """`--8<-- "file"`, alone or as a block of names between two such marks, and `{!file!}`."""
        if "8<" in text:
            text = self._marked(text, fenced)
        if "{!" in text:
            text = _BRACE.sub(lambda mark: self._braced(mark, fenced), text)
        return text

    def _marked(self, text: str, fenced: bool) -> str:
        pieces, at = [], 0
        for mark in _SNIPPET.finditer(text):
            if mark.start() < at:
                continue  # the closing mark of a block
            pieces.append(text[at : mark.start()])
            at = mark.end()
            if mark["escape"]:
                pieces.append(mark["indent"] + mark[0].strip().removeprefix(";"))
            elif mark["name"]:
                pieces.append(self._snippet(mark["name"], mark["indent"], mark[0], fenced))
            elif closing := _SNIPPET.search(text, mark.end()):
                if closing["name"] or closing["escape"]:
                    continue
                names = text[mark.end() : closing.start()].split("\n")
                kept = [name.strip() for name in names if name.strip() and name.strip()[0] != ";"]
                blocks = (self._snippet(name, mark["indent"], "", fenced) for name in kept)
                pieces.append("\n\n".join(blocks))
                at = closing.end()
        return "".join([*pieces, text[at:]])

    def _snippet(self, name: str, indent: str, written: str, fenced: bool) -> str:
        file, _, part = name.partition(":")
        if part.startswith("//"):
            file, part = name, ""
        text = self._part(file, fenced, lambda whole: choose(whole, part))
        if text is None:
            return written if fenced else ""
        return self.hold("\n".join(indent + line if line else "" for line in text.split("\n")))

    def _braced(self, mark: re.Match[str], fenced: bool) -> str:
        name, _, options = mark[1].lstrip(">").strip().partition("!")
        lines = options.strip().partition("lines=")[2].split()
        part = ",".join(f"{a}:{b or a}" for a, _, b in (each.partition("-") for each in lines))
        text = self._part(name.strip(), fenced, lambda whole: choose(whole, part))
        if text is None:
            return mark[0] if fenced else ""
        return self.hold(text)

    def _jinja(self, text: str, *, fenced: bool) -> str:
        if "{%" not in text:
            return text
        return _JINJA.sub(lambda mark: self._jinja_include(mark, fenced), text)

    def _jinja_include(self, mark: re.Match[str], fenced: bool) -> str:
        quoted = re.match(r"""\s*(?:"([^"\n]+)"|'([^'\n]+)'|([\w./-]+\.\w+))""", mark[1])
        if not quoted:
            return mark[0]
        options = {key: a or b for key, a, b in _JINJA_OPTION.findall(mark[1])}
        text = self._part(
            quoted[1] or quoted[2] or quoted[3],
            fenced,
            lambda whole: _between(whole, options.get("start"), options.get("end")),
        )
        if text is None:
            return mark[0] if fenced else ""
        return self.hold(text)


def _between(text: str, start: str | None, end: str | None) -> str:
    """What stands between two marks of an included file; one that is absent cuts nothing."""
    if start and start in text:
        text = text.partition(start)[2]
    return text.partition(end)[0] if end else text

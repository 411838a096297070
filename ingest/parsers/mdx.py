"""MDX (Docusaurus): partials that are imported are put in, code and tags are taken off, words stay."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from ingest.parsers.includes import MARKDOWN
from ingest.parsers.shortcodes import Hold, Include, fenced

_IS_MDX = re.compile(r"""^import\s[^\n;]*\sfrom\s+['"][^'"\n]+['"];?[ \t]*$""", re.MULTILINE)
_IMPORT = re.compile(r"""import\s+[\w$*{'"]""")
_SPECIFIER = re.compile(r"""(?:\bfrom|^import)\s*['"]([^'"\n]+)['"]\s*;?\s*$""")
_EXPORT = re.compile(r"export\s+(?:const|let|var|default|function|class|async|type|\*|\{)")
_TAG = re.compile(r"<(/?)(?:([A-Z][\w.]*|div|span|section|center|figure)(?=[\s/>])|(?=>))")
_SHOWN = re.compile(
    r"""\s(?:label|title|summary|alt|caption)=\{?(?:"([^"\n]+)"|'([^'\n]+)'|`([^`\n]+)`)"""
)
_CODE = re.compile(r"\s*\{(\w+)\}\s*</CodeBlock>")
_LANGUAGE = re.compile(r"""\slanguage=["'](\w+)["']""")
_STRING = re.compile(r"""\{(['"`])([^{}\n]{0,200}?)\1\}""")
_LONGEST_IMPORT = 40

Count = Callable[[str], None]


def is_mdx(text: str) -> bool:
    """Whether a page imports something: Docusaurus reads `.md` files as MDX too."""
    return bool(_IS_MDX.search(text))


def expand(text: str, hold: Hold, include: Include, count: Count) -> str:
    """`text` without imports, exports, comments and tags; `<Part />` of an imported file is that file.

    HTML in lower case stays as in any markdown, but for layout (`div`, `span`). A component that
    encloses nothing and shows no words of its own is counted.
    """
    text, imports = _without_modules(text)
    text = _STRING.sub(lambda found: found[2], _without_comments(text))
    pieces, at = [], 0
    while found := _TAG.search(text, at):
        pieces.append(text[at : found.start()])
        end, whole = _tag_end(text, found.end())
        at = end
        if not whole:
            pieces.append(text[found.start() : end])
            continue
        tag, name = text[found.start() : end], found[2] or ""
        if code := name == "CodeBlock" and not found[1] and _CODE.match(text, end):
            source, at = include(_path(imports.get(code[1], "")), True), code.end()
            language = _LANGUAGE.search(tag)
            pieces.append(
                "" if source is None else hold(fenced(source, language[1] if language else ""))
            )
            continue
        pieces.append(_replaced(tag, name, imports, hold, include, count))
        pieces.append("\n" * tag.count("\n"))
    return "".join([*pieces, text[at:]])


def _without_modules(text: str) -> tuple[str, dict[str, str]]:
    """The text with blank lines for its imports and exports, and what is imported under which name."""
    lines = text.split("\n")
    imports: dict[str, str] = {}
    at = 0
    while at < len(lines):
        end = at
        if _IMPORT.match(lines[at]):
            end = _import_end(lines, at)
            statement = " ".join(lines[at:end])
            specifier = _SPECIFIER.search(statement)
            name = re.match(r"import\s+([\w$]+)", statement)
            if specifier and name:
                imports[name[1]] = specifier[1]
        elif _EXPORT.match(lines[at]):
            while end < len(lines) and lines[end].strip():
                end += 1
        lines[at:end] = [""] * (end - at)
        at = max(end, at + 1)
    return "\n".join(lines), imports


def _import_end(lines: list[str], at: int) -> int:
    """The line after an import statement, or `at` where it is none but a sentence."""
    for end in range(at, min(at + _LONGEST_IMPORT, len(lines))):
        if _SPECIFIER.search(lines[end]):
            return end + 1
        if not lines[end].strip():
            break
    return at


def _without_comments(text: str) -> str:
    pieces, at = [], 0
    while (start := text.find("{/*", at)) >= 0 and (end := text.find("*/}", start)) >= 0:
        pieces += [text[at:start], "\n" * text.count("\n", start, end)]
        at = end + 3
    return "".join([*pieces, text[at:]])


def _tag_end(text: str, at: int) -> tuple[int, bool]:
    """Where a tag ends, and whether it does: its strings and `{…}` may hold any `>`."""
    depth, quote = 0, ""
    for place in range(at, min(at + 20_000, len(text))):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'`":
            quote = letter
        elif letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
        elif letter == ">" and depth <= 0:
            return place + 1, True
        elif letter == "<" and depth <= 0:
            return place, False
    return min(at + 20_000, len(text)), False


def _replaced(
    tag: str, name: str, imports: dict[str, str], hold: Hold, include: Include, count: Count
) -> str:
    path = _path(imports.get(name, ""))
    if path.lower().endswith(MARKDOWN) and not tag.startswith("</"):
        return hold(include(path, False) or "")
    if tag.startswith("</"):
        return ""
    if shown := _SHOWN.search(tag):
        return f"**{shown[1] or shown[2] or shown[3]}**"
    if tag.endswith("/>") and name:
        count("components")
    return ""


def _path(specifier: str) -> str:
    """A path from `!!raw-loader!./x.py`, `@site/docs/_x.mdx` or `./_x.mdx?raw`."""
    path = specifier.rpartition("!")[2].partition("?")[0]
    return path if PurePosixPath(path).suffix else ""

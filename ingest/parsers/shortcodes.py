"""Hugo's shortcodes as markdown: what they include, and the words that they show."""

import re
from bisect import bisect_left
from collections.abc import Callable
from pathlib import PurePosixPath

from ingest.parsers.admonitions import label
from ingest.parsers.includes import MARKDOWN

Hold = Callable[[str], str]
Include = Callable[[str, bool], str | None]
Count = Callable[[str], None]

_SHORTCODE = re.compile(r"\{\{[<%](?!/\*)((?:(?!\{\{|[>%]\}\}).){1,2000})[>%]\}\}", re.DOTALL)
_CLOSING = re.compile(r"\{\{[<%]\s*/\s*([\w./-]+)\s*[>%]\}\}")
_ARGUMENT = re.compile(
    r"""(?:(?P<key>[\w-]+)=)?(?:"(?P<double>(?:[^"\\]|\\.)*)"|`(?P<raw>[^`]*)`|(?P<bare>[^\s"`]+))""",
    re.DOTALL,
)
_INCLUDES = frozenset(
    "include readfile read-file code_sample codenew code-sample code_file code-file embed snippet "
    "include-file includefile partial md markdownify-file literalinclude".split()
)
_CODE = frozenset("code_sample codenew code-sample code_file code-file literalinclude".split())
_NOTES = frozenset(
    "note warning caution tip info important danger hint attention alert callout admonition notice "
    "blockquote success error question example todo deprecated".split()
)
_GENERIC = frozenset("alert callout admonition notice hint blockquote".split())
_REFERENCES = frozenset("ref relref".split())
_IMAGES = frozenset("figure img image imgproc gallery picture".split())
_TITLED = frozenset("tab details expand tabitem accordion card collapse step".split())
_VERBATIM = frozenset("highlight mermaid code math katex".split())
_TITLES = ("title", "name", "header", "tabname", "label", "summary", "heading")
_WORDS = ("text", "caption", "alt")


def expand(text: str, hold: Hold, include: Include, count: Count) -> str:
    """`text` with each shortcode replaced by what it includes or says; what it doesn't is counted.

    One that encloses text gives that text. Escaped ones (`{{</* x */>}}`) stay as they are written.
    """
    if "{{<" not in text and "{{%" not in text:
        return text
    closings: dict[str, list[re.Match[str]]] = {}
    for closing in _CLOSING.finditer(text):
        closings.setdefault(closing[1], []).append(closing)
    pieces, at = [], 0
    while found := _SHORTCODE.search(text, at):
        pieces.append(text[at : found.start()])
        at = found.end()
        name, arguments = _read(found[1])
        if name.startswith("/"):
            continue
        inner = _closing(closings, name, at) if name in ("comment", *_VERBATIM) else None
        if inner:
            body, at = text[at : inner.start()], inner.end()
            pieces.append(
                "" if name == "comment" else hold(fenced(body, _language(name, arguments)))
            )
            continue
        pieces.append(_replaced(name, arguments, name in closings, include, count, hold))
        pieces.append("\n" * found[0].count("\n"))
    return "".join([*pieces, text[at:]])


def _read(inside: str) -> tuple[str, dict[str, str]]:
    """A shortcode's name and its arguments; those without a name are numbered from "0"."""
    inside = inside.strip().removesuffix("/").strip()
    if inside.startswith("/"):
        return "/", {}
    name, *rest = inside.split(None, 1)
    arguments: dict[str, str] = {}
    for position, found in enumerate(_ARGUMENT.finditer(rest[0] if rest else "")):
        value = next(each for each in found.group("double", "raw", "bare") if each is not None)
        arguments[found["key"] or str(position)] = re.sub(r'\\(["\\])', r"\1", value)
    return name, arguments


def _closing(closings: dict[str, list[re.Match[str]]], name: str, at: int) -> re.Match[str] | None:
    """The next closing shortcode of a name."""
    own = closings.get(name, [])
    position = bisect_left(own, at, key=lambda closing: closing.start())
    return own[position] if position < len(own) else None


def _replaced(
    name: str,
    arguments: dict[str, str],
    encloses: bool,
    include: Include,
    count: Count,
    hold: Hold,
) -> str:
    lower = name.lower().rpartition("/")[2]
    first = arguments.get("0", "")
    if lower in _REFERENCES:
        return first or arguments.get("path", "")
    if lower in _INCLUDES and not encloses:
        return _included(lower, arguments, include, hold)
    if lower in _NOTES:
        kind = arguments.get("type") or arguments.get("color") or first
        title = arguments.get("title", "")
        return label(kind or name, title) if lower in _GENERIC else label(name, title or first)
    if lower in _IMAGES:
        count("images")
        return next((arguments[key] for key in ("alt", "caption", "title") if key in arguments), "")
    if words := next((arguments[key] for key in _WORDS if key in arguments), ""):
        return words
    title = next((arguments[key] for key in _TITLES if key in arguments), "")
    if lower in _TITLED:
        title = title or first
    if not encloses and not title:
        count("shortcodes")
    return f"**{title}**" if title and lower != "tabs" else ""


def _included(name: str, arguments: dict[str, str], include: Include, hold: Hold) -> str:
    keys = ("file", "path", "src", "filename", "0")
    target = next((arguments[key] for key in keys if key in arguments), "")
    if not target:
        return ""
    suffix = PurePosixPath(target).suffix.lower()
    code = (
        name in _CODE or arguments.get("code") == "true" or suffix not in ("", *MARKDOWN, ".html")
    )
    text = include(target, code)
    if text is None:
        return ""
    language = arguments.get("lang") or arguments.get("language") or suffix.lstrip(".")
    return hold(fenced(text, language) if code else text)


def _language(name: str, arguments: dict[str, str]) -> str:
    if name in ("highlight", "code"):
        return next((arguments[key] for key in ("lang", "language", "0") if key in arguments), "")
    return name


def fenced(code: str, language: str) -> str:
    """A code block whose fence is longer than any in the code."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    code = code.strip("\n")
    return f"{fence}{language}\n{code}\n{fence}"

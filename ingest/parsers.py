"""Parsers: a file's bytes to curated markdown, by well-kept libraries; nothing is fetched or run.

Markdown and plain text stay exactly as written, so a citation's offsets are those of the file
behind its front matter. HTML, Word and reStructuredText all pass through one HTML-to-markdown step.
"""

import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml

from index.errors import ParseError

log = logging.getLogger("casebook.ingest")

MAX_FRONT_MATTER = 64 * 1024
"""Characters; what is longer is no front matter but an attack or an accident."""

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_TOP_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_NOT_CONTENT = (
    "script",
    "style",
    "noscript",
    "template",
    "nav",
    "footer",
    "aside",
    "form",
    "iframe",
)
_IMAGES = ("img", "picture", "svg", "video", "audio", "canvas", "object", "embed")


@dataclass(frozen=True)
class Parsed:
    """A document as read: its markdown, what is known of it, and what was left out, by kind."""

    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


def parse(name: str, data: bytes) -> Parsed:
    """Read a file by its suffix; raises `ParseError`, which names the file, reason and remedy."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _PARSERS:
        raise ParseError(
            f"{name}: casebook does not read {suffix or 'files without a suffix'}; "
            f"it reads {', '.join(sorted(SUFFIXES))}"
        )
    parsed = _PARSERS[suffix](name, data)
    if not parsed.text.strip():
        hint = "an image-only PDF needs OCR first" if suffix == ".pdf" else "fill it or delete it"
        raise ParseError(f"{name} holds no text: {hint}")
    return parsed


@contextmanager
def _reading(name: str, what: str, remedy: str) -> Iterator[None]:
    """Turns whatever a library raises on a damaged file into an error that names the file.

    These libraries trust their input: fuzzing brought twenty kinds of exception out of them, from
    `zlib.error` to `AttributeError`, so any is taken for damage, and logged in full.
    """
    try:
        yield
    except ParseError:
        raise
    except Exception as error:
        log.info("could not read %s", name, exc_info=True)
        raise ParseError(f"{name} is {what} ({type(error).__name__}): {remedy}") from error


# --- text -------------------------------------------------------------------------------------


def _decode(name: str, data: bytes) -> str:
    """UTF-8 with `\\n` line ends."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParseError(
            f"{name} is not UTF-8 (byte {error.start} can't be read): save it as UTF-8"
        ) from error
    if "\0" in text:
        raise ParseError(f"{name} holds NUL bytes: it is no text file, or a damaged one")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _markdown(name: str, data: bytes) -> Parsed:
    text = _decode(name, data)
    found = _FRONT_MATTER.match(text)
    metadata = _front_matter(name, found[1]) if found else {}
    body = text[found.end() :] if found else text
    body = re.sub(r"\A(?:[ \t]*\n)+", "", body)
    return Parsed(_title(name, metadata, body), body, metadata)


def _front_matter(name: str, text: str) -> dict[str, Any]:
    if len(text) > MAX_FRONT_MATTER:
        raise ParseError(f"{name}: its front matter is over 64 KiB: move the text below the ---")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # An alias can repeat itself a billionfold; front matter has no need of any.
            raise ParseError(f"{name}: its front matter uses a YAML alias: write the value out")
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 2}" if mark else ""
        raise ParseError(
            f"{name}: its front matter is not valid YAML{where}: mend or quote it"
        ) from error
    except RecursionError as error:
        raise ParseError(f"{name}: its front matter is nested too deeply: flatten it") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ParseError(f"{name}: its front matter must be `name: value` lines between ---")
    return {str(key): _plain(value) for key, value in loaded.items()}


def _plain(value: Any) -> Any:
    """A YAML value as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _text(name: str, data: bytes) -> Parsed:
    text = _decode(name, data)
    return Parsed(_readable_stem(name), text)


def _title(name: str, metadata: Mapping[str, Any], text: str, own: str = "") -> str:
    stated = metadata.get("title")
    if isinstance(stated, str | int | float) and str(stated).strip():
        return str(stated).strip()
    heading = _TOP_HEADING.search(text)
    return (heading[1].strip() if heading else "") or own.strip() or _readable_stem(name)


def _readable_stem(name: str) -> str:
    words = re.sub(r"[-_]+", " ", PurePosixPath(name).stem).strip()
    return words[:1].upper() + words[1:] or name


# --- HTML and what becomes HTML ---------------------------------------------------------------


def _html(name: str, data: bytes) -> Parsed:
    from bs4 import BeautifulSoup

    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ParseError(f"{name} holds NUL bytes: it is no text file, or a damaged one")
    declared = re.search(rb"charset=[\"']?([\w-]+)", data[:2048])
    if declared and declared[1].lower() not in (b"utf-8", b"utf8"):
        soup = BeautifulSoup(data, "html.parser")
    else:
        soup = BeautifulSoup(_decode(name, data), "html.parser")
    return _from_soup(name, soup, {})


def _from_html(name: str, html: str, dropped: Mapping[str, int], own_title: str = "") -> Parsed:
    from bs4 import BeautifulSoup

    return _from_soup(name, BeautifulSoup(html, "html.parser"), dropped, own_title)


def _from_soup(name: str, soup: Any, dropped: Mapping[str, int], own_title: str = "") -> Parsed:
    """Markdown of the main content; what is no content is taken out and counted."""
    from markdownify import markdownify

    counts = Counter(dropped)
    title = soup.title.get_text(" ", strip=True) if soup.title else own_title
    for head in soup.find_all("head"):
        head.decompose()
    content = soup.find("main") or soup.find("article") or soup.find("body") or soup
    for kinds, label in ((_NOT_CONTENT, None), (_IMAGES, "images")):
        for element in content.find_all(kinds):
            if not element.decomposed:
                counts[label or f"{element.name} elements"] += 1
                element.decompose()
    with _reading(name, "HTML that can't be read", "flatten what is nested deeply"):
        text = markdownify(
            str(content), heading_style="ATX", bullets="-", code_language_callback=_language
        )
    lines = [line.rstrip() for line in text.replace("\0", "").splitlines()]
    tidy = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
    return Parsed(_title(name, {}, tidy, title), tidy, {}, dict(counts))


def _language(element: Any) -> str:
    """The language of a code block, from the class that highlighters give it."""
    inner = element.find("code")
    classes = [*(element.get("class") or []), *((inner.get("class") or []) if inner else [])]
    for name in classes:
        if name.startswith(("language-", "lang-")):
            return str(name.split("-", 1)[1])
    return next(
        (name for name in classes if name not in ("code", "highlight", "literal-block")), ""
    )


_ROLE = re.compile(r":[a-zA-Z][\w:+.-]*:`([^`<]+?)(?:\s*<[^`>]*>)?`")
_CODE_DIRECTIVE = re.compile(r"^(\s*)\.\. (?:code-block|sourcecode|highlight)::", re.MULTILINE)
_TOCTREE = re.compile(
    r"^\.\. (?:toctree|include|raw|index|highlight)::.*(?:\n(?:[ \t]+.*)?)*", re.MULTILINE
)
_VERSION_NOTE = re.compile(
    r"^(\s*)\.\. (versionadded|versionchanged|deprecated|seealso|todo)::[ \t]*", re.MULTILINE
)


def _rst(name: str, data: bytes) -> Parsed:
    from docutils.core import publish_parts

    text, cut = _TOCTREE.subn("\n", _decode(name, data))
    text = _CODE_DIRECTIVE.sub(r"\1.. code::", text)
    text = _VERSION_NOTE.sub(r"\1\2: ", text)
    text = _ROLE.sub(lambda found: found[1].strip(), text)
    settings = {
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "report_level": 5,
        "halt_level": 5,
        "syntax_highlight": "none",
        "initial_header_level": 2,
        "_disable_config": True,
    }
    with _reading(name, "not readable as reStructuredText", "mend its markup"):
        parts = publish_parts(text, writer="html5", settings_overrides=settings)
    dropped = {"directives": cut} if cut else {}
    title = re.sub(r"<[^>]+>", "", parts["title"])
    heading = f"<h1>{parts['title']}</h1>" if title else ""
    body = re.sub(r"<(/?)aside\b", r"<\1div", parts["body"])  # how docutils writes a note
    return _from_html(name, f"<body>{heading}{body}</body>", dropped, title)


def _docx(name: str, data: bytes) -> Parsed:
    import mammoth

    with _reading(name, "a damaged Word file, or none", "save it anew as .docx"):
        result = mammoth.convert_to_html(
            io.BytesIO(data), convert_image=mammoth.images.img_element(lambda image: {"src": ""})
        )
    return _from_html(name, f"<body>{result.value}</body>", {})


# --- PDF --------------------------------------------------------------------------------------


def _pdf(name: str, data: bytes) -> Parsed:
    from pypdf import PdfReader

    with _reading(name, "a damaged PDF, or none", "export it anew"):
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ParseError(f"{name} is an encrypted PDF: save a copy without a password")
        pages = [page.extract_text() or "" for page in reader.pages]
        title = str(reader.metadata.get("/Title") or "") if reader.metadata else ""
    kept, repeated = _without_running_lines([page.replace("\0", "") for page in pages])
    dropped = Counter({"running headers and footers": repeated})
    dropped["pages without text"] = sum(not page.strip() for page in pages)
    text = "\n\n".join(filter(None, (_paragraphs(page) for page in kept)))
    text = text.encode("utf-8", "replace").decode("utf-8")
    found = {kind: count for kind, count in dropped.items() if count}
    return Parsed(_title(name, {}, "", title), f"{text}\n", {"pages": len(pages)}, found)


def _without_running_lines(pages: list[str]) -> tuple[list[str], int]:
    """Pages without the first or last line that most of three or more pages share."""
    lines = [page.strip().splitlines() for page in pages]
    edges = Counter(
        _unnumbered(line) for page in lines if page for line in {page[0], page[-1]} if line.strip()
    )
    running = {line for line, count in edges.items() if len(pages) >= 3 and 2 * count > len(pages)}
    removed = 0
    for page in lines:
        for edge in (0, -1):
            if page and _unnumbered(page[edge]) in running:
                page.pop(edge)
                removed += 1
    return ["\n".join(page) for page in lines], removed


def _unnumbered(line: str) -> str:
    return re.sub(r"\d+", "#", line.strip())


def _paragraphs(page: str) -> str:
    """Lines joined to paragraphs: one ends at a blank line, or a short line with a full stop."""
    page = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", page)
    lines = [line.strip() for line in page.splitlines()]
    longest = max(map(len, lines), default=0)
    text = ""
    for line in lines:
        if not line:
            text += "\n\n"
        else:
            ended = line.endswith((".", ":", "?", "!")) and len(line) < 0.8 * longest
            text += line + ("\n\n" if ended else "\n")
    return re.sub(r"\n{3,}", "\n\n", text).strip()


_PARSERS: dict[str, Callable[[str, bytes], Parsed]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _text,
    ".rst": _rst,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".docx": _docx,
}

SUFFIXES = frozenset(_PARSERS)
"""What can be read, in lower case."""

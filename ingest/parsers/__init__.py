"""Parsers: a file's bytes to curated markdown, by well-kept libraries; nothing is fetched or run.

Markdown, plain text and source code stay exactly as written, so a citation's offsets are those of
the file behind its front matter. HTML, Word and reStructuredText all pass through one HTML-to-markdown step.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

from index.errors import ParseError
from ingest.parsers.asciidoc import read_asciidoc
from ingest.parsers.code import CODE_SUFFIXES, read_code
from ingest.parsers.html import read_html
from ingest.parsers.parsed import Parsed
from ingest.parsers.pdf import read_pdf
from ingest.parsers.rst import read_rst
from ingest.parsers.text import printable, read_markdown, read_text
from ingest.parsers.word import read_word

__all__ = ["CODE_SUFFIXES", "SUFFIXES", "Parsed", "parse"]

_PARSERS: dict[str, Callable[[str, bytes], Parsed]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".mdx": read_markdown,
    ".txt": read_text,
    ".rst": read_rst,
    ".adoc": read_asciidoc,
    ".asciidoc": read_asciidoc,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_word,
}

SUFFIXES = frozenset(_PARSERS)
"""Documents that can be read, in lower case; source code is read besides, where it is asked for."""


def parse(name: str, data: bytes) -> Parsed:
    """Read a file by its suffix; raises `ParseError`, which names the file, reason and remedy.

    Hostile files can take long or much memory here: `sandbox.Parsers` reads them with limits.
    """
    name = printable(name)
    suffix = PurePosixPath(name).suffix.lower()
    reader = read_code if suffix in CODE_SUFFIXES else _PARSERS.get(suffix)
    if reader is None:
        raise ParseError(
            f"{name}: casebook does not read {suffix or 'files without a suffix'}; "
            f"it reads {', '.join(sorted(SUFFIXES))}"
        )
    parsed = reader(name, data)
    if not parsed.text.strip():
        hint = "an image-only PDF needs OCR first" if suffix == ".pdf" else "fill it or delete it"
        raise ParseError(f"{name} holds no text: {hint}")
    return parsed

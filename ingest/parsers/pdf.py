"""PDF to paragraphs."""

import io
import re
from collections import Counter
from typing import Any

from index.errors import ParseError
from ingest.parsers.parsed import Parsed, reading
from ingest.parsers.text import storable, title_of


def read_pdf(name: str, data: bytes) -> Parsed:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    with reading(name, "a damaged PDF, or none", "export it anew", PyPdfError):
        reader = PdfReader(io.BytesIO(data))
        _unlock(name, reader)
        raw = [storable((page.extract_text() or "").replace("\0", "")) for page in reader.pages]
        title = storable(str(reader.metadata.title or "") if reader.metadata else "").replace(
            "\0", ""
        )
    pages, running = _without_running_lines(raw)
    text = "\n\n".join(filter(None, map(_paragraphs, pages)))
    dropped = {
        "running headers and footers": running,
        "pages without text": sum(not page.strip() for page in raw),
    }
    found = {kind: count for kind, count in dropped.items() if count}
    return Parsed(title_of(name, {}, "", title), f"{text}\n", {"pages": len(raw)}, found)


def _unlock(name: str, reader: Any) -> None:
    """Many PDFs are encrypted with an empty password, which any viewer tries first."""
    from pypdf.errors import DependencyError

    try:
        locked = reader.is_encrypted and not reader.decrypt("")
    except (DependencyError, NotImplementedError):  # a cipher that is not installed, or not known
        locked = True
    if locked:
        raise ParseError(f"{name} is an encrypted PDF: save a copy without a password")


def _without_running_lines(pages: list[str]) -> tuple[list[str], int]:
    """Pages without the first or last lines that most of three or more pages share."""
    lines = [page.strip().splitlines() for page in pages]
    removed = 0
    for _ in range(3):  # a header may have several lines
        found = _strip_running(lines) if len(pages) >= 3 else 0
        removed += found
        if not found:
            break
    return ["\n".join(page) for page in lines], removed


def _strip_running(pages: list[list[str]]) -> int:
    """Removes each page's first and last line where most pages have it; how many that were."""
    removed = 0
    for edge in (0, -1):
        counts = Counter(_unnumbered(page[edge]) for page in pages if len(page) > 1)
        running = {line for line, count in counts.items() if 2 * count > len(pages)}
        for page in pages:
            if len(page) > 1 and _unnumbered(page[edge]) in running:
                page.pop(edge)
                removed += 1
    return removed


def _unnumbered(line: str) -> str:
    return re.sub(r"\d+", "#", line.strip())


def _paragraphs(page: str) -> str:
    """Lines joined to paragraphs, which end at a blank line, a short line or a list item."""
    lines = [line.strip() for line in _unhyphenated(page).splitlines()]
    longest = max(map(len, lines), default=0)
    text = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=bool(lines)):
        full = len(line) >= 0.6 * longest
        ended = line.endswith((".", ":", "?", "!")) and len(line) < 0.8 * longest
        if not line or ended or (not full and len(after) >= 0.6 * longest):
            text += f"{line}\n\n"
        else:  # short lines in a row are a table, a listing or an address
            text += line + (" " if full and not _LIST_ITEM.match(after) else "\n")
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", text)).strip()


_LIST_ITEM = re.compile(r"(?:[-*•▪◦–]|\d{1,3}[.)]|[a-z]\))\s")


def _unhyphenated(page: str) -> str:
    """Words broken at line ends made whole, where both halves are in lower case."""

    def mend(found: re.Match[str]) -> str:
        soft = found[2] == "\xad"
        whole = found[1] + found[3]
        return whole if soft or (found[1].islower() and found[3].islower()) else found[0]

    return re.sub(r"(\w)([-\xad\u2010])[ \t]*\n[ \t]*(\w)", mend, page).replace("\xad", "")

"""HTML to markdown; Word and reStructuredText pass through here too."""

import re
from collections import Counter
from typing import Any

from index.errors import ParseError
from ingest.parsers.links import target
from ingest.parsers.parsed import Parsed, reading
from ingest.parsers.text import FENCED, decode, storable, title_of

_LEFT_OUT = {
    **dict.fromkeys("img picture svg video audio canvas object embed".split(), "images"),
    **{"script": "scripts", "style": "styles", "nav": "navigation", "footer": "footers"},
    **{"aside": "asides", "form": "forms", "iframe": "iframes"},
    **{"noscript": "scripts", "template": "templates"},
}
MAX_DEPTH = 300
"""How deep elements may lie in one another: a little less than Python's usual limit lets through, which
some libraries raise. A page that leaves its paragraphs open is read as one in another."""
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
"""Tried where white space begins, not at every blank of it: that takes the square of its length."""
_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]*?\b(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)", re.I)


def read_html(name: str, data: bytes) -> Parsed:
    from bs4 import BeautifulSoup

    declared = _CHARSET.search(data[:2048])
    charset = declared[1].decode("ascii", "replace").lower() if declared else "utf-8"
    # As browsers do: who could read the declaration did not read UTF-16; latin-1 means cp1252.
    if data.startswith(b"\xef\xbb\xbf") or charset.startswith(("utf-8", "utf8", "utf-16")):
        charset = "utf-8-sig"
    elif charset in ("iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii"):
        charset = "cp1252"
    # Without the XML declaration, which would be read as text.
    text = re.sub(r"\A\s*<\?xml[^>]*>", "", decode(name, data, charset))
    with reading(name, "HTML that can't be read", "mend its markup", *_bs4_errors()):
        soup = BeautifulSoup(text, "html.parser")
    return from_soup(name, soup)


def _bs4_errors() -> tuple[type[Exception], ...]:
    from bs4.exceptions import ParserRejectedMarkup

    return (ParserRejectedMarkup,)


def from_soup(name: str, soup: Any, own_title: str = "") -> Parsed:
    """Markdown of the main content; what is no content is taken out and counted."""
    from markdownify import MarkdownConverter

    if _deeper_than(MAX_DEPTH, soup):
        raise ParseError(
            f"{name} has elements over {MAX_DEPTH} deep in one another: flatten what is nested deeply"
        )
    counts = _leave_out(soup)
    title = soup.title.get_text(" ", strip=True) if soup.title else own_title
    for furniture in [*soup.find_all("head"), *soup.find_all("title"), *soup("a", "headerlink")]:
        if not furniture.decomposed:
            furniture.decompose()
    _mend_links(soup)
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        code_language_callback=_language,
        table_infer_header=True,
    )
    with reading(name, "HTML that can't be read", "flatten what is nested deeply"):
        text = _tidy(converter.convert_soup(_content(soup)))
    return Parsed(title_of(name, {}, text, title), text, {}, counts)


def _deeper_than(most: int, soup: Any) -> bool:
    level: list[Any] = [soup]
    for _ in range(most + 1):
        level = [child for tag in level for child in tag.find_all(True, recursive=False)]
    return bool(level)


def _leave_out(soup: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for element in soup.find_all(list(_LEFT_OUT)):
        if not element.decomposed:  # it went with the element around it
            counts[_LEFT_OUT[element.name]] += 1
            element.decompose()
    return dict(counts)


def _mend_links(soup: Any) -> None:
    """A link that leads nowhere a reader should go is its words alone."""
    for link in soup.find_all("a", href=True):
        led = target(str(link["href"]))
        if led is None:
            del link["href"]
        else:
            link["href"] = led


def _content(soup: Any) -> Any:
    """The one element that holds the document; of several articles none is the whole."""
    articles = soup.find_all("article")
    found = [soup.find("main"), articles[0] if len(articles) == 1 else None, soup.find("body")]
    return next((each for each in found if each and each.get_text(strip=True)), soup)


def _tidy(markdown: str) -> str:
    """Even spacing, but not in code; and names_like_this without escapes, so a search finds them."""
    markdown = markdown.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    pieces, end = [], 0
    for block in FENCED.finditer(markdown):
        pieces += [_tidy_prose(markdown[end : block.start()]), block[0]]
        end = block.end()
    text = "".join([*pieces, _tidy_prose(markdown[end:])])
    return storable(text).strip("\n") + "\n"


def _tidy_prose(text: str) -> str:
    text = re.sub(r"(?<=[^\W_])\\_(?=[^\W_])", "_", text)
    # Two spaces at a line's end are a line break in markdown, but nobody sees them.
    return re.sub(r"\n{3,}", "\n\n", _TRAILING.sub("", text))


def _language(element: Any) -> str:
    """The language of a code block, from the classes that highlighters give it or its parents."""
    inner = element.find("code")
    around = list(element.parents)[:2]
    classes = [each.get("class") or [] for each in (element, inner, *around) if each is not None]
    for name in (name for names in classes for name in names):
        found = re.fullmatch(r"(?:language-|lang-|highlight-(?:source-)?)([\w+#.-]+)", name)
        if found and found[1] not in ("default", "none"):
            return found[1]
    own = classes[0]
    if "code" in own:  # docutils writes class="code sh literal-block"
        return next((name for name in own if name not in ("code", "literal-block")), "")
    return ""

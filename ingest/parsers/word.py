"""Word files (.docx) to markdown."""

import io

from index.errors import ParseError
from ingest.parsers.html import from_soup
from ingest.parsers.parsed import Parsed, reading
from ingest.parsers.text import storable

MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes that a Word file may unpack to: a zip bomb is small until it is read."""


def read_word(name: str, data: bytes) -> Parsed:
    from xml.parsers.expat import ExpatError
    from zipfile import BadZipFile

    import mammoth
    from bs4 import BeautifulSoup

    errors = (BadZipFile, ExpatError)
    with reading(name, "a damaged Word file, or none", "save it anew as .docx", *errors):
        properties = _docx_properties(name, data)
        result = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map="p[style-name='Title'] => h1:fresh",
            convert_image=mammoth.images.img_element(lambda image: {"src": ""}),
            external_file_access=False,
        )
        soup = BeautifulSoup(f"<body>{result.value}</body>", "html.parser")
    parsed = from_soup(name, soup, properties.get("title", ""))
    return Parsed(parsed.title, parsed.text, properties, parsed.dropped)


def _docx_properties(name: str, data: bytes) -> dict[str, str]:
    """Title, author and dates as Word keeps them; refuses a file that unpacks to too much."""
    import zipfile
    from xml.etree import ElementTree

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED:
            raise ParseError(f"{name} unpacks to over 256 MiB: split it, or shrink its images")
        if "docProps/core.xml" not in archive.namelist():
            return {}
        core = archive.read("docProps/core.xml")
    if b"<!" in core:  # no Word writes a document type; entities are how XML bombs are built
        return {}
    names = {"title", "subject", "creator", "keywords", "created", "modified", "language"}
    try:
        root = ElementTree.fromstring(core)
    except ElementTree.ParseError:  # the words are in another part, and may be whole
        return {}
    found = {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root}
    return {key: storable(text) for key, text in found.items() if key in names and text}

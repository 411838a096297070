"""Link targets that no document should keep, in every kind of file that is made into markdown."""

import io
from collections import Counter

import docx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn

from ingest.parsers import parse
from ingest.parsers.links import target
from ingest.sources.jira import wiki_to_markdown

RUNS = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x00javascript:alert(1)",
    "javascript://comment%0aalert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "blob:https://elsewhere.example/x",
    "file:///etc/passwd",
    "view-source:javascript:1",
    "ms-msdt:/id PCWDiagnostic",
    "filesystem:https://a/b",
    "jar:http://a!/b",
)
LEADS = (
    "https://there.example/a?b=c#d",
    "http://there.example",
    "//there.example/a",
    "/runbooks/restore",
    "../restore.md#steps",
    "#steps",
    "?page=2",
    "mailto:team@there.example",
    "restore.html",
)


@pytest.mark.parametrize("address", RUNS)
def test_what_would_run_is_no_target(address: str) -> None:
    assert target(address) is None


@pytest.mark.parametrize("address", LEADS)
def test_what_leads_somewhere_stays_as_it_is(address: str) -> None:
    assert target(address) == address


def test_a_target_can_not_end_its_link_early() -> None:
    assert target("https://a.example/) [b](javascript:alert(1)") == (
        "https://a.example/%29%20[b]%28javascript:alert%281%29"
    )
    assert target("https://a.example/\n\n# heading") == "https://a.example/#%20heading"


def word(address: str) -> bytes:
    """A Word file with one link."""
    made = docx.Document()
    paragraph = made.add_paragraph("see ")
    link = OxmlElement("w:hyperlink")
    link.set(
        qn("r:id"), made.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    )
    run, text = OxmlElement("w:r"), OxmlElement("w:t")
    text.text = "words"
    run.append(text)
    link.append(run)
    paragraph._p.append(link)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "vbscript:msgbox(1)", "data:text/html,x"]
)
def test_a_link_that_would_run_is_its_words_alone(address: str) -> None:
    spaced = address.replace("script", "scr&#9;ipt")
    texts = [
        parse("a.html", f"<p>see <a href='{address}'>words</a></p>".encode()).text,
        parse("a.html", f"<p>see <a href=' {spaced}'>words</a></p>".encode()).text,
        parse("a.rst", f"see `words <{address}>`__\n".encode()).text,
        parse("a.adoc", f"see link:{address}[words]\n".encode()).text,
        parse("a.adoc", f":l: {address}\n\nsee link:{{l}}[words]\n".encode()).text,
        parse("a.docx", word(address)).text,
        wiki_to_markdown(f"see [words|{address}]", Counter()),
    ]
    assert {text.strip() for text in texts} == {"see words"}

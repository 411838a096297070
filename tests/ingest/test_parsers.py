"""Parsers: each format read for what it says, each fault named with its remedy."""

import contextlib
import io
import re

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from index.errors import ParseError
from ingest.parsers import SUFFIXES, parse


def pdf(*pages: list[str], password: str | None = None) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, encrypt=password)
    canvas.setTitle("Restore Guide")
    for lines in pages:
        for number, line in enumerate(lines):
            canvas.drawString(72, 780 - 14 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Restore Guide", 1)
    document.add_paragraph("Stop all writes first.")
    document.add_paragraph("take a snapshot", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Step", "Owner", "Freeze", "SRE"], strict=True):
        cell.text = text
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


# --- formats ----------------------------------------------------------------------------------


def test_markdown_keeps_its_words_and_gives_front_matter_as_metadata() -> None:
    parsed = parse(
        "a.md", b"---\ntitle: Guide\ndate: 2024-05-01\ntags: [x]\n---\n\n# H\r\n\ntext  \n"
    )
    assert parsed.text == "# H\n\ntext  \n"
    assert parsed.metadata == {"title": "Guide", "date": "2024-05-01", "tags": ["x"]}
    assert parsed.title == "Guide"


@given(st.text(alphabet=st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_plain_text_is_kept_as_written(text: str) -> None:
    text = f"x{text}"
    assert parse("a.txt", text.encode()).text == text
    assert parse("a.md", text.encode()).text == text


@pytest.mark.parametrize(
    ("data", "title"),
    [(b"# First heading\n\nText", "First heading"), (b"No heading", "My run book")],
)
def test_title_comes_from_the_first_heading_or_else_the_file_name(data: bytes, title: str) -> None:
    assert parse("docs/my-run_book.md", data).title == title


def test_html_becomes_markdown_of_its_main_content() -> None:
    html = b"""<html><head><title>Guide</title><script>alert(1)</script></head><body>
    <nav>menu</nav><main><h1>Restore</h1><p>Stop <b>all</b> writes, see <a href="/x">this</a>.</p>
    <pre><code class="language-sh">kubectl get pods</code></pre><img src=x onerror=alert(1)>
    <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></main></body></html>"""
    parsed = parse("a.html", html)
    assert parsed.title == "Restore"
    assert "Stop **all** writes, see [this](/x)." in parsed.text
    assert "```sh\nkubectl get pods\n```" in parsed.text
    assert "| 1 | 2 |" in parsed.text
    assert "menu" not in parsed.text
    assert "alert" not in parsed.text
    assert parsed.dropped == {"images": 1}


def test_restructured_text_keeps_the_words_of_roles_and_directives() -> None:
    rst = b"""Restore
=======

See :ref:`the drill <drill>` and :doc:`runbook`.

.. note:: Freeze writes.

.. code-block:: sh

   kubectl get pods

.. toctree::
   :maxdepth: 2

   a
   b

Steps
-----

#. one
"""
    parsed = parse("a.rst", rst)
    assert parsed.title == "Restore"
    assert "See the drill and runbook." in parsed.text
    assert "Freeze writes." in parsed.text
    assert "```sh\nkubectl get pods\n```" in parsed.text
    assert "## Steps" in parsed.text
    assert parsed.dropped == {"directives": 1}


def test_restructured_text_includes_no_file() -> None:
    parsed = parse(
        "a.rst", b"Hi\n\n.. include:: /etc/passwd\n\n.. raw:: html\n   :file: /etc/passwd\n"
    )
    assert "root" not in parsed.text


def test_word_document_keeps_headings_lists_and_tables() -> None:
    parsed = parse("a.docx", word())
    assert parsed.title == "Restore Guide"
    assert "# Restore Guide" in parsed.text
    assert "- take a snapshot" in parsed.text
    assert re.search(r"\| *Freeze *\| *SRE *\|", parsed.text)


def test_pdf_gives_its_text_without_running_headers() -> None:
    parsed = parse(
        "a.pdf", pdf(*[["Company Confidential", f"Step {n} is to wait."] for n in "abc"])
    )
    assert parsed.title == "Restore Guide"
    assert parsed.metadata == {"pages": 3}
    assert "Step b is to wait." in parsed.text
    assert parsed.dropped == {"running headers and footers": 3}


def test_pdf_mends_words_broken_at_line_ends() -> None:
    assert "restore drill" in parse("a.pdf", pdf(["a re-", "store drill"])).text


# --- faults -----------------------------------------------------------------------------------

FAULTS = [
    ("a.xls", b"x", "does not read .xls"),
    ("a.md", b"abc\xff", "not UTF-8 (byte 3"),
    ("a.txt", b"a\0b", "NUL"),
    ("a.md", b"---\na: [\n---\nx", "not valid YAML at line"),
    ("a.md", b"---\n- a\n---\nx", "`name: value`"),
    ("a.md", b"---\na: &x [1]\nb: *x\n---\nx", "alias"),
    ("a.md", b"---\na: " + b"x" * 70_000 + b"\n---\nx", "64 KiB"),
    ("a.md", b" \n", "holds no text"),
    ("a.pdf", b"%PDF-1.4 garbage", "damaged PDF"),
    ("a.pdf", pdf(["secret"], password="x"), "encrypted"),
    ("a.pdf", pdf([]), "OCR"),
    ("a.docx", b"PK garbage", "damaged Word"),
    ("a.html", b"<html><script>x</script></html>", "holds no text"),
]


@pytest.mark.parametrize(("name", "data", "reason"), FAULTS, ids=[f[2] + f[0] for f in FAULTS])
def test_fault_is_named_with_the_file(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=re.escape(reason)) as raised:
        parse(name, data)
    assert name in str(raised.value)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SUFFIXES)), st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(suffix: str, data: bytes) -> None:
    with contextlib.suppress(ParseError):
        assert parse(f"a{suffix}", data).text.strip()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([".rst", ".html", ".md"]),
    st.text(alphabet="ab<>/&;#*_`:.|=-[]() \n!\\", max_size=150),
)
def test_any_markup_is_read_or_refused(suffix: str, text: str) -> None:
    with contextlib.suppress(ParseError):
        assert parse(f"a{suffix}", text.encode()).text.strip()


REAL = {".pdf": pdf(["Step one is to wait."], ["Step two."]), ".docx": word()}


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([".pdf", ".docx"]), st.data())
def test_damaged_files_are_read_or_refused(suffix: str, data: st.DataObject) -> None:
    whole = bytearray(REAL[suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with contextlib.suppress(ParseError):
        assert parse(f"a{suffix}", bytes(whole[:cut] if cut % 3 == 0 else whole)).text.strip()

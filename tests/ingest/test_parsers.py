"""Parsers: each format read for what it says, each fault named with its remedy."""

import contextlib
import io
import json
import re
import subprocess
import sys

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
    document.core_properties.title = "Word's own title"
    document.core_properties.author = "A. Writer"
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
    assert parsed.dropped == {"images": 1, "navigation": 1, "scripts": 1}


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
    assert parsed.dropped == {"tables of contents": 1}


def test_restructured_text_includes_no_file() -> None:
    parsed = parse(
        "a.rst", b"Hi\n\n.. include:: /etc/passwd\n\n.. raw:: html\n   :file: /etc/passwd\n"
    )
    assert "root" not in parsed.text


def test_word_document_keeps_headings_lists_and_tables() -> None:
    parsed = parse("a.docx", word())
    assert parsed.title == "Restore Guide"
    assert parsed.metadata["title"] == "Word's own title"
    assert parsed.metadata["creator"] == "A. Writer"
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


def test_pdf_rejoins_the_lines_of_a_paragraph() -> None:
    parsed = parse(
        "a.pdf", pdf(["Stop all of the writes before you", "take the snapshot, then wait."])
    )
    assert parsed.text == "Stop all of the writes before you take the snapshot, then wait.\n"


def test_pdf_counts_pages_without_text() -> None:
    parsed = parse("a.pdf", pdf(["Words."], []))
    assert parsed.dropped == {"pages without text": 1}


def test_headings_in_code_are_no_titles() -> None:
    assert parse("a.md", b"```sh\n# comment\n```\n\n# Real one #\n").title == "Real one"


def test_html_title_is_used_where_no_heading_is() -> None:
    assert parse("a.html", b"<title>Own\n title</title><p>x</p>").title == "Own title"


def test_html_code_keeps_its_blank_lines_and_language() -> None:
    html = b"<div class='highlight-python'><pre>a = 1\n\n\n\nb = 2</pre></div><p>max_open_files</p>"
    assert parse("a.html", html).text == ("```python\na = 1\n\n\n\nb = 2\n```\n\nmax_open_files\n")


def test_html_keeps_every_article() -> None:
    text = parse("a.html", b"<article>one</article><article>two</article>").text
    assert "one" in text
    assert "two" in text


@pytest.mark.parametrize(
    "head", ['<meta charset="windows-1251">', '<?xml version="1.0" encoding="windows-1251"?>']
)
def test_html_is_read_in_its_declared_charset(head: str) -> None:
    data = f"{head}<p>Привет</p>".encode("windows-1251")
    assert parse("a.html", data).text == "Привет\n"


SPHINX = b""":orphan:

Guide
=====

See :ref:`the drill <drill>`, :py:func:`~os.fork` and ``max_open_files``.

.. code-block:: python
   :linenos:
   :emphasize-lines: 1

   x = 1  # :ref:`kept`

.. tabs::

   .. tab:: Linux

      Run **this**.

.. versionadded:: 1.2

.. figure:: x.png
   :unheard-of: 1

   Its caption.

::

   .. toctree:: is only shown here
"""


def test_sphinx_markup_loses_no_words() -> None:
    parsed = parse("a.rst", SPHINX)
    assert parsed.title == "Guide"
    assert parsed.text.startswith("# Guide\n\nSee the drill, os.fork and `max_open_files`.\n")
    assert "```python\nx = 1  # :ref:`kept`\n```" in parsed.text
    assert "Linux\n\nRun **this**." in parsed.text
    assert "Added in version 1.2" in parsed.text
    assert "Its caption." in parsed.text
    assert ".. toctree:: is only shown here" in parsed.text
    assert "orphan" not in parsed.text
    assert parsed.dropped == {}


def test_a_role_defined_in_one_document_does_not_reach_the_next() -> None:
    parse("a.rst", b".. role:: shout(strong)\n\nHear :shout:`this`.\n")
    assert parse("b.rst", b"Hear :shout:`this`.\n").text == "Hear this.\n"


def test_byte_order_mark_is_no_text() -> None:
    assert parse("a.txt", b"\xef\xbb\xbfx").text == "x"


def test_only_markdown_has_front_matter() -> None:
    assert parse("a.txt", b"---\ntitle: T\n---\nx").metadata == {}


def test_metadata_is_always_json() -> None:
    front = "a: 2024-01-02 03:04:05\nb: .nan\nc: !!binary aGk=\nd: !!set {x}\ne: '\\uD800'\n"
    front += 'f: "\\uD800"\n1: {2: 2024-01-01}\ng: 0x' + "f" * 5000 + "\n"
    metadata = parse("a.md", f"---\n{front}---\nx".encode()).metadata
    assert json.loads(json.dumps(metadata, allow_nan=False).encode()) == metadata
    assert metadata["a"] == "2024-01-02T03:04:05"
    assert str(metadata).encode()


def test_parsers_import_no_heavy_library() -> None:
    heavy = "bs4 markdownify mammoth docutils pypdf yaml"
    code = f"import sys, ingest.parsers; print(set(sys.modules) & set({heavy!r}.split()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- faults -----------------------------------------------------------------------------------

FAULTS = [
    ("a.xls", b"x", "does not read .xls"),
    ("a.md", b"abc\xff", "not UTF-8 (byte 3"),
    ("b.md", b"\xef\xbb\xbfab\xff", "not UTF-8 (byte 5"),
    ("b.html", b"<meta charset=nonsense><p>x", "unknown charset nonsense"),
    ("c.html", b"<p>\xff", "not UTF-8 (byte 3"),
    ("d.html", b"<div>" * 5000 + b"x", "nested deeply"),
    ("e.html", b"<div>" * 301 + b"x", "nested deeply"),
    ("a.txt", b"a\0b", "NUL"),
    ("a.rst", b"a\0b", "NUL"),
    ("c.md", b"---\na: 1\nb: \x07\n---\nx", "at line 3"),
    ("d.md", b"---\na: !!bool x\n---\nx", "does not fit its type"),
    ("e.md", b"---\na: " + b"[" * 5000 + b"\n---\nx", "nested too deeply"),
    ("Makefile", b"x", "files without a suffix"),
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


def test_depth_allowed_does_not_hang_on_the_interpreter() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(limit * 10)
        with pytest.raises(ParseError, match="over 300 deep"):
            parse("a.html", b"<ul><li>" * 151 + b"x")
        assert parse("a.html", b"<ul><li>" * 149 + b"x").text.strip().endswith("x")
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(("name", "data", "reason"), FAULTS, ids=[f[2] + f[0] for f in FAULTS])
def test_fault_is_named_with_the_file(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(ParseError, match=re.escape(reason)) as raised:
        parse(name, data)
    assert name in str(raised.value)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=400))
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

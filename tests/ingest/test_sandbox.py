"""The sandbox: a hostile file is refused by name, and the next one is read."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.errors import ParseError
from ingest.parsers import parse
from ingest.parsers.code import outline
from ingest.parsers.sandbox import Limits, Parsers, check_size

MIB = 1024 * 1024
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    with Parsers() as made:
        yield made


def docx(body: bytes, **parts: bytes) -> bytes:
    """A Word file with a document of this XML, and other parts."""
    buffer = io.BytesIO()
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        )
        archive.writestr(
            "word/document.xml",
            b'<w:document xmlns:w="%b"><w:body>%b</w:body></w:document>' % (word.encode(), body),
        )
        for name, data in parts.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is its catalog."""
    out, places = b"%PDF-1.5\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
        % (count, table, count, len(out))
    )


PARAGRAPH = b"<w:p><w:r><w:t>word</w:t></w:r></w:p>"


# --- what it gives ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", "---\ntitle: Ä\n---\n\n# 漢字\n".encode()),
        ("a.rst", b"Title\n=====\n\n.. toctree::\n\n   a\n"),
        ("a.html", b"<h1>x</h1><script>alert(1)</script>"),
        ("a.adoc", b"= T\n\nWords.\n"),
        ("a.docx", docx(PARAGRAPH)),
        ("a.py", b"def f():\n    pass\n"),
    ],
)
def test_a_file_reads_as_without_a_sandbox(parsers: Parsers, name: str, data: bytes) -> None:
    assert parsers.parse(name, data) == parse(name, data)


def test_code_is_outlined_as_without_a_sandbox(parsers: Parsers) -> None:
    text = "class Ä:\n" + "".join(f"    def f{n}(self): return '漢'\n" for n in range(9))
    assert parsers.outline(text, "python") == outline(text, "python")
    assert parsers.outline("def (((", "python") is None


def test_a_fault_is_reported_as_without_a_sandbox(parsers: Parsers) -> None:
    with pytest.raises(ParseError, match=r"a\.md is not UTF-8"):
        parsers.parse("a.md", b"\xff")


def test_making_one_starts_nothing_and_closing_it_ends_its_worker() -> None:
    made = Parsers()
    assert made._worker is None
    made.parse("a.txt", b"x")
    assert made._worker is not None
    process = made._worker._process
    made.close()
    assert process.poll() is not None
    assert made.parse("a.txt", b"x").text == "x"
    made.close()


def test_the_worker_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_TOKEN", "secret")
    with Parsers() as made:
        made.parse("a.txt", b"x")
        assert made._worker is not None
        environ = Path(f"/proc/{made._worker._process.pid}/environ")
        if environ.exists():
            assert b"secret" not in environ.read_bytes()


def test_a_module_in_the_working_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit(9)")
    root = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path[:0] = ['', {str(root)!r}]; from ingest.parsers.sandbox import Parsers\n"
        "sys.path.remove('')\n"
        "with Parsers() as p: print(p.parse('a.md', b'---\\na: 1\\n---\\nx').metadata)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "{'a': 1}", done.stderr


def test_a_page_costs_little(parsers: Parsers) -> None:
    page = b"# Title\n\n" + b"Some words that say a thing or two.\n" * 200
    parsers.parse("a.md", page)
    times = []
    for _ in range(100):
        began = time.perf_counter()
        parsers.parse("a.md", page)
        times.append(time.perf_counter() - began)
    assert sorted(times)[len(times) // 2] < 0.003  # 0.2 ms on an idle machine


# --- limits -----------------------------------------------------------------------------------

SLOW = b"<p>word</p>" * 60_000  # some seconds


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read() -> None:
    with Parsers(Limits(seconds=0.3)) as made:
        with pytest.raises(ParseError, match=r"slow\.html took over 0\.3 s"):
            made.parse("slow.html", SLOW)
        assert made.parse("a.txt", b"x").text == "x"


@LINUX
def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_is_read() -> None:
    with Parsers(Limits(memory=64 * MIB)) as made:
        made.parse("a.txt", b"x")
        with pytest.raises(ParseError, match=r"big\.txt needed over 64 MiB"):
            made.parse("big.txt", b"x" * 40 * MIB)
        assert made.parse("a.txt", b"x").text == "x"


def test_a_file_that_gives_too_much_text_is_refused() -> None:
    with (
        Parsers(Limits(output=1 * MIB)) as made,
        pytest.raises(ParseError, match=r"long\.txt gives over 1 MiB"),
    ):
        made.parse("long.txt", b"x" * 2 * MIB)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_worker_that_died_is_replaced() -> None:
    with Parsers() as made:
        made.parse("a.txt", b"x")
        assert made._worker is not None
        os.kill(made._worker._process.pid, signal.SIGKILL)
        assert made.parse("a.txt", b"y").text == "y"


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    sparse = tmp_path / "large.txt"
    with sparse.open("wb") as file:
        file.truncate(500 * MIB)
    with pytest.raises(ParseError, match=r"large\.txt is over 50 MiB"):
        check_size("large.txt", sparse.stat().st_size)
    with Parsers() as made, pytest.raises(ParseError, match="over 50 MiB"):
        made.parse("large.txt", bytes(50 * MIB + 1))


# --- hostile files ----------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize(
    "bomb",
    [
        docx(b"", word__media__x=bytes(257 * MIB)),
        docx(PARAGRAPH * 700_000),
        docx(b"<w:p>" * 100_000),
        docx(b"<w:tbl><w:tr><w:tc>" * 3_000 + PARAGRAPH + b"</w:tc></w:tr></w:tbl>" * 3_000),
    ],
    ids=["declared", "many elements", "deep", "tables in tables"],
)
def test_zip_bomb_is_refused(bomb: bytes) -> None:
    began = time.monotonic()
    with Parsers(Limits(seconds=2, memory=256 * MIB)) as made:
        with pytest.raises(ParseError, match=r"bomb\.docx"):
            made.parse("bomb.docx", bomb)
        assert made.parse("a.txt", b"x").text == "x"
    assert time.monotonic() - began < 12


def test_archive_in_a_word_file_is_not_unpacked(parsers: Parsers) -> None:
    inner = docx(PARAGRAPH, word__media__x=bytes(100 * MIB))
    outer = docx(PARAGRAPH, **{f"word__embeddings__{n}.docx": inner for n in range(9)})
    assert parsers.parse("a.docx", outer).text == "word\n"


DEEP = {
    "a.html": b"<div>" * 20_000 + b"x",
    "b.html": b"<ul><li>" * 5_000 + b"x",
    "c.html": b"<table><tr><td>" * 3_000 + b"x",
    "d.html": b"<b>" * 20_000 + b"x" + b"</b>" * 20_000,
    "a.md": b"- " * 20_000 + b"x",
    "b.md": b">" * 20_000 + b"x",
    "c.md": b"---\na: " + b"[" * 20_000 + b"\n---\nx",
    "d.md": b"+++\na = " + b"[" * 20_000 + b"\n+++\nx",
    "e.md": b'{"a": ' + b"[" * 20_000 + b"\n\nx",
    "a.rst": b"".join(b" " * n + b"* x\n\n" for n in range(0, 600, 2)),
    "a.adoc": b"\n".join(b"=" * (n + 4) for n in range(600)) + b"\nx\n",
    "b.adoc": b"".join(b"*" * (n % 6 + 1) + b" x\n+\n" for n in range(3_000)),
    "a.py": b"(" * 50_000 + b")" * 50_000,
    "a.js": b"a={" * 50_000,
}


@pytest.mark.parametrize("name", sorted(DEEP))
def test_deep_nesting_is_read_or_refused(parsers: Parsers, name: str) -> None:
    with contextlib.suppress(ParseError):
        assert parsers.parse(name, DEEP[name]).text.strip()
    if name.endswith((".py", ".js")):
        parsers.outline(DEEP[name].decode(), "python" if name == "a.py" else "javascript")
    assert parsers.parse("next.txt", b"x").text == "x"


LOOPS = {
    "tree": pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Pages/Kids[2 0 R]/Parent 2 0 R/Count 1>>",
    ),
    "itself": pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"),
    "parent": pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1/Parent 2 0 R>>",
        b"<</Type/Page/Parent 2 0 R/Contents 3 0 R>>",
    ),
    "length": pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>",
        b"<</Length 4 0 R>>stream\nBT (x) Tj ET\nendstream",
    ),
    "object streams": pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/ObjStm/N 1/First 4/Extends 2 0 R/Length 9>>stream\n2 0 2 0 R\nendstream",
    ),
    "previous table": pdf(b"<</Type/Catalog/Pages 1 0 R>>").replace(
        b"/Root", b"/Prev 60 /XRefStm 60 /Root"
    ),
    "form": pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</XObject<</F 5 0 R>>>>>>",
        b"<</Length 4>>stream\n/F Do\nendstream",
        b"<</Type/XObject/Subtype/Form/Length 4/Resources<</XObject<</F 5 0 R>>>>>>stream\n/F Do\nendstream",
    ),
}


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_pdf_loop_ends(loop: str) -> None:
    began = time.monotonic()
    with Parsers(Limits(seconds=3)) as made:
        with pytest.raises(ParseError, match=r"loop\.pdf"):
            made.parse("loop.pdf", LOOPS[loop])
        assert made.parse("a.txt", b"x").text == "x"
    assert time.monotonic() - began < 9


def test_no_text_of_scripts_is_read(parsers: Parsers) -> None:
    html = (
        b"<p>seen</p><script>evil1()</script><SCRIPT src=x>evil2()</SCRIPT><svg><script>evil3()</script></svg>"
        b"<style>evil4{}</style><noscript>evil5</noscript><template><p>evil6</p></template>"
        b"<p onclick='evil7()'>also</p><!-- evil9 --><iframe srcdoc='evil'>"
    )
    text = parsers.parse("a.html", html).text
    assert "seen" in text
    assert "also" in text
    assert "evil" not in text


def test_yaml_bomb_is_refused(parsers: Parsers) -> None:
    lines = ["a: &a [x, x]", *(f"b{n}: &b{n} [*a, *a]" for n in range(30))]
    with pytest.raises(ParseError, match=r"bomb\.md.*alias"):
        parsers.parse("bomb.md", "\n".join(["---", *lines, "---", "x"]).encode())


@pytest.mark.parametrize(
    "name", ["a\nb.md", "a\x1b[31m.md", os.fsdecode(b"caf\xe9.md"), "a\u202egnp.md", "\ud800.md"]
)
def test_any_name_is_printable_in_messages(parsers: Parsers, name: str) -> None:
    with pytest.raises(ParseError) as raised:
        parsers.parse(name, b"\xff")
    assert str(raised.value).isprintable()
    with pytest.raises(ParseError) as raised:
        parse(name, b"\xff")
    assert str(raised.value).isprintable()
    assert parsers.parse(name, b"x").title.isprintable()

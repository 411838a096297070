"""Files and payloads that are nearly sound: each kind's own structure, broken on purpose. They are read or
refused by name, in the sandbox and in bounded time; nothing else is raised, whatever a library does.
"""

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.errors import CasebookError, ParseError
from index.sentences import sentences
from ingest.chunk import ChunkSizes, chunk
from ingest.parsers.sandbox import Limits, Parsers
from ingest.sources.github import GithubSettings, GithubSource
from ingest.sources.jira import JiraSettings, JiraSource
from tests.ingest.test_chunk import assert_covers
from tests.ingest.test_parsers import REAL

SIZES = ChunkSizes(
    count=lambda text: len(text) // 4, model_count=lambda text: len(text) // 4, model_limit=256
)
FRONT = "---\ntitle: Restore\ntags: [a, b]\ndate: 2024-05-01\naccess: [public]\n---\n\n"
BODY = (
    "# Restore\n\nIntro with **bold**, `code` and [a link](https://a.example/x).\n\n## Steps\n\n"
    "1. Stop writes.\n2. Wait.\n   - deeper\n\n```sh\nkubectl get pods\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    "> A quote.\n\n- Problem: it broke.\n- Result: it works.\n"
)
SOUND: dict[str, bytes] = {
    "a.md": (FRONT + BODY).encode(),
    "b.md": b'+++\ntitle = "T"\nweight = 3\n[extra]\nx = 2024-01-01\n+++\n\n' + BODY.encode(),
    "c.md": b'{"title": "T", "tags": ["a"]}\n\n' + BODY.encode(),
    "d.md": (
        FRONT + "{{< note >}}\nWords.\n{{< /note >}}\n\n:::tip\nWords.\n:::\n\n"
        '!!! note "T"\n    Words.\n'
    ).encode(),
    "a.mdx": (
        b"import Part from './part.mdx'\nexport const a = {b: 1}\n\n# T\n"
        b'\n<Tabs label="x">\n<Part />\n{/* c */}\n</Tabs>\n'
    ),
    "a.rst": (
        b"Title\n=====\n\n:field: value\n\n.. note:: words\n\n.. code-block:: sh\n"
        b"\n   ls\n\n+---+---+\n| a | b |\n+---+---+\n\n`x <https://a.example>`_ |sub|\n"
        b"\n.. |sub| replace:: y\n"
    ),
    "a.adoc": (
        b"= Title\n:attr: value\n:toc:\n\n== Part\n\n{attr} *bold* link:x[y] <<ref>>\n"
        b"\n[source,sh]\n----\nls\n----\n\n|===\n|a |b\n\n2+|c .2+|d\n|===\n"
        b"\n* one\n** two\n+\nmore\n\nifdef::x[]\nhidden\nendif::[]\n"
    ),
    "a.html": (
        b"<!doctype html><html><head><meta charset=utf-8><title>T</title></head><body><main><h1>T</h1"
        b"><p>a <b>b</b> <a href='/x'>c</a></p><table><tr><th colspan=2>a</th></tr><tr><td>1<td>2</tr"
        b"></table><ul><li>x<ul><li>y</ul></ul><pre><code class=language-sh>ls</code></pre><svg><titl"
        b"e>n</title></svg></main></body></html>"
    ),
    "a.txt": "Plain words. Ünïcode 漢字 \U0001f600.\n\nMore of them.\n".encode(),
    "a.py": (
        b'"""Module."""\n\n\nclass A:\n    """Doc."""\n\n    def f(self, x: int = 1) -> str:\n'
        b'        return f"{x!r}"\n'
    ),
    "a.go": b"package a\n\n// F does.\nfunc F(x int) (string, error) {\n\treturn `a`, nil\n}\n",
    "a.ts": b"export class A<T> { /** d */ f = async (x: T): Promise<void> => { await `${x}`; } }\n",
    "a.java": b'package a;\n/** D. */\npublic class A { void f(int x) { String s = "a"; } }\n',
    "a.rs": b"/// D.\npub fn f<'a>(x: &'a str) -> Option<u8> { x.bytes().next() }\n",
    "a.tf": b'resource "a" "b" {\n  name = "${var.x}"\n}\n',
    "a.pdf": REAL[".pdf"],
    "a.docx": REAL[".docx"],
}
TOKENS = tuple(
    each.encode("utf-8", "surrogatepass")
    for each in (
        "\0",
        "\x01",
        "\x1b[2J",
        "\r",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\ufffe",
        "\ud800",
        "\U000e0041",
        "---\n",
        "+++\n",
        "```\n",
        "~~~",
        "{{<",
        ">}}",
        "{%",
        "<!--",
        "-->",
        "<![CDATA[",
        "<!DOCTYPE x [<!ENTITY a 'b'>]>",
        "&a;",
        "<table>",
        "<td colspan=99999 rowspan=99999>",
        "<ul><li>" * 30,
        "</",
        "<",
        "[" * 50,
        "](",
        "|" * 50,
        "#" * 50,
        ":::",
        "!!!",
        "include::/etc/passwd[]",
        ".. include:: /etc/passwd\n",
        ".. raw:: html\n   :file: /etc/passwd\n",
        ".. role:: a(raw)\n",
        "{counter:a}",
        "{a}" * 20,
        ":a: {a}{a}\n",
        "2.99999+|",
        "99999*|",
        "\n\t",
        " " * 300,
        "\n" * 300,
        "!!python/object/apply:os.system [x]\n",
        "a: &a [*a]\n",
        "1e999",
        "9" * 400,
        "import x from '../../x'\n",
        "=" * 50,
        "\\" * 50,
        "'" * 50,
        '"""',
        "f(" * 50,
        "/*",
        "*/",
        "%PDF-",
        "endstream",
        "PK\x03\x04",
    )
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sound file with some of it cut, doubled, exchanged or mixed with what has a meaning somewhere."""
    name = draw(st.sampled_from(sorted(SOUND)))
    data = bytearray(SOUND[name])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 60)))
        match draw(st.sampled_from(("cut", "double", "token", "byte", "move"))):
            case "cut":
                del data[at:to]
            case "double":
                data[at:at] = data[at:to] * draw(st.integers(1, 40))
            case "token":
                data[at:at] = draw(st.sampled_from(TOKENS)) * draw(st.sampled_from((1, 1, 2, 40)))
            case "byte":
                data[at:to] = draw(st.binary(max_size=8))
            case "move":
                piece = bytes(data[at:to])
                del data[at:to]
                data += piece
    return name, bytes(data)


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    with Parsers(Limits(seconds=5)) as parsers:
        yield parsers


PLENTY = settings(
    max_examples=600,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@PLENTY
@given(broken())
def test_a_broken_file_is_read_or_refused_by_name(
    parsers: Parsers, file: tuple[str, bytes]
) -> None:
    name, data = file
    began = time.monotonic()
    try:
        parsed = parsers.parse(name, data)
    except ParseError as refused:
        _check_words(str(refused), name)
        return
    finally:
        assert time.monotonic() - began < 60
    assert parsed.text.strip()
    assert "\0" not in parsed.text + parsed.title
    (parsed.text + parsed.title + json.dumps(parsed.metadata, ensure_ascii=False)).encode()
    if not name.endswith((".py", ".go", ".ts", ".java", ".rs", ".tf")):
        _check_spans(parsed.title, parsed.text)


def _check_words(refused: str, name: str) -> None:
    assert name in refused
    assert refused.isprintable()


def _check_spans(title: str, text: str) -> None:
    chunks = chunk((title,), text, SIZES)
    assert_covers(text, chunks)
    for piece in chunks:
        body = text[piece.start : piece.end]
        for sentence in sentences(body):
            assert 0 <= sentence.start < sentence.end <= len(body)


# --- payloads of trackers ---------------------------------------------------------------------

ADF = {
    "type": "doc",
    "version": 1,
    "content": [
        {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "H"}]},
        {
            "type": "paragraph",
            "content": [
                {
                    "type": "text",
                    "text": "w",
                    "marks": [{"type": "link", "attrs": {"href": "https://a.example"}}],
                },
                {"type": "mention", "attrs": {"text": "@a"}},
                {"type": "date", "attrs": {"timestamp": "1700000000000"}},
                {"type": "inlineCard", "attrs": {"url": "https://a.example"}},
            ],
        },
        {
            "type": "codeBlock",
            "attrs": {"language": "sh"},
            "content": [{"type": "text", "text": "ls"}],
        },
    ],
}
JIRA = {
    "issues": [
        {
            "id": "1",
            "key": "SHOP-1",
            "self": "https://jira.example/rest/api/2/issue/1",
            "fields": {
                "summary": "It broke",
                "description": ADF,
                "status": {"name": "Done", "statusCategory": {"key": "done"}},
                "issuetype": {"name": "Bug"},
                "priority": {"name": "High"},
                "labels": ["a"],
                "reporter": {"displayName": "A"},
                "assignee": None,
                "resolution": {"name": "Fixed"},
                "created": "2024-01-01T00:00:00.000+0000",
                "updated": "2024-01-02T00:00:00.000+0000",
                "resolutiondate": "2024-01-02T00:00:00.000+0000",
                "components": [{"name": "c"}],
                "fixVersions": [{"name": "1"}],
                "comment": {
                    "total": 1,
                    "comments": [
                        {
                            "id": "2",
                            "body": "h2. Done\n* a\n{code}x{code}",
                            "author": {"displayName": "B"},
                            "created": "2024-01-02T00:00:00.000+0000",
                        }
                    ],
                },
            },
        }
    ]
}
GITHUB = [
    {
        "number": 1,
        "title": "It broke",
        "body": "Words <!-- c -->\n\n```\nx\n```",
        "state": "CLOSED",
        "url": "https://github.com/a/b/issues/1",
        "labels": [{"name": "bug"}],
        "author": {"login": "a"},
        "createdAt": "2024-01-01T00:00:00Z",
        "updatedAt": "2024-01-02T00:00:00Z",
        "closedAt": "2024-01-02T00:00:00Z",
        "stateReason": "COMPLETED",
        "closedByPullRequestsReferences": [{"number": 2}],
        "comments": [
            {
                "id": "x",
                "author": {"login": "b"},
                "body": "Fixed by #2",
                "createdAt": "2024-01-02T00:00:00Z",
                "url": "https://github.com/a/b/issues/1#issuecomment-1",
            }
        ],
    }
]
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    "",
    " ",
    "x" * 5000,
    "\0",
    "\ud800",
    "\u202e",
    "2024-99-99",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "javascript:1",
    "../../x",
    [],
    {},
    [[]],
    [None],
    {"": None},
    [{}],
    {"type": "text"},
    {"type": "date", "attrs": {"timestamp": "9" * 30}},
    {"type": "heading", "attrs": {"level": "x"}, "content": 7},
    "[" * 3000,
)
DEEP: Any = {"type": "paragraph"}
for _ in range(400):
    DEEP = {"type": "blockquote", "content": [DEEP]}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in inner:
        yield from places(each, (*at, key))


def altered(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    if not at:
        return by
    value = copy.copy(value)
    value[at[0]] = altered(value[at[0]], at[1:], by)
    return value


def check_source(source: Any) -> None:
    """A source lists and reads, or says by an error of ours why not."""
    try:
        for item in source.list().items:
            try:
                content = source.read(item)
            except CasebookError:
                continue
            text = (
                content.body if isinstance(content.body, str) else getattr(content.body, "text", "")
            )
            assert "\0" not in str(text)
            str(text).encode()
    except CasebookError as error:
        str(error).encode()
    finally:
        source.close()


@pytest.mark.parametrize("tracker", ["jira", "github"])
def test_an_export_with_anything_anywhere_is_read_or_refused(tmp_path: Path, tracker: str) -> None:
    whole: Any = JIRA if tracker == "jira" else GITHUB
    for number, (at, odd) in enumerate((at, odd) for at in places(whole) for odd in (*ODD, DEEP)):
        if number % 7 and odd is not DEEP:  # every seventh is a different pair each time round
            continue
        file = tmp_path / "export.json"
        file.write_text(json.dumps(altered(whole, at, odd)), encoding="utf-8")
        folder = tmp_path / str(number)
        source: Any = (
            JiraSource("x", JiraSettings(export=file), folder)
            if tracker == "jira"
            else GithubSource("x", GithubSettings(export=file), folder)
        )
        check_source(source)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {after} "{f"&{before};" * 10}">' for before, after in zip("abcdefgh", "bcdefghi", strict=True)
) + "]><rss><channel><item><key>A-1</key><title>&i;</title></item></channel></rss>"  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><channel><item><key>A-1</key><title>&a;</title></item></channel></rss>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><rss><channel><item><key>A-1</key></item></channel></rss>',
        "<rss>" * 20_000,
        "<rss><channel><item><key>A-1</key><title>\ufffe</title></item></channel></rss>",
        '{"issues": ' + "[" * 50_000,
    ],
    ids=["bomb", "file", "address", "deep", "no character", "deep JSON"],
)
def test_an_export_that_is_a_bomb_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / ("export.json" if text.startswith("{") else "export.xml")
    file.write_text(text, encoding="utf-8")
    source = JiraSource("x", JiraSettings(export=file), tmp_path / "copy")
    with pytest.raises(CasebookError) as refused:
        source.list()
    assert "root:" not in str(refused.value)
    source.close()


def test_the_sound_files_and_exports_are_read(parsers: Parsers, tmp_path: Path) -> None:
    """So that what is broken in them says something."""
    for name, data in SOUND.items():
        assert parsers.parse(name, data).text.strip(), name
    file = tmp_path / "export.json"
    file.write_text(json.dumps(JIRA), encoding="utf-8")
    source = JiraSource("x", JiraSettings(export=file), tmp_path / "copy")
    (item,) = source.list().items
    assert "It broke" in repr(source.read(item))
    source.close()

"""AsciiDoc: read for its words and structure, as Asciidoctor shows them."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import ParseError
from ingest.parsers import parse


def text(source: str) -> str:
    return parse("a.adoc", source.encode()).text.rstrip("\n")


def test_document_has_its_title_author_and_sections() -> None:
    parsed = parse(
        "docs/a.asciidoc",
        b"// a comment\n= Restore *Guide*\nJane Doe <jane@example.org>\nv1.2, 2024-05-01\n:toc:\n\n"
        b"Words.\n\n[[steps]]\n== Steps\n\n=== First\n\nMore.\n",
    )
    assert parsed.title == "Restore Guide"
    assert parsed.text == "# Restore **Guide**\n\nWords.\n\n## Steps\n\n### First\n\nMore.\n"
    assert parsed.metadata == {
        "author": "Jane Doe <jane@example.org>",
        "revision": "v1.2, 2024-05-01",
    }
    assert parsed.dropped == {}


def test_a_document_without_a_title_keeps_its_first_paragraph() -> None:
    assert text("Words here.\nMore.\n") == "Words here.\nMore."
    assert parse("my-notes.adoc", b"Words.\n").title == "My notes"


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ("*bold* and _it_ and **b**old", "**bold** and _it_ and **b**old"),
        ("2 * 3 * 4 and a_b_c and C#, F#", "2 * 3 * 4 and a_b_c and C#, F#"),
        ("`code *kept*` and `+{raw}+`", "`code *kept*` and `{raw}`"),
        ("a #mark# and [.role]#text#", "a mark and text"),
        ("\"`said`\" and '`so`'", "“said” and ‘so’"),
        (
            "https://a.org[The *site*] or https://b.org",
            "[The **site**](https://a.org) or https://b.org",
        ),
        ("link:a/b.html[Page,window=_blank] link:c[]", "[Page](a/b.html) c"),
        (
            'https://a.org["x, y",role=z] https://a.org[go^]',
            "[x, y](https://a.org) [go](https://a.org)",
        ),
        ("<<steps,The steps>> <<_two_words>>", "The steps two words"),
        ("xref:b.adoc#c[There] xref:b.adoc[]", "[There](b.adoc#c) b.adoc"),
        ("kbd:[Ctrl+C] btn:[OK] menu:File[Save > As]", "Ctrl+C **OK** File > Save > As"),
        ("x footnote:[A note.] [[id]]y ((term)) (((a, b)))z", "x  (A note.) y term z"),
        (r"\*not bold* and \{name}", "*not bold* and {name}"),
        ("pass:[<b>*x*</b>] and +++*y*+++", "<b>*x*</b> and *y*"),
        ("stem:[x^2]", "`x^2`"),
    ],
)
def test_marks_in_a_line(source: str, gives: str) -> None:
    assert text(source) == gives


def test_attributes_are_filled_in() -> None:
    source = (
        ":name: Kanister\n:url: https://example.org/{name}\n:long: one \\\ntwo\n\n"
        "{name} {Name} {nope} {url}[docs] {long} a{nbsp}b `{name}`\n\n:!name:\n\n{name}\n"
    )
    assert text(source) == (
        "Kanister Kanister {nope} [docs](https://example.org/Kanister) one two a b `Kanister`\n\n{name}"
    )


def test_conditions_keep_what_holds() -> None:
    source = (
        ":a:\n\nifdef::a[]\nyes 1\nifndef::b[]\nyes 2\nendif::[]\nifdef::b[]\nno\nendif::b[]\nendif::[]\n"
        "ifdef::b[no]\nifdef::a,b[yes 3]\nifdef::a+b[no]\nifndef::a[]\nno\nifdef::a[]\nno\nendif::[]\nendif::[]\n"
    )
    assert text(source).split("\n") == ["yes 1", "yes 2", "yes 3"]


def test_comments_are_left_out_but_not_in_code() -> None:
    assert (
        text("a\n// no\nb\n\n////\nno\n////\n\n----\n// kept\n----\n")
        == "a\nb\n\n```\n// kept\n```"
    )


def test_includes_are_counted() -> None:
    parsed = parse("a.adoc", b"Words.\n\ninclude::b.adoc[]\n\n\\include::c[]\n")
    assert parsed.text == "Words.\n\ninclude::c[]\n"
    assert parsed.dropped == {"includes": 1}


def test_listings_are_code_blocks() -> None:
    source = (
        ".Run it\n[source,bash,linenums]\n----\nls <1>\n\n  *x* {a}\n----\n<1> Lists.\n\n....\nplain\n....\n\n"
        "[source,go]\nf()\n\n```py\nx\n```\n\n----\n```\n----\n\n  indented\n    more\n"
    )
    assert text(source) == (
        "**Run it**\n\n```bash\nls <1>\n\n  *x* {a}\n```\n\n1. Lists.\n\n```\nplain\n```\n\n"
        "```go\nf()\n```\n\n```py\nx\n```\n\n````\n```\n````\n\n```\nindented\n  more\n```"
    )


def test_lists_are_nested_by_their_marks() -> None:
    source = "* a\n** b\ngoes on\n** [x] c\n* d\n. one\n. two\n+\n[source,sh]\n----\nls\n----\n+\nWords.\n* e\n\n* f\n"
    assert text(source) == (
        "- a\n  - b goes on\n  - c\n- d\n  1. one\n  2. two\n\n     ```sh\n     ls\n     ```\n\n"
        "     Words.\n- e\n- f"
    )


def test_description_lists_name_their_terms() -> None:
    source = "RTO:: Time to restore.\nRPO::\n  Data that\n  is lost.\n\nSLA::\n\nPromised.\n\nstd::vector is no term\n"
    assert text(source) == (
        "- **RTO**: Time to restore.\n- **RPO**: Data that is lost.\n- **SLA**: Promised.\n\n"
        "std::vector is no term"
    )


def test_notes_and_quotes() -> None:
    source = (
        "NOTE: Freeze *writes*.\nAnd wait.\n\n[WARNING]\n====\nHot.\n\n* one\n====\n\n[TIP]\nTry.\n\n"
        "[quote, A. Writer]\n____\nSaid.\n____\n\n====\nAn example.\n====\n\n--\nOpen.\n--\n"
    )
    assert text(source) == (
        "> **Note:** Freeze **writes**.\n> And wait.\n\n> **Warning**\n>\n> Hot.\n>\n> - one\n\n"
        "> **Tip:** Try.\n\n> Said.\n>\n> — A. Writer\n\nAn example.\n\nOpen."
    )


def test_tables_are_markdown_tables() -> None:
    assert text("|===\n|Name |Owner\n\n|a\n|`x\\|y` *b*\n|===\n") == (
        "| Name | Owner |\n| --- | --- |\n| a | `x\\|y` **b** |"
    )
    spans = '[cols="1,1,1"]\n|===\n|a|b|c\n.2+|tall 2+|wide\n|e|f\n2*|twice|z\n|===\n'
    assert text(spans).split("\n")[2:] == [
        "| tall | wide |  |",
        "|  | e | f |",
        "| twice | twice | z |",
    ]
    assert text(',===\na,"b, c"\n1,2\n,===\n').split("\n")[::2] == ["| a | b, c |", "| 1 | 2 |"]


def test_images_leave_their_description() -> None:
    parsed = parse(
        "a.adoc", b"image::plan.png[The plan, 300]\n\nSee image:i.png[icon] and image::b.png[]\n"
    )
    assert parsed.text == "The plan\n\nSee icon and image::b.png[]\n"
    assert parsed.dropped == {"images": 2}


def test_raw_blocks_are_left_out_and_counted() -> None:
    parsed = parse("a.adoc", b"Words.\n\n++++\n<script>x</script>\n++++\n")
    assert parsed.text == "Words.\n"
    assert parsed.dropped == {"raw blocks": 1}


lines = st.sampled_from(
    [
        *(
            "= T",
            "== S",
            "words *b* `c` {a} <<x>>",
            "* a",
            "** b",
            ". c",
            "t:: d",
            "+",
            "",
            "",
            "----",
        ),
        *(
            "====",
            "--",
            "|===",
            "|a |b",
            "2.3+|c",
            "[NOTE]",
            "[source,sh]",
            ".Title",
            "////",
            "// c",
        ),
        *(
            ":a: {a}x",
            "ifdef::a[]",
            "endif::[]",
            "include::x[]",
            "____",
            "....",
            "++++",
            " literal",
        ),
        *(
            "image::x[y]",
            "'''",
            "NOTE: n",
            "<1> c",
            "```",
            ",===",
            'a,"b',
            "\\",
            "link:x[",
            "[[a]]",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=30).map("\n".join))
def test_any_asciidoc_is_read_or_refused(source: str) -> None:
    try:
        parsed = parse("a.adoc", source.encode())
    except ParseError as error:
        assert "holds no text" in str(error)  # noqa: PT017
        return
    assert "\0" not in parsed.text


@given(
    st.lists(
        st.sampled_from(["alpha", "beta", "gamma", "* delta", ". epsilon", "", "t:: zeta"]),
        max_size=20,
    )
)
def test_no_word_of_paragraphs_and_lists_is_lost(found: list[str]) -> None:
    words = [line.split()[-1] for line in found if line]
    if words:
        given_words = [w.strip("*:") for w in text("\n".join(found)).split()]
        assert [w for w in given_words if w in words] == words


HOSTILE = [
    *("*a " * 30_000, "`a " * 30_000, "<<a" * 30_000, "https://" * 12_000, "image:" * 20_000),
    *("|===\n" + "|a" * 20_000, "|===\n1000000*|a\n|===", "|===\n" + ".9999+|a\n" * 5_000 + "|==="),
    *("* a\n+\n" * 6_000, "* a\n\n" * 8_000, "\n".join("=" * (i + 4) for i in range(600)) + "\nx"),
    *(
        "ifdef::a[]\n" * 30_000 + "x",
        "x::" * 30_000,
        "- a\n" + "\n" * 50_000 + "x",
        "====\n" * 9_001,
    ),
    *(
        "image::" + "[" * 100_000,
        "-" * 100_000 + " x",
        "[" * 100_000 + "x",
        "ifdef::" + "[" * 100_000,
    ),
    ":a: xx\n" + "".join(f":a{n}: {{a{n - 1}}}{{a{n - 1}}}\n" for n in range(2_000)) + "\n{a1999}",
]


@pytest.mark.parametrize("source", HOSTILE, ids=[each[:10] for each in HOSTILE])
def test_time_and_text_grow_with_the_source_only(source: str) -> None:
    began = time.process_time()
    try:
        assert len(text(source)) < 10_000 + 100 * len(source)
    except ParseError as error:
        assert "holds no text" in str(error)  # noqa: PT017
    assert time.process_time() - began < 3

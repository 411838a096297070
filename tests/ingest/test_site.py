"""Documentation sites: includes and shortcodes read as their readers see them."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import ParseError
from ingest.parsers import parse
from ingest.parsers.includes import MAX_CHARACTERS, MAX_FILES
from ingest.parsers.site import Expanded, expand, parse_page
from ingest.parsers.text import first_line


def files(**texts: str) -> Callable[[str], str | None]:
    """A source's files: `docs__a_md` is docs/a.md."""
    named = {
        "/".join(part.replace("_", ".") for part in name.split("__")): text
        for name, text in texts.items()
    }
    return named.get


def page(text: str, path: str = "docs/guide.md", **texts: str) -> Expanded:
    return expand(text, path, files(**texts))


def test_a_page_without_marks_is_unchanged() -> None:
    text = "# Title\n\nWords, `code` and {braces}.\n\n```python\nimport os\n```\n\nSetext\n===\n"
    assert page(text) == Expanded(text, {}, (), True, True)


@pytest.mark.parametrize(
    "text",
    ["A `:::` in code and a - 8 < 9.\n", "===\n\n=== not a tab\n", "{% if x %}\n", "!!! \n"],
)
def test_marks_that_mean_nothing_leave_the_page_verbatim(text: str) -> None:
    assert page(text).text == text
    assert page(text).verbatim


# --- MkDocs -----------------------------------------------------------------------------------


def test_snippet_is_put_in_with_its_indentation() -> None:
    found = page('- Steps:\n\n    --8<-- "steps.md"\n', steps_md="---\na: 1\n---\none\n\ntwo\n")
    assert found.text == "- Steps:\n\n    one\n\n    two\n"
    assert found.included == ("steps.md",)
    assert not found.verbatim
    assert not found.lines_kept


@pytest.mark.parametrize(
    ("part", "gives"),
    [
        (":2:3", "b\nc"),
        ("::2", "a\nb"),
        (":3", "c\nd"),
        (":1:1,4:4", "a\nd"),
        (":mid", "c"),
        ("", "a\nb\nc\nd"),
    ],
)
def test_snippet_takes_lines_or_a_section(part: str, gives: str) -> None:
    source = (
        "a\nb\nc\nd\n" if part != ":mid" else "a\n# --8<-- [start:mid]\nc\n# --8<-- [end:mid]\n"
    )
    assert page(f'--8<-- "x.py{part}"\n', docs__x_py=source).text == f"{gives}\n"


def test_block_of_snippets_is_put_in_but_for_those_commented_out() -> None:
    found = page("--8<--\na.md\n; no.md\n\nb.md:1:1\n--8<--\nend", a_md="A\n", b_md="B\nC\n")
    assert found.text == "A\n\nB\nend"
    assert found.included == ("a.md", "b.md")


def test_snippet_in_a_code_block_is_put_in_as_it_is() -> None:
    found = page('```yaml\n--8<-- "x.yaml"\n```\n', x_yaml="a: {{< b >}}\n!!! note\n")
    assert found.text == "```yaml\na: {{< b >}}\n!!! note\n```\n"


def test_snippet_that_is_absent_is_counted_in_prose_and_shown_in_code() -> None:
    found = page('--8<-- "no.md"\n\n```\n--8<-- "example.md"\n```\n')
    assert found.text == '\n\n```\n--8<-- "example.md"\n```\n'
    assert found.dropped == {"includes not found": 1}


def test_escaped_snippet_loses_its_escape_only() -> None:
    assert page(';--8<-- "a.md"\n', a_md="A").text == '--8<-- "a.md"\n'


def test_markdown_include_and_jinja_includes_are_put_in() -> None:
    found = page(
        "{!a.md!}\n{!b.py!lines=1 3-4!}\n{% include 'a.md' %}\n{%\n  include-markdown \"../c.md\"\n"
        '  start="<!--s-->"\n  end="<!--e-->"\n%}\n',
        docs__a_md="A\n",
        docs__b_py="1\n2\n3\n4\n",
        c_md="no<!--s-->C<!--e-->no",
    )
    assert found.text == "A\n1\n3\n4\nA\nC\n"
    assert found.included == ("docs/a.md", "docs/b.py", "c.md")


def test_notes_and_tabs_are_labels_and_their_words_are_no_code() -> None:
    text = (
        '!!! warning "Freeze writes"\n\n    Stop them.\n\n    !!! note\n        Inner.\n\n'
        '    ```sh\n    !!! kept\n    ```\n\nAfter.\n\n=== "Linux"\n\n    Use apt.\n\n??? tip\n    Hidden.\n'
    )
    found = page(text)
    assert found.text == (
        "**Warning: Freeze writes**\n\nStop them.\n\n**Note**\nInner.\n\n"
        "```sh\n!!! kept\n```\n\nAfter.\n\n**Linux**\n\nUse apt.\n\n**Tip**\nHidden.\n"
    )
    assert found.lines_kept
    assert not found.verbatim


# --- Hugo -------------------------------------------------------------------------------------


def test_shortcodes_keep_the_words_that_they_enclose() -> None:
    text = (
        '{{% note title="Mind" %}}\nStop **all** writes.\n{{% /note %}}\n\n'
        '{{< tabs >}}{{< tab name="Linux" >}}\napt\n{{< /tab >}}{{< /tabs >}}\n'
        '{{% alert color="warning" %}}Hot{{% /alert %}}\n{{< unheard >}}Kept.{{< /unheard >}}\n'
    )
    found = page(text)
    assert found.text == (
        "**Note: Mind**\nStop **all** writes.\n\n\n**Linux**\napt\n\n**Warning**Hot\nKept.\n"
    )
    assert found.dropped == {}


def test_highlight_is_a_code_block() -> None:
    found = page('{{< highlight go "linenos=table" >}}\na := "{{< x >}}"\n{{< /highlight >}}\n')
    assert found.text == '```go\na := "{{< x >}}"\n```\n'


def test_references_give_their_target_and_the_rest_is_counted() -> None:
    found = page(
        'See [drill]({{< ref "drill.md" >}}) and {{< glossary_tooltip text="pods" term_id="pod" >}}.\n'
        '{{< param version >}}{{< figure src="x.png" alt="A plan" >}}\n'
    )
    assert found.text == "See [drill](drill.md) and pods.\nA plan\n"
    assert found.dropped == {"shortcodes": 1, "images": 1}


def test_shortcodes_include_pages_and_code() -> None:
    found = page(
        '{{% include "part.md" %}}\n{{% code_sample file="pods/x.yaml" %}}\n{{< readfile file="no.md" >}}\n',
        "content/en/docs/a.md",
        content__en__docs__part_md="+++\na = 1\n+++\nSee {{< ref x >}}.\n",
        content__en__examples__pods__x_yaml="kind: Pod\n",
    )
    assert found.text == "See x.\n```yaml\nkind: Pod\n```\n\n"
    assert found.dropped == {"includes not found": 1}


def test_escaped_shortcodes_and_those_in_code_stay() -> None:
    text = "{{</* note */>}}\n\n```\n{{< note >}}\n```\n\nWrite `{{< ref >}}`.\n"
    assert page(text).verbatim


# --- Docusaurus -------------------------------------------------------------------------------

MDX = """import Part from './_part.mdx';
import Tabs from '@theme/Tabs';
import {
  A,
} from '@site/src/a';
import Code from '!!raw-loader!./x.py';

# Guide

export const value = {
  a: 1,
};

<Tabs groupId="os" values={[{label: 'x > y'}]}>
<TabItem value="apt" label="With apt">

Run `<Part />` now. {/* hidden */}

</TabItem>
</Tabs>

<Part name="x" />

<CodeBlock language="python">{Code}</CodeBlock>

<Widget on={() => <b>x</b>} />

:::note[Mind]
Text <kbd>x</kbd>{' '}here.
:::

```jsx
<Tabs/>
```
"""


def test_mdx_reads_as_markdown() -> None:
    read = {
        "docs/_part.mdx": "import X from 'x'\n\n<X/>Of the part.\n",
        "docs/x.py": "print()\n",
    }.get
    found = expand(MDX, "docs/a.mdx", read)
    lines = [line for line in found.text.split("\n") if line]
    assert lines == [
        *("# Guide", "**With apt**", "Run `<Part />` now. ", "Of the part."),
        *("```python", "print()", "```", "**Note: Mind**", "Text <kbd>x</kbd> here."),
        *("```jsx", "<Tabs/>", "```"),
    ]
    assert found.included == ("docs/_part.mdx", "docs/x.py")
    assert found.dropped == {"components": 2}


def test_mdx_in_a_md_file_is_told_by_its_imports() -> None:
    text = "import Part from './_part.mdx'\n\n<Part />\n"
    assert expand(text, "docs/a.md", {"docs/_part.mdx": "Words.\n"}.get).text == "\n\nWords.\n"


def test_html_in_plain_markdown_stays() -> None:
    text = '<div align="center">\n<Tabs/>\n</div>\n\n```js\nimport a from "b"\n```\n\n:::note\nx\n:::\n'
    assert "<div" in page(text).text
    assert "<Tabs/>" in page(text).text


def test_mdx_files_are_read_as_markdown_and_their_title_found_after_expansion() -> None:
    data = b"---\nsidebar: x\n---\nimport P from './_p.mdx'\n\n<P />\n"
    parsed, expanded = parse_page(parse, "docs/a.mdx", data, {"docs/_p.mdx": "# Real\n\nx\n"}.get)
    assert parsed.title == "Real"
    assert parsed.metadata == {"sidebar": "x"}
    assert expanded
    assert expanded.included == ("docs/_p.mdx",)


def test_a_page_of_nothing_but_what_is_absent_is_refused() -> None:
    with pytest.raises(ParseError, match=r"docs/a\.md holds no text"):
        parse_page(parse, "docs/a.md", b'--8<-- "no.md"\n', {}.get)


def test_first_line_is_that_below_the_front_matter() -> None:
    data = b"---\r\na: 1\r\n---\r\n\r\n\r\n!!! note\r\n    Words.\r\n"
    parsed, expanded = parse_page(parse, "a.md", data, {}.get)
    assert expanded
    assert expanded.lines_kept
    assert parsed.text == "**Note**\nWords.\n"
    assert first_line(data, parsed.text) == 6


@pytest.mark.parametrize(
    ("front", "metadata"),
    [
        (
            '+++\ntitle = "T"\ndate = 2024-05-01\n[params]\nn = 1\n+++\n',
            {"date": "2024-05-01", "params": {"n": 1}},
        ),
        ('{\n  "title": "T",\n  "tags": ["a}"]\n}\n', {"tags": ["a}"]}),
    ],
)
def test_hugo_front_matter_is_toml_or_json_too(front: str, metadata: dict[str, object]) -> None:
    parsed = parse("a.md", f"{front}\n# Body\n".encode())
    assert parsed.text == "# Body\n"
    assert parsed.metadata == {"title": "T", **metadata}


@pytest.mark.parametrize(
    "text", ['{"a": 1} and so on\n', "{% x %}\n", '{"a": \n\nwords\n', "+++ a\n"]
)
def test_what_only_begins_like_front_matter_is_text(text: str) -> None:
    assert parse("a.md", text.encode()).text == text


def test_broken_toml_is_named_with_its_line() -> None:
    with pytest.raises(ParseError, match=r"a\.md.*not valid TOML .*line 2"):
        parse("a.md", b"+++\na = 1\nb =\n+++\nx\n")


def test_asciidoc_is_expanded_before_it_is_parsed() -> None:
    data = b"Words.\n\n[source,py]\n----\ninclude::a.py[tag=x]\n----\n\ninclude::no.adoc[]\n"
    read = {"docs/a.py": "no\n# tag::x[]\nprint()\n# end::x[]\n"}.get
    parsed, expanded = parse_page(parse, "docs/a.adoc", data, read)
    assert parsed.text == "Words.\n\n```py\nprint()\n```\n"
    assert parsed.dropped == {"includes": 1}
    assert expanded
    assert expanded.included == ("docs/a.py",)


# --- AsciiDoc ---------------------------------------------------------------------------------


def test_asciidoc_includes_take_lines_and_tags() -> None:
    read = {
        "docs/parts/a.adoc": "== A\n\ninclude::b.txt[lines=2..3]\n",
        "docs/parts/b.txt": "1\n2\n3\n4\n",
        "docs/c.py": "# tag::x[]\ncode\n# end::x[]\nno\n",
    }.get
    text = ":dir: parts\n\ninclude::{dir}/a.adoc[leveloffset=+1]\n\ninclude::c.py[tag=x]\n\ninclude::no.adoc[]\n"
    found = expand(text, "docs/a.adoc", read)
    assert found.text == ":dir: parts\n\n=== A\n\n2\n3\n\ncode\n\ninclude::no.adoc[]\n"
    assert found.included == ("docs/parts/a.adoc", "docs/parts/b.txt", "docs/c.py")


# --- limits -----------------------------------------------------------------------------------


def test_circle_of_includes_is_cut_and_counted() -> None:
    found = page('--8<-- "a.md"\n', a_md='A\n--8<-- "b.md"\n', b_md='B\n--8<-- "a.md"\n')
    assert found.text.split() == ["A", "B"]
    assert found.dropped == {"includes in a circle": 1}


def test_files_that_double_themselves_are_stopped() -> None:
    names = {f"{n}.md": f'--8<-- "{n + 1}.md"\n' * 3 + "x" * 20_000 for n in range(30)}
    found = expand('--8<-- "0.md"\n', "p.md", names.get)
    assert found.dropped["includes past the limit"] > 0
    assert len(found.text) < min(MAX_CHARACTERS, MAX_FILES * 20_100) * 1.1


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../../x.md", "x\n.md"])
def test_includes_never_ask_for_a_path_outside(name: str) -> None:
    asked: list[str] = []
    expand(f'--8<-- "{name}"\n{{!{name}!}}\n', "docs/a.md", lambda path: asked.append(path))
    assert not [path for path in asked if path.startswith(("/", "..")) or "/../" in path]


def test_includes_from_the_web_are_not_fetched() -> None:
    found = page('--8<-- "https://example.com/a.md"\n')
    assert found.dropped == {"includes from the web": 1}


marks = st.sampled_from(
    [
        *('--8<-- "a.md"\n', "--8<--\n", "{!a.md!}", "{% include 'a.md' %}", "{{< note >}}", "\n"),
        *("{{< /note >}}", "{{% highlight go %}}", "{{% /highlight %}}", "{{<", ">}}", "<A", "/>"),
        *("import A from './a.md'\n", "<A />", "{/*", "*/}", "export const x\n", "```\n", "~~~\n"),
        *("!!! note\n", "    words\n", ":::tip x\n", ":::\n", '=== "T"\n', "`", "{", '"', "words "),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(marks, max_size=30).map("".join), st.sampled_from(["p.md", "p.mdx", "p.adoc"]))
def test_any_marks_are_read_and_leave_nothing_held(text: str, path: str) -> None:
    found = expand(text, path, {"a.md": "Included.\n", "p.md": text}.get)
    assert "\0" not in found.text
    assert found.verbatim == (found.text == text)


HOSTILE = [
    *("{{<a" * 50_000, "<A " * 60_000, "<A {" * 50_000, '<A "' * 50_000, "{/*" * 60_000),
    *(
        "{!a" * 60_000,
        "{% include " * 20_000,
        "-" * 200_000 + "8",
        "`" * 200_000,
        "` `` ``` " * 20_000,
    ),
    *("import {\n" * 20_000, "!!! a" + " a" * 100_000 + '"', "{{< highlight x >}}\n" * 8_000),
    *("--8<--\n" * 30_001, "~" * 100_000 + "`\n", ":::a" + " " * 100_000 + "{", "\n" * 200_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:12] for text in HOSTILE])
def test_time_grows_with_the_text_only(text: str) -> None:
    began = time.process_time()
    expand("!!! note\n" + text, "a.mdx", lambda path: None)
    assert time.process_time() - began < 3

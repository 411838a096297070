"""Chunks: spans that cover the document, follow its structure and fit the model."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.embedder import Embedder, llm_tokens
from index.schema import Chunk, contextual_text
from ingest.chunk import ChunkSizes, chunk


def word_count(text: str) -> int:
    return len(text.split())


SMALL = ChunkSizes(count=word_count, model_count=word_count, model_limit=40, target=20)


def bodies(text: str, sizes: ChunkSizes = SMALL) -> list[str]:
    return [text[piece.body_start : piece.end] for piece in chunk(("Title",), text, sizes)]


BREAK = re.compile(r"^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$", re.MULTILINE)


def assert_covers(text: str, chunks: list[Chunk]) -> None:
    """Chunks do not overlap, and nothing but white space and thematic breaks lies between two."""
    end = 0
    for piece in chunks:
        assert not BREAK.sub("", text[end : piece.start]).strip(), "words lost between two chunks"
        assert end <= piece.start <= piece.body_start < piece.end
        end = piece.end
    assert not BREAK.sub("", text[end:]).strip(), "words lost at the end"


markdown_lines = st.sampled_from(
    [
        "# One",
        "## Two",
        "### Three",
        "",
        "",
        "Some words that say a thing. And another sentence follows here.",
        "- item of a list",
        "  - nested item",
        "- Problem: it goes wrong quite often here",
        "- Result: it goes right most of the time",
        "1. first",
        "| a | b |",
        "|---|---|",
        "| 1 | 2 |",
        "```",
        "code = 1",
        "    indented code",
        "> quoted",
        "***",
        "<div>html</div>",
        "[ref]: http://example.com",
        "Setext",
        "===",
        "éàü 漢字 " + "x" * 50,
    ]
)


@given(st.lists(markdown_lines, max_size=40).map("\n".join))
def test_chunks_cover_any_markdown(text: str) -> None:
    chunks = chunk(("Title",), text, SMALL)
    assert_covers(text, chunks)
    for piece in chunks:
        body = text[piece.body_start : piece.end]
        assert word_count(body) <= SMALL.target or len(body.split()) == 1


@given(st.text(max_size=200))
def test_chunks_cover_any_text(text: str) -> None:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert_covers(text, chunk(("Title",), text, SMALL))


@pytest.fixture(scope="module")
def model_sizes(embedder: Embedder) -> ChunkSizes:
    count: Callable[[str], int] = lambda text: embedder.count_tokens([text])[0]  # noqa: E731
    return ChunkSizes(llm_tokens(), count, embedder.max_tokens)


@settings(max_examples=25, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("ab漢 .\n-/_9é"), max_size=3000))
def test_what_is_embedded_fits_the_model(model_sizes: ChunkSizes, text: str) -> None:
    for piece in chunk(("A title",), text, model_sizes):
        body = text[piece.body_start : piece.end]
        embedded = contextual_text(("A title",), piece.heading_path, body)
        assert model_sizes.model_count(embedded) <= model_sizes.model_limit


def test_each_chunk_stays_in_its_section_and_knows_its_path() -> None:
    text = (
        "# Guide\n\nIntro.\n\n## Install\n\nRun it.\n\n### On Linux\n\nUse apt.\n\n## Use\n\nAsk.\n"
    )
    assert [
        (c.heading_path, text[c.body_start : c.end]) for c in chunk(("Guide",), text, SMALL)
    ] == [
        (("Guide",), "Intro."),
        (("Guide", "Install"), "Run it."),
        (("Guide", "Install", "On Linux"), "Use apt."),
        (("Guide", "Use"), "Ask."),
    ]


def test_labelled_list_items_are_sections_in_small() -> None:
    text = (
        "# Case\n\n- Problem: restores are slow and manual.\n"
        "- Result: restores are quick and dull.\n\nA word after the list.\n"
    )
    chunks = chunk(("Case",), text, SMALL)
    assert [c.section for c in chunks] == ["Problem", "Result", "Case"]
    assert text[chunks[1].body_start : chunks[1].end] == "restores are quick and dull."


def test_thematic_break_ends_a_chunk_and_keeps_the_heading() -> None:
    text = "# T\n\n## FAQ\n\nYes.\n\n***\n\nNo.\n\n---\n\n## Next\n\nMaybe.\n\n***\n"
    chunks = chunk(("T",), text, SMALL)
    assert [text[each.body_start : each.end] for each in chunks] == ["Yes.", "No.", "Maybe."]
    assert [each.heading_path for each in chunks] == [("T", "FAQ"), ("T", "FAQ"), ("T", "Next")]
    assert not any("***" in text[each.start : each.end] for each in chunks)
    assert_covers(text, chunks)


def test_what_is_no_block_is_kept_below_a_thematic_break() -> None:
    assert bodies("One.\n\n***\n[ref]: http://example.com\n") == [
        "One.",
        "[ref]: http://example.com",
    ]


def test_thematic_break_ends_a_list_of_labelled_items() -> None:
    text = "# T\n\n- Problem: it goes wrong a lot\n- Result: now it goes right\n\n***\n\nElse.\n"
    assert chunk(("T",), text, SMALL)[-1].heading_path == ("T",)


def test_list_with_only_some_labels_stays_a_list() -> None:
    text = "- Note: this is a remark to read\n- and this is an item like others\n"
    assert bodies(text) == [text.strip()]


def test_code_and_tables_that_fit_are_not_cut() -> None:
    code = "```sh\nfor i in 1 2 3\ndo echo $i\ndone\n```"
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
    text = f"{'word ' * 15}\n\n{code}\n\n{'word ' * 15}\n\n{table}\n"
    assert code in bodies(text)
    assert any(table in body for body in bodies(text))


def test_long_paragraph_is_cut_between_sentences() -> None:
    text = "One two three four five six seven. " * 6
    assert all(body.endswith(".") for body in bodies(text))

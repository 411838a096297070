"""The history source: releases and months, each commit with its reasons and its files, headings kept."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from index.errors import ParseError
from ingest.chunk import ChunkSizes, chunk
from ingest.parsers.parsed import Parsed
from ingest.sources.history import (
    FILES,
    MESSAGE,
    PART,
    HistorySettings,
    HistorySource,
    _message,
    _stays_inside,
)
from ingest.sources.permalink import Links
from ingest.sources.source import Content, Item, Listing, SourceUnavailable
from tests.ingest.test_git_source import Repository, commands, repository

__all__ = ["commands", "repository"]  # fixtures


def source(repository: Repository, tmp_path: Path, ref: str | None = None) -> HistorySource:
    return HistorySource("history", HistorySettings(str(repository.bare), ref), tmp_path / "copy")


def documents(source: HistorySource) -> dict[str, Content]:
    return {item.id: source.read(item) for item in source.list().items}


def text(content: Content) -> str:
    assert isinstance(content.body, Parsed)
    return content.body.text


def headings(markdown: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [
        tokens[position + 1].content
        for position, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


# --- grouping ---------------------------------------------------------------------------------


def test_a_release_holds_the_commits_since_the_one_before(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit("First", a="one")
    repository.git("tag", "-a", "-m", "The first release", "v1")
    repository.commit("Second", a="two")
    repository.commit("Third", a="three")
    repository.git("tag", "-a", "-m", "The second release", "v2")
    repository.commit("Fourth", a="four")
    repository.push()
    found = documents(source(repository, tmp_path))
    assert {name: headings(text(content))[1:] for name, content in found.items()} == {
        "month/2024-05": ["Fourth"],
        "release/v2": ["Third", "Second"],
        "release/v1": ["First"],
    }
    assert "The second release" in text(found["release/v2"]).split("##")[0]
    assert found["release/v2"].body.title == "Release v2 of payments"  # type: ignore[union-attr]
    assert found["release/v2"].modified_at == "2024-05-03T10:00:00+00:00"
    assert found["release/v2"].kind == "history"


def test_a_repository_without_tags_is_told_by_month(repository: Repository, tmp_path: Path) -> None:
    repository.commit("One")
    repository.commit("Two")
    repository.day = 31
    repository.commit("Three")
    repository.push()
    found = documents(source(repository, tmp_path))
    assert {name: headings(text(content)) for name, content in found.items()} == {
        "month/2024-06": ["Changes to payments in June 2024", "Three"],
        "month/2024-05": ["Changes to payments in May 2024", "Two", "One"],
    }


def test_a_maintenance_release_holds_what_only_it_has(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit("Base")
    repository.git("tag", "v1")
    repository.git("checkout", "-q", "-b", "maintenance")
    repository.commit("Fix for v1")
    repository.git("tag", "v1.1")
    repository.push()
    repository.git("checkout", "-q", "main")
    repository.commit("Feature")
    repository.git("tag", "v2")
    repository.push()
    found = documents(source(repository, tmp_path))
    assert {name: headings(text(content))[1:] for name, content in found.items()} == {
        "release/v1": ["Base"],
        "release/v1.1": ["Fix for v1"],
        "release/v2": ["Feature"],
    }


def test_tags_of_one_commit_make_one_release(repository: Repository, tmp_path: Path) -> None:
    repository.commit("First")
    for tag in ("latest", "stable", "v1"):
        repository.git("tag", tag)
    repository.git("tag", "not-a-commit", "HEAD^{tree}")
    repository.push()
    found = documents(source(repository, tmp_path))
    assert list(found) == ["release/v1"]
    assert "v1, also latest, stable was tagged on 2024-05-01." in text(found["release/v1"])


def test_long_months_are_cut_so_that_full_parts_stay(
    repository: Repository, tmp_path: Path
) -> None:
    stream = "".join(
        "commit refs/heads/main\ncommitter Ann <a@example.org> 1714557600 +0000\n"
        f"data 8\nStep {number:03}\n\n"
        for number in range(PART + 1)
    )
    subprocess.run(
        ["git", "fast-import", "--quiet"], input=stream.encode(), cwd=repository.bare, check=True
    )
    history = source(repository, tmp_path)
    before = history.list()
    assert [item.id for item in before.items] == ["month/2024-05", "month/2024-05/part-2"]
    full, rest = (headings(text(history.read(item))) for item in before.items)
    assert full[1:] == [f"Step {number:03}" for number in range(PART - 1, -1, -1)]
    assert rest[1:] == [f"Step {PART:03}"]
    repository.git("pull", "-q", "origin", "main")
    repository.commit("One more")
    repository.push()
    after = history.list()
    assert after.items[0] == before.items[0]
    assert after.items[1].revision != before.items[1].revision


def test_an_empty_repository_has_no_history(repository: Repository, tmp_path: Path) -> None:
    assert source(repository, tmp_path).list() == Listing(())


def test_a_shallow_repository_has_the_history_that_it_has(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit("Old", a="one")
    repository.commit("New", a="two")
    repository.push()
    shallow = tmp_path / "shallow"
    url = f"file://{repository.bare}"
    subprocess.run(["git", "clone", "-q", "--depth=1", url, shallow], check=True)
    history = HistorySource("x", HistorySettings(str(shallow)), tmp_path / "copy")
    (content,) = documents(history).values()
    assert headings(text(content))[1:] == ["New"]


# --- freshness --------------------------------------------------------------------------------


def test_unchanged_history_is_neither_fetched_nor_logged(
    repository: Repository, tmp_path: Path, commands: Path
) -> None:
    repository.commit("First")
    repository.git("tag", "-a", "-m", "One", "v1")
    repository.push()
    before = source(repository, tmp_path).list()
    commands.write_text("")
    assert source(repository, tmp_path).list() == before
    assert commands.read_text().count("ls-remote") == 1
    assert " fetch " not in commands.read_text()
    assert " log " not in commands.read_text()


def test_a_new_commit_changes_its_month_and_no_release(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit("First")
    repository.git("tag", "v1")
    repository.commit("Second")
    repository.push()
    history = source(repository, tmp_path)
    before = {item.id: item.revision for item in history.list().items}
    repository.commit("Third")
    repository.push()
    after = {item.id: item.revision for item in history.list().items}
    assert before["release/v1"] == after["release/v1"]
    assert before["month/2024-05"] != after["month/2024-05"]


def test_a_tag_that_comes_later_makes_a_release_of_the_month(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit("First")
    repository.push()
    history = source(repository, tmp_path)
    assert [item.id for item in history.list().items] == ["month/2024-05"]
    repository.git("tag", "v1")
    repository.push()
    assert [item.id for item in history.list().items] == ["release/v1"]
    repository.push("--delete", "origin", "v1")
    assert [item.id for item in history.list().items] == ["month/2024-05"]


def test_a_moved_tag_changes_the_revision(repository: Repository, tmp_path: Path) -> None:
    repository.commit("First")
    repository.git("tag", "-a", "-m", "One", "v1")
    repository.push()
    history = source(repository, tmp_path)
    before = history.list().items
    repository.git("tag", "-f", "-a", "-m", "One, again", "v1")
    repository.push("--force", "origin", "v1")
    (after,) = history.list().items
    assert (before[0].id, before[0].revision != after.revision) == (after.id, True)
    assert "One, again" in text(history.read(after))


def test_a_forced_push_drops_commits(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Kept")
    repository.commit("Secret leaked")
    repository.push()
    history = source(repository, tmp_path)
    history.list()
    repository.git("reset", "-q", "--hard", "HEAD~1")
    repository.push("--force", "origin", "main")
    (content,) = documents(history).values()
    assert headings(text(content))[1:] == ["Kept"]


def test_a_group_of_an_older_listing_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.commit("First")
    repository.push()
    history = source(repository, tmp_path)
    (old,) = history.list().items
    repository.commit("Second")
    repository.push()
    history.list()
    for item in (old, Item("release/none", "0")):
        with pytest.raises(ParseError, match=f"{item.id} is not in"):
            history.read(item)


def test_a_missing_repository_is_unavailable(tmp_path: Path) -> None:
    history = HistorySource("x", HistorySettings(str(tmp_path / "none")), tmp_path / "copy")
    with pytest.raises(SourceUnavailable):
        history.list()


# --- what a commit says -----------------------------------------------------------------------


def test_a_commit_says_when_who_why_and_what(repository: Repository, tmp_path: Path) -> None:
    repository.write("logo.png", b"\0\1")
    repository.commit("Base", a="one\ntwo\n", b="text that moves\n" * 5)
    repository.git("mv", "b.md", "c.md")
    repository.git("rm", "-q", "logo.png")
    sha = repository.commit(
        "Stop retrying declined cards\n\nThe bank counts a retry as fraud.\n", a="one\nthree\n"
    )
    repository.push()
    (content,) = documents(source(repository, tmp_path)).values()
    assert text(content).split("\n\n## ")[1].rstrip("\n") == (
        "Stop retrying declined cards\n\n"
        f"Committed on 2024-05-02 by Ann Author ({sha[:12]}).\n\n"
        "The bank counts a retry as fraud.\n\n"
        "Files changed: `a.md` (+1 −1), `b.md` → `c.md` (renamed, +0 −0), "
        "`logo.png` (deleted, binary). In all +1 −1."
    )


def test_anchors_open_the_commit_that_a_section_tells_of(
    repository: Repository, tmp_path: Path
) -> None:
    first, second = repository.commit("First"), repository.commit("Second\n\nWith ümlauts.")
    repository.git("tag", "v1")
    repository.push()
    history = source(repository, tmp_path)
    history.links = Links.to("https://github.com/acme/payments.git")
    (content,) = documents(history).values()
    page = "https://github.com/acme/payments"
    whole = text(content)
    assert content.uri == f"{page}/releases/tag/v1"
    assert [
        (address, whole[at:].split("\n")[0]) for at, address in content.metadata["anchors"]
    ] == [
        (f"{page}/releases/tag/v1", "# Release v1 of payments"),
        (f"{page}/commit/{second}", "## Second"),
        (f"{page}/commit/{first}", "## First"),
    ]


def test_each_commit_is_a_passage_under_its_first_line(
    repository: Repository, tmp_path: Path
) -> None:
    """So "why did we stop retrying" meets the reason and the files, and nothing of other commits."""
    repository.commit("Retry declined cards\n\n- so that customers wait less", a="one")
    repository.commit("Stop retrying declined cards\n\nThe bank counts them as fraud.", a="two")
    repository.push()
    (content,) = documents(source(repository, tmp_path)).values()
    sizes = ChunkSizes(lambda text: len(text.split()), lambda text: len(text.split()), 200)
    chunks = chunk(("payments",), text(content), sizes)
    assert [piece.section for piece in chunks] == [
        "Stop retrying declined cards",
        "Retry declined cards",
    ]
    found = text(content)[chunks[0].start : chunks[0].end]
    assert "The bank counts them as fraud." in found
    assert "`a.md` (+1 −1)" in found


def test_merges_are_told_of_if_they_say_something(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Base")
    for branch, message in (("one", "Merge branch one"), ("two", "Merge two\n\nBecause of X.")):
        repository.git("checkout", "-q", "-b", branch)
        repository.commit(f"Work on {branch}", **{branch: "text"})
        repository.git("checkout", "-q", "main")
        repository.git("merge", "-q", "--no-ff", "-m", message, branch)
    repository.push()
    (content,) = documents(source(repository, tmp_path)).values()
    assert sorted(headings(text(content))[1:]) == [
        "Base",
        "Merge two",
        "Work on one",
        "Work on two",
    ]


def test_what_is_cut_is_counted(repository: Repository, tmp_path: Path) -> None:
    for number in range(FILES + 5):
        repository.write(f"f{number:02}.txt", "x\n")
    repository.commit(f"Big\n\n{'word ' * MESSAGE}")
    repository.push()
    (content,) = documents(source(repository, tmp_path)).values()
    assert f"`f19.txt` (new, +1 −0), and 5 more. In all +{FILES + 5} −0." in text(content)
    assert f"[cut here: {MESSAGE * 4 - 1} more characters in the commit]" in text(content)
    assert len(text(content)) < MESSAGE + 2_000


def test_odd_names_and_bytes_are_told_in_printable_text(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("a\n## Not a heading\t`.txt", "x\n")
    repository.commit("Odd")
    repository.push()
    message = b"Latin \xe9\n\nbody \xff\n"
    stream = b"commit refs/heads/main\ncommitter \xe9 <a@b> 1714557600 +0000\n"
    stream += b"data %d\n%s\nfrom refs/heads/main^0\n\n" % (len(message), message)
    subprocess.run(["git", "fast-import", "--quiet"], input=stream, cwd=repository.bare, check=True)
    (content,) = documents(source(repository, tmp_path)).values()
    assert headings(text(content))[1:] == ["Latin �", "Odd"]
    assert "`a\\n## Not a heading\\t'.txt` (new, +1 −0)" in text(content)


def test_a_plain_message_stays_as_it_was_written() -> None:
    message = "Why:\n\n- one\n- two\n\n```\n# a comment\n```\n\n> quoted\n\nSee #12 and <a@b.org>."
    assert _message(message) == message


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("# Not a heading", "\\# Not a heading"),
        ("Title\n=====\nText", "Title\n\\=====\nText"),
        ("Title\n---\nText", "Title\n\\---\nText"),
        ("```\nnever closed", "\\```\nnever closed"),
        ("<!-- never closed", "\\<!-- never closed"),
        ("<script>\nx", "\\<script>\nx"),
    ],
)
def test_what_would_break_headings_is_escaped(message: str, written: str) -> None:
    assert _message(message) == written


@given(
    st.lists(
        st.sampled_from(
            "# a|## b|---|===|```|~~~|    code|> q|- item|1. one|<!--|-->|<pre>|<div>|</div>|\t# t"
            "|text|| |[a]: /b|| a \\| b |\\| - \\| - \\||> ```|- ```|<?|<![CDATA[|`````|\f# x".split(
                "|"
            )
        ),
        max_size=8,
    )
)
def test_no_message_makes_a_heading_or_swallows_one(lines: list[str]) -> None:
    assert _stays_inside(_message("\n".join(lines)))

"""Sources together: configured, listed, kept when they fail, and who may read what they hold."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assistant.ingestion import ingest
from assistant.settings import load_settings
from index.catalog import Catalog, DocumentRow
from index.errors import InvalidInput
from index.store import catalog_path
from ingest.access import AccessRules, read_rules
from ingest.parsers.parsed import Parsed
from ingest.sources.folder import FolderSource
from ingest.sources.patterns import Patterns
from ingest.sources.settings import open_sources
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable
from ingest.sync import Summary, Synced, sync
from tests.conftest import World, quiet

OPEN = AccessRules(frozenset({"public"}))


def documents(world: World) -> dict[str, DocumentRow]:
    catalog = Catalog(catalog_path(world.index))
    state = catalog.current_state_id()
    assert state
    return {row.item: row for row in catalog.document_rows(state)}


def synced(world: World, *sources: Synced, all_there_are: bool = False) -> Summary:
    return sync(sources, world.index, world.embedder, report=quiet, all_there_are=all_there_are)


def folder(world: World, patterns: Patterns | None = None) -> FolderSource:
    return FolderSource("docs", (world.docs,), world.docs, patterns or Patterns())


@dataclass
class Notes:
    """A source in memory, which can be made to fail."""

    name: str
    texts: dict[str, str]
    fails: bool = False
    skipped: tuple[Skipped, ...] = ()
    read_items: list[str] = field(default_factory=list)

    def list(self) -> Listing:
        if self.fails:
            raise SourceUnavailable(f"{self.name} does not answer: try again later")
        items = tuple(Item(name, str(hash(text))) for name, text in self.texts.items())
        return Listing(items, "revision-1", 0, self.skipped)

    def read(self, item: Item) -> Content:
        self.read_items.append(item.id)
        body = Parsed(item.id, self.texts[item.id])
        return Content(body, f"notes/{item.id}", item.revision, None, "note")

    def beside(self, path: str) -> bytes | None:
        return None

    def close(self) -> None:
        pass


# --- folders ----------------------------------------------------------------------------------


def test_patterns_choose_and_hidden_files_and_links_are_left_alone(world: World) -> None:
    for name in ("a.md", "drafts/b.md", "guide/c.md", ".git/d.md", ".e.md", "f.bin"):
        world.write(name, "# T\n\nText.\n")
    outside = world.base / "outside.md"
    outside.write_text("# Secret\n\nText.\n")
    (world.docs / "link.md").symlink_to(outside)
    (world.docs / "linked").symlink_to(world.base, target_is_directory=True)
    listing = folder(world, patterns=Patterns(exclude=("drafts/",))).list()
    assert [item.id for item in listing.items] == ["a.md", "guide/c.md"]
    assert (
        folder(world, patterns=Patterns(include=("guide/**",))).list().items[0].id == "guide/c.md"
    )


def test_names_that_are_no_text_are_named_and_the_rest_goes_in(world: World) -> None:
    world.write("good.md", "# Good\n\nText.\n")
    world.write("two\nlines.md", "# Bad\n\nText.\n")
    (Path(os.fsdecode(os.fsencode(world.docs) + b"/\xff.md"))).write_text("# Bad\n\nText.\n")
    world.write("..dots.md", "# Dots\n\nText.\n")
    summary = synced(world, Synced(folder(world), OPEN))
    assert summary.new == 1
    assert sorted(failure.source for failure in summary.failed) == ["\\udcff.md", "two\\nlines.md"]
    assert all("rename it" in failure.reason for failure in summary.failed)


def test_a_file_of_500_megabytes_is_refused_unread(world: World) -> None:
    world.write("good.md", "# Good\n\nText.\n")
    with (world.docs / "huge.txt").open("wb") as file:
        file.truncate(500 * 1024 * 1024)
    summary = synced(world, Synced(folder(world), OPEN))
    assert summary.new == 1
    assert summary.failed[0].reason.startswith("huge.txt is 500 MiB")


def test_a_configured_folder_that_is_gone_keeps_its_last_state(world: World) -> None:
    world.write("a.md", "# A\n\nThe drill runs every quarter.\n")
    synced(world, Synced(folder(world), OPEN))
    world.docs.rename(world.base / "moved")
    summary = synced(world, Synced(folder(world), OPEN))
    assert "there is nothing at" in summary.failed[0].reason
    assert set(documents(world)) == {"a.md"}


def test_an_included_file_that_changes_changes_the_page(world: World) -> None:
    world.write("page.md", '# Page\n\n--8<-- "snippets/owner.md"\n')
    snippet = world.write("snippets/owner.md", "The platform team owns it.\n")
    source = folder(world, patterns=Patterns(exclude=("snippets/",)))
    synced(world, Synced(source, OPEN))
    assert "platform team" in world.ask("Who owns it?").citations[0].quote
    assert synced(world, Synced(source, OPEN)).unchanged == 1
    snippet.write_text("The payments team owns it.\n")
    assert synced(world, Synced(source, OPEN)).changed == 1
    assert "payments team" in world.ask("Who owns it?").citations[0].quote


# --- syncing ----------------------------------------------------------------------------------


def test_new_changed_renamed_and_deleted_are_told_apart(world: World) -> None:
    notes = Notes("notes", {"a": "One.", "b": "Two.", "c": "Three.", "d": "Four."})
    first = synced(world, Synced(notes, OPEN))
    assert (first.new, first.documents) == (4, 4)
    notes.texts = {"a": "One.", "b": "Two, now.", "moved": "Three.", "e": "Five."}
    notes.read_items.clear()
    after = synced(world, Synced(notes, OPEN))
    assert (after.new, after.changed, after.renamed, after.removed, after.unchanged) == (
        1,
        1,
        1,
        1,
        1,
    )
    assert notes.read_items == ["b", "moved", "e"]
    assert set(documents(world)) == {"a", "b", "moved", "e"}


def test_a_source_that_fails_keeps_its_last_state_and_says_so(world: World) -> None:
    wiki, notes = Notes("wiki", {"w": "Wiki."}), Notes("notes", {"n": "Note."})
    synced(world, Synced(wiki, OPEN), Synced(notes, OPEN))
    wiki.fails, notes.texts["m"] = True, "More."
    summary = synced(world, Synced(wiki, OPEN), Synced(notes, OPEN))
    assert summary.failed[0].source == "wiki"
    assert set(documents(world)) == {"w", "n", "m"}
    statuses = Catalog(catalog_path(world.index)).source_statuses()
    assert statuses["wiki"]["error"] == "wiki does not answer: try again later"
    assert statuses["wiki"]["synced_at"]
    assert statuses["notes"]["error"] is None
    wiki.fails = False
    synced(world, Synced(wiki, OPEN))
    assert Catalog(catalog_path(world.index)).source_statuses()["wiki"]["error"] is None


def test_an_item_that_can_not_be_given_keeps_its_last_revision(world: World) -> None:
    notes = Notes("notes", {"a": "One.", "b": "Two."})
    synced(world, Synced(notes, OPEN))
    notes.texts, notes.skipped = {"a": "One."}, (Skipped("b", "b is locked: unlock it"),)
    summary = synced(world, Synced(notes, OPEN))
    assert summary.removed == 0
    assert set(documents(world)) == {"a", "b"}


def test_other_sources_stay_unless_these_are_all_there_are(world: World) -> None:
    wiki, notes = Notes("wiki", {"w": "Wiki."}), Notes("notes", {"n": "Note."})
    synced(world, Synced(wiki, OPEN), Synced(notes, OPEN))
    assert synced(world, Synced(wiki, OPEN)).documents == 2
    summary = synced(world, Synced(wiki, OPEN), all_there_are=True)
    assert (summary.documents, summary.removed) == (1, 1)
    assert "notes" not in Catalog(catalog_path(world.index)).source_statuses()


def test_sources_of_one_name_and_unknown_ones_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.base)
    entry = {"name": "docs", "type": "folder", "path": "docs"}
    with pytest.raises(InvalidInput, match="two sources are called docs"):
        load_settings(sources=[entry, entry])
    settings = load_settings(sources=[entry], index=world.index)
    with pytest.raises(InvalidInput, match="no source is called nots: there are docs"):
        ingest(settings, world.embedder, quiet, ["nots"])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "folder", "path": "x", "every": "soon"}, "every"),
        ({"type": "folder", "path": "x", "Name": "y"}, "Name"),
        ({"type": "floppy"}, "type"),
        ({"type": "github"}, "repository"),
        (
            {"type": "web", "sitemap": "https://a.example/s.xml", "pages": ["https://a.example/"]},
            "either",
        ),
    ],
)
def test_a_source_that_can_not_be_meant_is_refused_by_name(
    entry: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_settings(sources=[{"name": "x", **entry}])


def test_every_type_of_source_opens(tmp_path: Path) -> None:
    entries: Sequence[dict[str, object]] = [
        {"type": "folder", "path": str(tmp_path)},
        {"type": "git", "url": "https://github.com/a/b.git"},
        {"type": "history", "url": "https://github.com/a/b.git"},
        {"type": "github", "repository": "a/b"},
        {"type": "jira", "base_url": "https://a.atlassian.net", "project": "OPS"},
        {"type": "web", "pages": ["https://a.example/"]},
    ]
    settings = load_settings(
        sources=[{"name": f"s{number}", **entry} for number, entry in enumerate(entries)]
    )
    opened = open_sources(settings.sources, tmp_path / "copies")
    assert [each.source.name for each in opened] == [f"s{number}" for number in range(6)]
    for each in opened:
        each.source.close()


# --- access -----------------------------------------------------------------------------------


def test_the_last_pattern_that_matches_gives_the_labels(tmp_path: Path) -> None:
    file = tmp_path / "access"
    file.write_text("# who\n* platform\n/payments/** payments sre # both\n/drafts/**\n")
    rules = read_rules(file, frozenset({"public"}))
    assert rules.of("readme.md") == {"platform"}
    assert rules.of("payments/refund.md") == {"payments", "sre"}
    assert rules.of("drafts/x.md") == frozenset()
    assert AccessRules(frozenset({"public"})).of("x.md") == {"public"}


def test_front_matter_comes_before_rules_and_a_change_of_rules_embeds_nothing(world: World) -> None:
    world.write("stated.md", "---\naccess: [sre]\n---\n# Stated\n\nText of one.\n")
    world.write("plain.md", "# Plain\n\nText of another.\n")
    synced(world, Synced(folder(world), AccessRules(frozenset({"platform"}))))
    assert {item: row.access for item, row in documents(world).items()} == {
        "stated.md": {"sre"},
        "plain.md": {"platform"},
    }
    after = synced(world, Synced(folder(world), AccessRules(frozenset({"payments"}))))
    assert after.embedded == 0
    assert documents(world)["plain.md"].access == {"payments"}
    assert documents(world)["stated.md"].access == {"sre"}


def test_documents_without_a_label_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write("a.md", "# A\n\nText.\n")
    summary = synced(world, Synced(folder(world), AccessRules()))
    assert summary.unlabelled == 1
    assert "only administrators read them" in caplog.text


def test_a_source_whose_text_strangers_write_does_not_say_who_may_read_it(world: World) -> None:
    @dataclass
    class Page(Notes):
        def read(self, item: Item) -> Content:
            body = b"---\naccess: [public]\n---\n# Page\n\nText.\n"
            return Content(
                body, "https://a.example/x", "1", None, "page",
                metadata={"parse_as": ".md"}, states_access=False,
            )  # fmt: skip

    synced(world, Synced(Page("web", {"https://a.example/x": ""}), AccessRules(frozenset({"sre"}))))
    assert documents(world)["https://a.example/x"].access == {"sre"}

"""Sync: only what changed is read and embedded, what is gone is gone, faults are named."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.errors import InvalidInput
from index.reader import IndexReader
from index.schema import Document, DocumentId, Revision
from ingest.sync import sync_documents
from tests.conftest import PUBLIC, READER, ROOT, World, quiet


def test_case_studies_make_22_documents_and_88_facets(case_studies_index: Path) -> None:
    reader = IndexReader(case_studies_index)
    state = reader.current()
    passages = reader.catalog.passages(state.segments[0].rows)
    assert len({passage.document.title for passage in passages}) == 22
    assert len(passages) == 88
    facets = [passage.chunk.section for passage in passages]
    assert {facet: facets.count(facet) for facet in facets} == {
        "Problem": 22,
        "Constraints": 22,
        "Architecture": 22,
        "Result": 22,
    }
    assert all(passage.document.metadata["author"] == "Andrey Lesnikov" for passage in passages)


def test_corpus_keeps_the_users_words() -> None:
    seeds = ROOT.parent / "shared" / "seeds" / "case-studies.md"
    if not seeds.exists():
        pytest.skip(f"the user's own file is not at {seeds}")
    bodies = "".join(p.read_text() for p in (ROOT / "corpus" / "case-studies").glob("*.md"))
    for line in seeds.read_text().splitlines()[1:]:
        assert line.removeprefix("#") in bodies


def test_second_run_embeds_nothing_and_publishes_nothing(world: World) -> None:
    world.write("a.md", "# A\n\nOne thing.\n")
    before = world.ingest()
    after = world.ingest()
    assert (before.new, before.embedded) == (1, 1)
    assert (after.unchanged, after.embedded, after.new, after.changed) == (1, 0, 0, 0)
    assert after.index_state == before.index_state


def test_touched_file_is_unchanged(world: World) -> None:
    path = world.write("a.md", "# A\n\nOne thing.\n")
    before = world.ingest()
    os.utime(path, (0, 0))
    assert world.ingest().index_state == before.index_state


def test_changed_file_embeds_only_the_chunks_that_changed(world: World) -> None:
    world.write("a.md", "# A\n\n## One\n\nFirst.\n\n## Two\n\nSecond.\n")
    world.write("b.md", "# B\n\nOther.\n")
    assert world.ingest().embedded == 3
    world.write("a.md", "# A\n\n## One\n\nFirst.\n\n## Two\n\nSecond, changed.\n")
    summary = world.ingest()
    assert (summary.changed, summary.unchanged, summary.embedded) == (1, 1, 1)


def test_moved_file_is_not_embedded_again(world: World) -> None:
    path = world.write("a.md", "# A\n\nOne thing.\n")
    world.ingest()
    path.rename(path.with_name("b.md"))
    summary = world.ingest()
    assert (summary.renamed, summary.new, summary.removed, summary.embedded) == (1, 0, 0, 0)


def test_deleted_document_is_never_cited(world: World) -> None:
    world.write("keep.md", "# Keep\n\nThe mesh uses mutual TLS.\n")
    gone = world.write("gone.md", "# Gone\n\nThe drill runs every quarter.\n")
    world.ingest()
    gone.unlink()
    assert world.ingest().removed == 1
    answer = world.ask("How often does the drill run?")
    assert all("quarter" not in citation.quote for citation in answer.citations)


def test_documents_from_elsewhere_stay(world: World) -> None:
    one = world.write("one/a.md", "# A\n\nOne.\n")
    world.write("two/b.md", "# B\n\nTwo.\n")
    world.ingest()
    summary = world.ingest(one.parent)
    assert (summary.documents, summary.removed) == (2, 0)


def test_unreadable_file_is_named_and_the_rest_goes_in(world: World) -> None:
    world.write("good.md", "# Good\n\nText.\n")
    (world.docs / "bad.pdf").write_bytes(b"%PDF garbage")
    (world.docs / "bad.md").write_bytes(b"\xff\xfe\xff")
    summary = world.ingest()
    assert summary.new == 1
    assert [failure.source for failure in summary.failed] == ["docs/bad.md", "docs/bad.pdf"]
    assert all("bad" in failure.reason for failure in summary.failed)


def test_file_that_became_unreadable_keeps_its_last_good_revision(world: World) -> None:
    path = world.write("a.md", "# Drill\n\nThe drill runs every quarter.\n")
    world.ingest()
    path.write_bytes(b"\xff")
    summary = world.ingest()
    assert (len(summary.failed), summary.removed, summary.documents) == (1, 0, 1)
    answer = world.ask("How often does the drill run?")
    assert answer.citations[0].stale


def test_access_that_can_not_be_read_is_refused_not_guessed(world: World) -> None:
    world.write("a.md", "---\naccess: {team: x}\n---\nSecret text.\n")
    summary = world.ingest()
    assert summary.documents == 0
    assert "access" in summary.failed[0].reason


def test_absent_path_and_empty_folder_are_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="nothing at"):
        world.ingest(world.docs / "absent")
    with pytest.raises(InvalidInput, match="no documents under"):
        world.ingest()


def test_hidden_files_links_and_other_types_are_passed_over(world: World) -> None:
    world.write("a.md", "# A\n\nText.\n")
    world.write(".secret.md", "# No\n\nText.\n")
    world.write(".git/x.md", "# No\n\nText.\n")
    world.write("b.xls", "x")
    (world.docs / "link.md").symlink_to("/etc/hostname")
    summary = world.ingest()
    assert (summary.documents, summary.skipped) == (1, 1)


contents = st.dictionaries(
    st.sampled_from(["a.md", "b.md", "c.txt", "d/e.md"]),
    st.sampled_from(["# One\n\nFirst text.\n", "# Two\n\nSecond text.\n", "plain words here\n"]),
    min_size=1,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=contents, after=contents)
def test_any_two_syncs_end_as_one_would(
    world: World, before: dict[str, str], after: dict[str, str]
) -> None:
    for files in (before, after):
        for old in world.docs.rglob("*.*"):
            old.unlink()
        for name, text in files.items():
            world.write(name, text)
        summary = world.ingest()
    assert summary.documents == len(after)
    assert world.ingest().embedded == 0
    reader = IndexReader(world.index)
    documents = reader.catalog.documents(reader.current().state.id)
    assert {d.source.removeprefix("docs/"): d.text for d in documents} == after


def a_document(name: str, text: str, **metadata: str) -> Document:
    return Document(
        id=DocumentId(name),
        title=name,
        text=text,
        source=name,
        kind="page",
        revision=Revision("1"),
        modified_at=None,
        ingested_at="2026-01-01T00:00:00+00:00",
        access=PUBLIC,
        metadata=metadata,
    )


def test_given_documents_are_taken_as_they_are_and_nothing_else_stays(world: World) -> None:
    first = [a_document("a", "---\ntitle: no front matter\n---\nAlpha."), a_document("b", "Beta.")]
    done = sync_documents(first, world.index, world.embedder, report=quiet)
    assert (done.new, done.documents) == (2, 2)
    again = sync_documents(first[:1], world.index, world.embedder, report=quiet)
    assert (again.unchanged, again.removed, again.embedded) == (1, 1, 0)
    assert world.assistant().document("a", READER).text == first[0].text


def test_a_project_in_the_metadata_is_part_of_what_is_embedded(world: World) -> None:
    plain, placed = (
        a_document("FAQ", "Reset it."),
        a_document("FAQ", "Reset it.", project="Argo CD"),
    )
    sync_documents([plain], world.index, world.embedder, report=quiet)
    assert sync_documents([placed], world.index, world.embedder, report=quiet).embedded == 1
    state = world.assistant().reader.current()
    (passage,) = world.assistant().reader.catalog.passages(state.segments[0].rows)
    assert passage.contextual_text == "Argo CD > FAQ\nReset it."


def test_no_documents_at_all_are_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="no documents"):
        sync_documents([], world.index, world.embedder, report=quiet)

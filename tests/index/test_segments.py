"""Segments: a change writes what is new, and what is searched is as if it had been built whole."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index import vectors
from index.errors import IndexUnavailable
from index.reader import IndexReader
from index.store import OpenState, catalog_path
from tests.conftest import READER, World

FACTS = ["quarter", "week", "month", "year", "day", "sprint"]


def fill(world: World, count: int = 12) -> None:
    for number in range(count):
        world.write(f"page{number}.md", f"# Page {number}\n\nDrill {number} runs every quarter.\n")
    world.ingest()


def state_of(world: World) -> OpenState:
    return IndexReader(world.index).current()


def test_a_change_to_one_page_leaves_the_large_segment_alone(world: World) -> None:
    fill(world)
    (before,) = state_of(world).segments
    large = {path: path.stat().st_mtime_ns for path in (world.index / "segments").glob("*/*")}
    world.write("page3.md", "# Page 3\n\nDrill 3 runs every week.\n")
    world.ingest()
    after = state_of(world).segments
    assert sorted(segment.chunk_count for segment in after) == [1, 11]
    assert before.name in {segment.name for segment in after}
    assert all(path.stat().st_mtime_ns == written for path, written in large.items())
    assert "every week" in world.ask("How often does drill 3 run?").answer


def test_a_reader_loads_only_what_it_does_not_hold(world: World) -> None:
    fill(world)
    reader = IndexReader(world.index)
    (held,) = reader.current().segments
    world.write("new.md", "# New\n\nThe freeze lasts a week.\n")
    world.ingest()
    assert any(segment.faiss is held.faiss for segment in reader.current().segments)


def test_an_edit_that_is_undone_comes_back(world: World) -> None:
    fill(world, 6)
    reader = IndexReader(world.index)
    for fact in ("week", "quarter"):
        world.write("page2.md", f"# Page 2\n\nDrill 2 runs every {fact}.\n")
        world.ingest()
        reader.current()
        assert f"every {fact}" in world.ask("How often does drill 2 run?").answer
    found = [segment.lexical.terms.frequency("drill") for segment in reader.current().segments]
    assert sum(found) == 6


def test_small_segments_are_merged_as_they_add_up(world: World) -> None:
    fill(world, 4)
    for number in range(30):
        world.write(f"more{number}.md", f"# More {number}\n\nText {number}.\n")
        world.ingest()
    segments = state_of(world).segments
    assert len(segments) <= 6
    assert sum(segment.chunk_count for segment in segments) == 34


def test_a_segment_of_which_much_is_gone_is_written_anew(world: World) -> None:
    fill(world, 10)
    for number in range(5):
        (world.docs / f"page{number}.md").unlink()
    world.ingest()
    (segment,) = state_of(world).segments
    assert (len(segment.rows), len(segment.gone)) == (5, 0)


edits = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([*FACTS, None])), min_size=1, max_size=12
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits)
def test_after_any_edits_answers_are_those_of_an_index_built_at_once(
    world: World, made: list[tuple[int, str | None]]
) -> None:
    for number, fact in made:
        path = world.docs / f"page{number}.md"
        if fact is None:
            path.unlink(missing_ok=True)
        else:
            world.write(path.name, f"# Page {number}\n\nDrill {number} runs every {fact}.\n")
        if any(world.docs.iterdir()):
            world.ingest()
    if not any(world.docs.iterdir()):
        return
    whole = World(world.base, world.models)
    whole.index = world.base / f"whole-{abs(hash(tuple(made)))}"
    whole.ingest()
    for query in ("drill", "every week", "page 3"):
        hits, expected = (
            {hit.document_id: hit.score for hit in each.assistant().search(query, 10, READER).hits}
            for each in (world, whole)
        )
        # Vectors embedded in other company differ by rounding.
        assert hits == pytest.approx(expected, abs=0.1)
    assert state_of(world).view_id(READER.may_read) == state_of(whole).view_id(READER.may_read)


@pytest.mark.parametrize("count", [40, vectors.EXACT_UP_TO + 1000])
def test_rows_that_are_gone_are_never_found(count: int) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((count, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = vectors.build(rows)
    gone = np.arange(0, count, 2, dtype=np.int64)
    found = vectors.search(index, rows[4], 10, gone)
    assert len(found) == 10
    assert all(row % 2 for row, _ in found)


def test_an_index_of_the_former_format_says_how_to_bring_it_up_to_date(tmp_path: Path) -> None:
    path = catalog_path(tmp_path)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 1")
        database.execute("CREATE TABLE documents (row INTEGER)")
    with pytest.raises(IndexUnavailable, match=r"format 1.*casebook ingest"):
        IndexReader(tmp_path).current()

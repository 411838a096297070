"""Derived files: verified against the catalog, built anew from it, written whole or not at all."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from index.catalog import Catalog, State
from index.errors import IndexUnavailable, StorageFailed
from index.files import read_files, segment_folder, sha256, write_file
from index.reader import IndexReader
from index.store import catalog_path, open_current, rebuild, verify_files
from tests.conftest import World


@pytest.fixture
def opened(world: World) -> tuple[World, Catalog, State]:
    for number in range(6):
        world.write(f"page{number}.md", f"# Page {number}\n\nDrill {number} runs each quarter.\n")
    world.ingest()
    catalog = Catalog(catalog_path(world.index))
    state = catalog.current_state()
    assert state
    return world, catalog, state


def files_of(world: World) -> list[Path]:
    return sorted((world.index / "segments").glob("*/*"))


def test_whole_files_are_verified_and_nothing_is_built(
    opened: tuple[World, Catalog, State],
) -> None:
    world, catalog, state = opened
    assert verify_files(world.index, catalog, state) == []
    assert rebuild(world.index, catalog, state) == []


def test_damaged_and_missing_files_are_named_and_built_as_they_were(
    opened: tuple[World, Catalog, State],
) -> None:
    world, catalog, state = opened
    whole = {path: path.read_bytes() for path in files_of(world)}
    lexical, vectors = whole
    lexical.write_bytes(whole[lexical][:-1])
    vectors.unlink()
    named = [str(vectors), str(lexical)]

    assert sorted(verify_files(world.index, catalog, state)) == sorted(named)
    assert sorted(rebuild(world.index, catalog, state)) == sorted(named)

    assert verify_files(world.index, catalog, state) == []
    assert {path: path.read_bytes() for path in files_of(world)} == whole


def test_files_built_anew_serve_every_state_that_uses_them(
    opened: tuple[World, Catalog, State],
) -> None:
    """A chunk that only a former state holds is kept, so that one may be made current again."""
    world, catalog, before = opened
    (world.docs / "page3.md").unlink()
    world.ingest()
    after = catalog.current_state()
    assert after
    assert after.segments == before.segments
    for path in files_of(world):
        path.write_bytes(b"")

    rebuild(world.index, catalog, after)

    assert open_current(world.index, catalog).segments[0].chunk_count == 5
    catalog.make_current(before.id)
    assert open_current(world.index, catalog).segments[0].chunk_count == 6
    assert world.ask("How often does drill 3 run?").citations[0].title == "Page 3"


def test_a_damaged_file_is_repaired_for_one_reader_and_whole_for_the_next(
    opened: tuple[World, Catalog, State],
) -> None:
    world, _, _ = opened
    for path in files_of(world):
        path.write_bytes(b"other")
    assert len(IndexReader(world.index).current().repaired) == 2
    assert IndexReader(world.index).current().repaired == ()


def test_what_a_repair_that_was_killed_left_is_gone_after_the_next_publish(
    opened: tuple[World, Catalog, State],
) -> None:
    world, _, _ = opened
    place = files_of(world)[0].parent
    (place / "vectors.faiss.0123abcd.tmp").write_bytes(b"half of")
    world.write("page7.md", "# Page 7\n\nDrill 7 runs each week.\n")
    world.ingest()
    assert {path.name for path in place.iterdir()} == {"vectors.faiss", "lexical.npz"}


def test_a_fault_names_its_cause_the_file_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(StorageFailed, match=r"folder.*File exists.*then try again"):
        write_file(tmp_path / "folder" / "a", b"data")


def test_only_what_was_written_is_read(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    digests = {"a": sha256(b"data"), "b": sha256(b"")}
    files, damaged = read_files(tmp_path, digests)
    assert files == {"a": b"data"}
    assert damaged == [str(tmp_path / "b")]


@contextmanager
def no_more_files() -> Iterator[None]:
    """As if the process had as many files open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_is_not_taken_for_damaged_where_no_more_can_be_opened(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"data")
    refused = pytest.raises(StorageFailed, match=r"/a: Too many open files: .*ulimit -n")
    with no_more_files(), refused:
        read_files(tmp_path, {"a": sha256(b"data")})


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", "", "a/b", "a\0", "é", "a" * 65])
def test_no_name_of_a_segment_leads_out_of_the_index(tmp_path: Path, name: str) -> None:
    with pytest.raises(IndexUnavailable, match="which is no name"):
        segment_folder(tmp_path, name)
    assert segment_folder(tmp_path, "0123abcd").parent == tmp_path / "segments"

"""A publish that is cut off, or whose disk fails, at any step: the old state or the new one, by name."""

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from index.catalog import Catalog
from index.store import catalog_path
from tests.index.faults.disk import (
    Fault,
    Prepared,
    Publisher,
    Step,
    golden,
    open_reader,
    prepare,
    publisher,
)

CHANGES = {"create", "write", "sync", "cut", "make", "rename", "remove"}
"""Steps after which the disk is not what it was: where it matters when a process dies."""

MET_BY = {
    Fault.FULL: {"create", "write", "cut", "make"},
    Fault.IO_ERROR: CHANGES | {"open", "read"},
    Fault.TOO_MANY_FILES: {"open", "create"},
    Fault.SHORT_WRITE: {"write"},
    Fault.FAILED_SYNC: {"sync"},
    Fault.READ_ONLY: CHANGES - {"sync"},
}
"""The steps that can meet a fault."""

CAUSES = {
    Fault.FULL: "No space left on device: free space",
    Fault.IO_ERROR: "(Input/output error|it can't be (opened|written)): .*check the disk",
    Fault.TOO_MANY_FILES: "Too many open files: .*ulimit -n",
    Fault.SHORT_WRITE: "No space left on device: free space",
    Fault.FAILED_SYNC: "Input/output error: check the disk",
    Fault.READ_ONLY: "Read-only file system: mount it",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    with publisher(tmp_path_factory.mktemp("disk")) as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where indexes are published: in memory where that can be, as the faults are ours and its own
    syncs would only be slow.
    """
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place) / "run"


def steps_of(disk: Publisher, prepared: Prepared, folder: Path) -> list[Step]:
    """Every step of a publish that nothing disturbs."""
    assert "published" in disk.publish(prepared, prepared.copy(folder))
    return disk.steps()


def commit_of(steps: list[Step]) -> int:
    """The step that completes the new state in the catalog's log; the next one makes it last."""
    written = max(s.number for s in steps if s.does == "rename" and "/segments/" in s.path)
    log = [s.number for s in steps if s.does == "sync" and s.path.endswith("-wal")]
    return [number for number in log if number > written][1] - 1  # the first is of the log's header


def leftovers(folder: Path) -> list[str]:
    """What lies in an index folder and belongs to no state."""
    used = used_segments(folder)
    wanted = {"catalog.sqlite", "catalog.sqlite-witness", "write.lock", "segments"}
    for name in used:
        wanted |= {f"segments/{name}", *(f"segments/{name}/{file}" for file in FILES)}
    return sorted({str(path.relative_to(folder)) for path in folder.rglob("*")} ^ wanted)


def used_segments(folder: Path) -> set[str]:
    """The segments of all states."""
    with closing(Catalog(catalog_path(folder))) as catalog:
        return {name for state in catalog.states() for name in state.segments}


FILES = ("vectors.faiss", "lexical.npz")


def mends(prepared: Prepared, folder: Path) -> list[Any]:
    """What is wrong after one more publish on a disk that works: nothing."""
    prepared.publish(folder)
    with open_reader(folder) as reader:
        wrong: list[Any] = [] if golden(reader) == prepared.new else ["other answers"]
        wrong += reader.current().repaired
    return wrong + leftovers(folder)


def test_files_last_before_the_catalog_names_them(
    disk: Publisher, prepared: Prepared, folder: Path
) -> None:
    """Each file is synced before it gets its name, each folder after, and then the catalog commits."""
    steps = [step for step in steps_of(disk, prepared, folder) if step.does in CHANGES]
    commit = commit_of(steps)
    renames = [s for s in steps if s.does == "rename" and "/segments/" in s.path]
    assert len(renames) == 4
    for step in renames:
        assert step.path.endswith(".tmp")
        synced = [each.number for each in steps if (each.does, each.path) == ("sync", step.path)]
        assert max(synced) < step.number
        for place in (Path(step.path).parent, folder / "segments", folder):
            named = [s.number for s in steps if (s.does, s.path) == ("sync", str(place))]
            assert any(step.number < number < commit for number in named), place


def test_what_was_cut_off_before_makes_room_first(
    disk: Publisher, prepared: Prepared, folder: Path
) -> None:
    """It may be what fills the disk."""
    cut_off = prepared.copy(folder) / "segments" / "0123456789abcdef"
    cut_off.mkdir()
    (cut_off / "vectors.faiss.0123abcd.tmp").write_bytes(b"half of")
    disk.publish(prepared, folder)
    removed = [s.number for s in disk.steps() if (s.does, s.path) == ("remove", str(cut_off))]
    written = [s.number for s in disk.steps() if s.does == "create" and "/segments/" in s.path]
    assert removed
    assert removed[0] < written[0]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER])
def test_killed_at_any_step_of_a_publish_leaves_the_old_state_or_the_new(
    disk: Publisher, prepared: Prepared, folder: Path, fault: Fault
) -> None:
    steps = [s for s in steps_of(disk, prepared, folder) if s.does in CHANGES]
    commit, wrong, seen = commit_of(steps), [], set()
    for step in steps:
        told = disk.publish(prepared, prepared.copy(folder), fault, step.number)
        with open_reader(folder) as reader:
            found = golden(reader)
            repaired = reader.current().repaired
        expected = [prepared.old] if step.number < commit else [prepared.old, prepared.new]
        if step.number > commit + 1:
            expected = [prepared.new]
        seen.add(found)
        after = mends(prepared, folder)
        if told.get("signal") != 9 or found not in expected or repaired or after:
            wrong.append((step, told, expected.count(found), repaired, after))
    print(f"\n{fault.name}: {len(steps)} steps")
    assert not wrong, "\n".join(map(str, wrong))
    assert seen == {prepared.old, prepared.new}


@pytest.mark.slow
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "alone"])
@pytest.mark.parametrize("fault", list(MET_BY))
def test_a_failing_disk_at_any_step_of_a_publish_is_named_and_the_old_state_served(
    disk: Publisher, prepared: Prepared, folder: Path, fault: Fault, watched: bool
) -> None:
    """Watched: a reader is open. Alone: the publisher is the last to close the catalog, and so writes
    its log back, which is all that differs.
    """
    steps = steps_of(disk, prepared, folder)
    commit = commit_of(steps)
    met = [step for step in steps if step.does in MET_BY[fault]]
    if not watched:
        met = [step for step in met if step.number > commit]
    wrong, failed = [], 0
    for step in met:
        prepared.copy(folder)
        found = faulty(disk, prepared, folder, fault, step, watched)
        failed += "error" in found["told"]
        complaints = complaints_of(prepared, found, fault, step.number < commit, folder)
        complaints += mends(prepared, folder)
        if complaints:
            wrong.append((step, found["told"], complaints))
    print(f"\n{fault.name}: {len(met)} steps, {failed} failed publishes")
    assert not wrong, "\n".join(map(str, wrong))
    assert failed or not watched


def faulty(
    disk: Publisher, prepared: Prepared, folder: Path, fault: Fault, step: Step, watched: bool
) -> dict[str, Any]:
    """What a publish over a failing disk says, and what readers then see."""
    with open_reader(folder) as held:
        if watched:
            assert golden(held) == prepared.old
        told = disk.publish(prepared, folder, fault, step.number)
        with open_reader(folder) as fresh:
            return {
                "told": told,
                "fresh": golden(fresh),
                "repaired": fresh.current().repaired,
                "held": golden(held),
            }


def complaints_of(
    prepared: Prepared, found: dict[str, Any], fault: Fault, before_commit: bool, folder: Path
) -> list[str]:
    """What a publish over a failing disk did wrong."""
    told = found["told"]
    wrong = []
    if "published" in told:
        expected = [prepared.new]
    elif told.get("error") in {"StorageFailed", "IndexUnavailable"}:
        expected = [prepared.old] if before_commit else [prepared.old, prepared.new]
        if not re.search(CAUSES[fault], told["message"]) or str(folder) not in told["message"]:
            wrong.append("the message does not name the cause, the file and the remedy")
        there = {path.name for path in (folder / "segments").iterdir()}
        if fault is Fault.FULL and there != used_segments(folder):
            wrong.append("what was written in vain takes up room")
    else:
        return ["broke"]
    if found["fresh"] not in expected or found["held"] != found["fresh"]:
        wrong.append("a reader sees another state")
    if found["repaired"]:
        wrong.append(f"repaired {found['repaired']}")
    return wrong

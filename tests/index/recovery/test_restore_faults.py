"""A restore or a rollback that is killed, or whose disk fails, at any step: the former index or the other."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from index.recovery.rollback import plan_rollback, rollback
from tests.conftest import ROOT
from tests.index.faults.disk import Fault, compile_shim
from tests.index.recovery.kept import Golden, Kept, bring_back, golden, open_reader

HERE = Path(__file__).parent
SEED = 6
KILLS = 20
FAULTS = 6
"""Of each kind, at steps drawn by the seed."""

CAUSES = {
    Fault.FULL: "No space left on device",
    Fault.IO_ERROR: "Input/output error",
    Fault.TOO_MANY_FILES: "Too many open files",
    Fault.SHORT_WRITE: "No space left on device",
    Fault.FAILED_SYNC: "Input/output error",
    Fault.READ_ONLY: "Read-only file system",
}


CHANGES = {"create", "write", "sync", "cut", "make", "rename", "remove"}

MET_BY = {
    Fault.FULL: {"create", "write", "cut", "make"},
    Fault.IO_ERROR: CHANGES | {"open", "read"},
    Fault.TOO_MANY_FILES: {"open", "create"},
    Fault.SHORT_WRITE: {"write"},
    Fault.FAILED_SYNC: {"sync"},
    Fault.READ_ONLY: CHANGES - {"sync"},
}
"""The steps that can meet a fault."""


@dataclass(frozen=True)
class Restorer:
    """The process that restores over the failing disk."""

    process: "subprocess.Popen[str]"
    steps: Path
    store: Path

    def run(
        self, does: str, folder: Path, fault: Fault = Fault.NONE, at: int = 0
    ) -> dict[str, Any]:
        """What became of it."""
        order = {
            "does": does,
            "folder": str(folder),
            "store": str(self.store),
            "kind": fault,
            "at": at,
            "steps": str(self.steps),
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def did(self) -> list[str]:
        """What each step of the last run did."""
        return [line.split(" ")[1] for line in self.steps.read_text().splitlines()]


@pytest.fixture(scope="module")
def restorer(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restorer]:
    base = tmp_path_factory.mktemp("restorer")
    shim = compile_shim(base)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "restorer.py")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": str(shim),
            "OMP_NUM_THREADS": "1",  # a fork has none of its parent's threads
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Restorer(process, base / "steps", kept.store)
    finally:
        process.communicate()


@pytest.fixture(params=["plain", "restored"])
def base(request: pytest.FixtureRequest, kept: Kept, tmp_path: Path) -> Path:
    """An index as ingestion left it, and one that a restore and a rollback have been through."""
    folder = kept.copy(tmp_path / "base")
    if request.param == "restored":
        bring_back(folder, kept.storage, kept.manifest)
        rollback(folder, plan_rollback(folder))
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be, as the faults are ours and its own syncs would only be slow."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place) / "run"


def copy(base: Path, to: Path) -> Path:
    subprocess.run(["rm", "-rf", to], check=True)
    subprocess.run(["cp", "-a", base, to], check=True)
    return to


def test_killed_at_random_steps_of_a_restore_leaves_one_index_or_the_other(
    restorer: Restorer, kept: Kept, base: Path, folder: Path
) -> None:
    """A reader that was open all along sees the same as one that opens; the next restore is whole."""
    with open_reader(copy(base, folder)) as held:
        assert golden(held, kept.queries) == kept.former
        assert restorer.run("restore", folder) == {"signal": None, "done": True}
    count, wrong, seen = len(restorer.did()), [], set()
    for step in sorted(random.Random(SEED).sample(range(1, count + 1), KILLS)):
        copy(base, folder)
        with open_reader(folder) as held:
            assert golden(held, kept.queries) == kept.former
            answer = restorer.run("restore", folder, Fault.KILLED_BEFORE, step)
            found = kept.answers(folder)
            if (
                answer["signal"] != 9
                or found not in (kept.former, kept.kept)
                or golden(held, kept.queries) != found
            ):
                wrong.append((step, answer, found))
            seen.add(found)
        if found == kept.former:
            bring_back(folder, kept.storage, kept.manifest)
            if kept.answers(folder) != kept.kept or len(list((folder / "catalogs").iterdir())) != 2:
                wrong.append((step, "not mended"))
    print(f"\n{KILLS} of {count} steps, {len(seen)} outcomes")
    assert wrong == []
    assert kept.former in seen


@pytest.mark.parametrize("fault", list(CAUSES))
def test_a_failing_disk_leaves_the_former_index_and_is_named(
    restorer: Restorer, kept: Kept, base: Path, folder: Path, fault: Fault
) -> None:
    assert restorer.run("restore", copy(base, folder)) == {"signal": None, "done": True}
    met = [n for n, does in enumerate(restorer.did(), 1) if does in MET_BY[fault]]
    wrong, failed = [], 0
    for step in sorted(random.Random(SEED + fault).sample(met, FAULTS)):
        copy(base, folder)
        answer = restorer.run("restore", folder, fault, step)
        found = kept.answers(folder)
        expected: list[Golden] = [kept.kept] if "done" in answer else [kept.former]
        failed += "error" in answer
        named = "done" in answer or (
            answer.get("error") in {"StorageFailed", "IndexUnavailable", "SnapshotDamaged"}
            and (CAUSES[fault] in answer["message"] or "not what was written" in answer["message"])
        )
        if found not in expected or not named:
            wrong.append((step, answer, found == kept.former))
    print(f"\n{fault.name}: {FAULTS} of {len(met)} steps, {failed} failed")
    assert wrong == []


def test_killed_at_any_step_of_a_rollback_leaves_one_index_or_the_other(
    restorer: Restorer, kept: Kept, folder: Path, tmp_path: Path
) -> None:
    base = kept.copy(tmp_path / "base")
    bring_back(base, kept.storage, kept.manifest)
    assert restorer.run("rollback", copy(base, folder)) == {"signal": None, "done": True}
    assert kept.answers(folder) == kept.former
    wrong, seen = [], set()
    for step in range(1, len(restorer.did()) + 1, 4):
        answer = restorer.run("rollback", copy(base, folder), Fault.KILLED_BEFORE, step)
        found = kept.answers(folder)
        seen.add(found)
        if answer["signal"] != 9 or found not in (kept.former, kept.kept):
            wrong.append((step, answer))
    assert wrong == []
    assert len(seen) == 2

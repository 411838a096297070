"""An index with a snapshot of the state before, and the processes that a restore meets."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.reader import IndexReader
from index.recovery.manifest import Manifest
from index.recovery.restore import plan_restore, restore
from index.recovery.snapshot import plan_snapshot, take_snapshot
from index.recovery.storage import FolderStorage, Storage
from index.retriever import retrieve
from tests.conftest import World

QUESTIONS = ("How often does drill 3 run?", "Who reads the plan?", "freeze", "drill 7 week")

Golden = tuple[Any, ...]
"""All that an index answers: what it holds, and the passages and scores for each golden question."""

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def quiet(stage: str, done: int, total: int) -> None:
    """A report that shows nothing."""


def golden(reader: IndexReader, queries: Sequence[NDArray[np.float32]]) -> Golden:
    """What a reader answers to the golden questions, of vectors that were made beforehand."""
    state = reader.current()
    held = tuple((each.id, each.digest) for each in state.documents)
    found = tuple(
        (each.passage.text, round(each.scores["fused"], 5))
        for question, vector in zip(QUESTIONS, queries, strict=True)
        for each in retrieve(question, vector, state.segments, reader.catalog, 5)
    )
    return held, found


@contextmanager
def open_reader(folder: Path) -> Iterator[IndexReader]:
    """A new reader, closed at the end."""
    reader = IndexReader(folder)
    try:
        yield reader
    finally:
        reader.close()


def snapshot(folder: Path, storage: Storage, *, keep: int = 7, now: datetime = NOON) -> Manifest:
    """Take one, as the command does."""
    return take_snapshot(folder, storage, plan_snapshot(folder, storage, keep, now), quiet)


def bring_back(folder: Path, storage: Storage, manifest: Manifest) -> None:
    """Restore it, as the command does."""
    restore(folder, storage, manifest, plan_restore(folder, storage, manifest), quiet)


@dataclass(frozen=True)
class Kept:
    """`folder` answers `former`; the snapshot in `store` holds the state before, which answers `kept`."""

    folder: Path
    store: Path
    manifest: Manifest
    queries: Sequence[NDArray[np.float32]]
    former: Golden
    kept: Golden

    @property
    def storage(self) -> FolderStorage:
        return FolderStorage(self.store)

    def copy(self, to: Path) -> Path:
        """A fresh copy of the index, over what was there."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to, symlinks=True)
        return to

    def answers(self, folder: Path) -> Golden:
        """What an index answers now, to somebody who opens it."""
        with open_reader(folder) as reader:
            return golden(reader, self.queries)


def make_kept(world: World) -> Kept:
    """Pages, a snapshot, and then one page changed, one gone and one new."""
    for number in range(12):
        world.write(f"page{number}.md", f"# Page {number}\n\nDrill {number} runs each quarter.\n")
    world.write("plan.md", "---\naccess: [platform]\n---\n# Plan\n\nThe platform team reads it.\n")
    world.write("freeze.md", "# Freeze\n\nThe freeze begins in March.\n")
    world.ingest()
    store = world.base / "store"
    manifest = snapshot(world.index, FolderStorage(store))
    queries = list(world.embedder.embed(list(QUESTIONS)))
    with open_reader(world.index) as reader:
        kept = golden(reader, queries)
    (world.docs / "page5.md").unlink()
    world.write("page3.md", "# Page 3\n\nDrill 3 runs each week.\n")
    world.write("new.md", "# New\n\nThe freeze lasts a week.\n")
    world.ingest()
    with open_reader(world.index) as reader:
        former = golden(reader, queries)
    assert former != kept
    return Kept(world.index, store, manifest, queries, former, kept)


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file, folder and link with its time and what it holds."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        holds = "folder"
        if path.is_symlink():
            holds = os.readlink(path)
        elif path.is_file():
            holds = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (status.st_mtime_ns, holds)
    return found


def flip(path: Path, at: float = 0.5) -> None:
    """Turn one bit over."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


@contextmanager
def s3_server() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The address and the process of a real S3 server with the bucket `backups`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(port)
        made = urllib.request.Request(f"{address}/backups", method="PUT")
        urllib.request.urlopen(made).close()
        yield address, process
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    ends = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < ends, "the S3 server did not start"
            time.sleep(0.05)


AN_HOUR = timedelta(hours=1)

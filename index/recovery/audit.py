"""The audit trail: one line of JSON for each thing done to an index as a whole, whatever came of it."""

import getpass
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from index.catalog import utc_now
from index.errors import StorageFailed
from index.files import on_disk
from index.recovery.disk import sync_folder

log = logging.getLogger("casebook.recovery")

DONE, FAILED, PLANNED = "done", "failed", "planned"
"""Outcomes; a dry run ends as planned."""


@dataclass
class Entry:
    """One line of the trail; what is learnt while the action runs is filled in then.

    `time` is when it began, in UTC; `who` the user of the operating system; `plan` what was shown
    before; `seconds` how long it took.
    """

    time: str
    who: str
    action: str
    dry_run: bool
    outcome: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    state_before: str | None = None
    state_after: str | None = None
    snapshot: str | None = None
    seconds: float = 0.0
    error: str | None = None


def audit_path(folder: Path) -> Path:
    """Where the trail of an index folder lies: what replaces the catalog leaves it alone."""
    return folder / "audit.jsonl"


@contextmanager
def audited(
    folder: Path,
    action: str,
    *,
    dry_run: bool = False,
    clock: Callable[[], datetime] = utc_now,
) -> Iterator[Entry]:
    """Note what happens inside, also when it fails or is interrupted; nothing where there is no such folder.

    Raises `StorageFailed` where what was done can't be noted.
    """
    began = time.perf_counter()
    outcome = PLANNED if dry_run else DONE
    entry = Entry(clock().isoformat(timespec="seconds"), current_user(), action, dry_run, outcome)
    try:
        yield entry
    except BaseException as error:  # an interruption is noted as well
        entry.outcome, entry.error = FAILED, str(error) or type(error).__name__
        entry.seconds = round(time.perf_counter() - began, 3)
        try:
            append(audit_path(folder), entry)
        except StorageFailed as failed:  # the first error says more
            log.error("the failure is not in the audit trail: %s", failed)
        raise
    entry.seconds = round(time.perf_counter() - began, 3)
    append(audit_path(folder), entry)


def append(path: Path, entry: Entry) -> None:
    """Add one line and sync it; raises `StorageFailed`. A name that was mistyped makes no folder."""
    if not path.parent.is_dir():
        return
    line = json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"
    with on_disk(path):
        new = not path.exists()
        with path.open("a+b") as file:
            if not new and not _ends_whole(path):
                line = b"\n" + line  # the line before was cut off
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def _ends_whole(path: Path) -> bool:
    data = path.read_bytes()
    return not data or data.endswith(b"\n")


def entries(path: Path) -> list[Mapping[str, Any]]:
    """The lines of the trail, oldest first; what was cut off is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [each for each in found if isinstance(each, dict)]


def snapshot_age(path: Path, now: datetime) -> float | None:
    """Seconds since the last snapshot that was taken whole, by the trail at `path`; None before the first."""
    for entry in reversed(entries(path)):
        if (entry.get("action"), entry.get("outcome")) == ("snapshot", DONE):
            return (now - datetime.fromisoformat(entry["time"])).total_seconds()
    return None


def current_user() -> str:
    """The user of the operating system, by number where it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

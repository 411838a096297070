"""`casebook index` on a terminal: plans, how far a thing has come, and what there is."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from index.recovery.inventory import Listed
from index.recovery.repair import RepairPlan
from index.recovery.restore import RestorePlan
from index.recovery.rollback import RollbackPlan
from index.recovery.snapshot import SnapshotPlan
from index.recovery.verify import Report, Verified

SECONDS_BETWEEN_LINES = 5.0
SHOWN = 10
"""Documents, files and findings that are named before the rest is only counted; JSON names all."""

UNITS = {"embedding": "vectors"}
"""What is counted in a stage, where it is not bytes."""


def size(count: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def age(seconds: float) -> str:
    """Seconds for people."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


# --- plans ------------------------------------------------------------------------------------


def snapshot_plan(plan: SnapshotPlan) -> list[str]:
    """What a snapshot will do, in lines."""
    return [
        f"Plan: snapshot {plan.id}",
        f"  of       state {plan.state}, {plan.documents:,} documents, {plan.chunks:,} chunks",
        f"  read     {size(plan.bytes_read)}; ingestion and answers go on meanwhile",
        f"  write    to {plan.to}, at most as much, read back and compared",
        *_some(f"  delete   as too old ({plan.keep} are kept)", plan.drops),
        *_some("  delete   as incomplete", plan.sweeps),
    ]


def restore_plan(plan: RestorePlan, made_at: datetime, now: datetime) -> list[str]:
    """What a restore will do, in lines."""
    before = f"state {plan.state_before}, {plan.documents_before:,} documents"
    if plan.state_before is None:
        before = plan.trouble_before or "no index"
    made = f"{made_at:%Y-%m-%d %H:%M} UTC, {age((now - made_at).total_seconds())} ago"
    return [
        f"Plan: restore snapshot {plan.snapshot}, made {made}",
        f"  now      {before}",
        f"  then     state {plan.state_after}, {plan.documents_after:,} documents, "
        f"{plan.chunks_after:,} chunks",
        f"  read     {size(plan.bytes_read)} from {plan.source}",
        f"  write    about {size(plan.bytes_needed)} to {plan.target}, {size(plan.bytes_free)} free",
        *(
            [f"  keep     {plan.sets_aside}, for `casebook index rollback`"]
            if plan.sets_aside
            else []
        ),
        *_some("  remove   what earlier restores left", plan.removes),
        "  after    the next ingestion brings what the sources say by then",
    ]


def elsewhere_plan(plan: RestorePlan) -> list[str]:
    """What a restore into another folder will do, in lines."""
    return [
        f"Plan: restore snapshot {plan.snapshot} for a test; what serves is left alone",
        f"  read     {size(plan.bytes_read)} from {plan.source}",
        f"  write    about {size(plan.bytes_needed)} to {plan.target}, {size(plan.bytes_free)} free",
        f"  then     verify state {plan.state_after}, {plan.documents_after:,} documents",
    ]


def rollback_plan(plan: RollbackPlan) -> list[str]:
    """What a rollback will do, in lines."""
    what = "the state before" if plan.to == "state" else "the index that the restore set aside"
    return [
        f"Plan: go back to {what}",
        f"  now      state {plan.state_before or 'unreadable'}",
        f"  then     state {plan.state_after} of {plan.made_at[:16].replace('T', ' ')} UTC",
        *_some("  come     documents", plan.comes),
        *_some("  go       documents", plan.goes),
        *_some("  change   documents", plan.changes),
        *_some("  build    files again", plan.builds),
        "  after    the next ingestion brings what the sources say by then",
    ]


def repair_plan(plan: RepairPlan) -> list[str]:
    """What a repair will do, in lines."""
    lines = [f"Plan: repair state {plan.state} at {plan.target}"]
    if not (plan.builds or plan.embeds or plan.refuses):
        return [*lines, "  nothing  everything is as it was written"]
    return [
        *lines,
        *_some("  build    files again from the catalog", plan.builds),
        *_some(f"  embed    vectors again with {plan.model}", plan.embeds),
        *_some("  refuse   what only its source or a snapshot has", plan.refuses),
    ]


def _some(what: str, names: Sequence[str]) -> list[str]:
    """How many there are, and the first of them by name; nothing where there are none."""
    if not names:
        return []
    more = [f"           … and {len(names) - SHOWN:,} more"] if len(names) > SHOWN else []
    return [f"{what}: {len(names):,}", *(f"           {name}" for name in names[:SHOWN]), *more]


# --- what there is ----------------------------------------------------------------------------


def listing(found: Sequence[Listed], where: str, now: datetime) -> list[str]:
    """The snapshots in a store, a line each."""
    if not found:
        return [f"no snapshots in {where}: `casebook index snapshot` takes one"]
    return [_line(each, now) for each in found]


def _line(each: Listed, now: datetime) -> str:
    told = f"{each.id}  {age((now - each.made_at).total_seconds())} ago"
    if each.manifest is None:
        return f"{told}  can't be restored: {each.trouble}"
    held = f"{each.manifest.documents:,} documents, {each.manifest.chunks:,} chunks"
    return f"{told}  state {each.manifest.state}, {held}, {size(each.stored_size)}"


def verified(found: Verified) -> list[str]:
    """What a check found, in lines."""
    if found.findings:
        return [
            f"{found.what}: damaged",
            *(f"  {finding}" for finding in found.findings[:SHOWN]),
            *(
                [f"  … and {len(found.findings) - SHOWN:,} more"]
                if len(found.findings) > SHOWN
                else []
            ),
        ]
    held = f"state {found.state}, {found.documents:,} documents, {found.chunks:,} chunks"
    return [f"{found.what}: whole ({held})"]


# --- how far it is ----------------------------------------------------------------------------


@contextmanager
def track_stages(stream: TextIO) -> Iterator[Report]:
    """A report function that shows the stages of an action on a stream: a bar on a terminal, else lines."""
    if not stream.isatty():
        yield _lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>10}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, told="")
            bars.update(tasks[stage], completed=done, told=_told(stage, done, total))

        yield report


def _lines(stream: TextIO) -> Report:
    last: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        clock = time.monotonic()
        if done != total and clock - last.get(stage, 0) < SECONDS_BETWEEN_LINES:
            return
        last[stage] = clock
        print(f"{stage}: {_told(stage, done, total)}", file=stream, flush=True)

    return report


def _told(stage: str, done: int, total: int) -> str:
    if total == 1:
        return "done" if done else "…"
    if stage in UNITS:
        return f"{done:,} of {total:,} {UNITS[stage]}"
    return f"{size(done)} of {size(total)}"

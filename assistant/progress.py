"""Progress of an ingestion: a bar on a terminal, plain lines elsewhere, and the summary."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ingest.sync import Progress, Report, Summary

UNITS = {
    "reading": "documents",
    "embedding": "chunks",
    "publishing": "state",
    "asking": "questions",
}
SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def track(stream: TextIO) -> Iterator[Report]:
    """A report function that shows progress on a stream."""
    if stream.isatty():
        with _bars(stream) as report:
            yield report
    else:
        yield _lines(stream)


@contextmanager
def _bars(stream: TextIO) -> Iterator[Report]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description:>10}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(file=stream)) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def report(now: Progress) -> None:
            if now.total == 0:
                return
            if now.stage not in tasks:
                tasks[now.stage] = bars.add_task(now.stage, total=now.total, rate="")
            speed = bars.tasks[tasks[now.stage]].speed
            rate = f"{speed:,.0f} {UNITS[now.stage]}/s" if speed else ""
            bars.update(tasks[now.stage], completed=now.done, rate=rate)

        yield report


def _lines(stream: TextIO) -> Report:
    last: dict[str, float] = {}

    def report(now: Progress) -> None:
        clock = time.monotonic()
        ended = now.done == now.total
        if now.total == 0 or (not ended and clock - last.get(now.stage, 0) < SECONDS_BETWEEN_LINES):
            return
        last[now.stage] = clock
        print(f"{now.stage}: {now.done}/{now.total} {UNITS[now.stage]}", file=stream, flush=True)

    return report


def summary_lines(summary: Summary) -> list[str]:
    """What an ingestion did, for people."""
    lines = [
        f"documents: {summary.documents} ({summary.new} new, {summary.changed} changed, "
        f"{summary.renamed} renamed, {summary.unchanged} unchanged, {summary.removed} removed, "
        f"{len(summary.failed)} failed)",
        f"chunks: {summary.chunks} ({summary.tokens:,} tokens), {summary.embedded} embedded",
        f"seconds: {summary.seconds:.1f}",
        f"index state: {summary.index_state}",
    ]
    if summary.unlabelled:
        lines.append(
            f"warning: {summary.unlabelled} documents carry no access label, so only administrators "
            "read them: give their source `access`"
        )
    if summary.skipped:
        lines.append(f"passed over: {summary.skipped} files of other types")
    if summary.dropped:
        dropped = ", ".join(f"{count} {what}" for what, count in sorted(summary.dropped.items()))
        lines.append(f"left out by the parsers: {dropped}")
    lines += [f"failed: {failure.reason}" for failure in summary.failed]
    return lines

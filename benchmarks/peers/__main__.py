"""Casebook beside its peers: `python -m benchmarks.peers --pages 700` writes docs/benchmarks.md.

Makes one environment a peer the first time (some minutes and 1.6 GB each), then runs one system
after another; an hour and more for 700 pages on two cores. Raw results stay in build/peers.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.dataset import SOURCE, Dataset, infra_faq
from benchmarks.peers.report import write_report
from benchmarks.peers.runs import Run, kept_run, log_of, run_system
from benchmarks.peers.systems import SYSTEMS, System
from benchmarks.questions import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, report, and say by the exit code whether every system ran."""
    options = _parser().parse_args(arguments)
    if not SOURCE.exists():
        print(f"this benchmark needs the evaluation data at {SOURCE}", file=sys.stderr)
        return 1
    dataset = infra_faq(options.pages)
    chosen = [system for system in SYSTEMS if not options.only or system.name in options.only]
    failed = [system.name for system in chosen if not _ran(system, dataset)]
    kept = [kept_run(system, len(dataset.pages)) for system in SYSTEMS]
    runs = [run for run in kept if run is not None and run.system not in failed]
    if runs:
        write_report(runs, dataset, options.report)
        print(f"==> Wrote {options.report}", file=sys.stderr)
    return 1 if failed else 0


def _ran(system: System, dataset: Dataset) -> bool:
    """Run one system; a failure is reported and leaves the others their turn."""
    print(f"==> {system.name}: {len(dataset.pages)} pages", file=sys.stderr)
    try:
        run = run_system(system, dataset)
    except subprocess.CalledProcessError as error:
        print(
            f"    failed with exit status {error.returncode}: see {log_of(system)}", file=sys.stderr
        )
        return False
    print(f"    {_summary(run)}", file=sys.stderr)
    return True


def _summary(run: Run) -> str:
    measured = run.measured
    mean = sum(measured.latencies_ms) / len(measured.latencies_ms)
    return (
        f"{measured.chunks:,} chunks in {measured.ingest_seconds:.1f} s, "
        f"{mean:.1f} ms a question, {measured.peak_rss / 2**20:,.0f} MiB at most"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--pages", type=_count, required=True, help="size of the corpus")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[system.name for system in SYSTEMS],
        metavar="NAME",
        help="systems to run; the rows of the others stay as last measured with as many pages",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=ROOT / "docs" / "benchmarks.md",
        help="page to write the tables into (default: docs/benchmarks.md)",
    )
    return parser


def _count(given: str) -> int:
    count = int(given)
    if count < 1:
        raise argparse.ArgumentTypeError("at least one page is needed")
    return count


if __name__ == "__main__":
    sys.exit(main())

"""The report: tables in markdown, put between two markers of a page that people write."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers.dataset import Dataset
from benchmarks.peers.metrics import Estimate, evaluate
from benchmarks.peers.runs import HITS, Run
from benchmarks.peers.systems import SYSTEMS, System

BEGIN = "<!-- benchmarks.peers: begin; written by `python -m benchmarks.peers` -->"
END = "<!-- benchmarks.peers: end -->"

NEW_PAGE = "# Benchmarks\n\n## Beside other libraries\n\n"

BY_NAME = {system.name: system for system in SYSTEMS}


def write_report(runs: Sequence[Run], dataset: Dataset, page: Path) -> None:
    """Put the tables between the markers of `page`, which is made or extended where it has none."""
    text = page.read_text(encoding="utf-8") if page.exists() else NEW_PAGE
    before, found, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if found else "\n"
    block = "\n\n".join([BEGIN, *sections(runs, dataset), END])
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before}{block}{after}", encoding="utf-8")


def sections(runs: Sequence[Run], dataset: Dataset) -> list[str]:
    """What the measurement was, how good the answers are, what they cost, who took part."""
    return [_setting(runs, dataset), _quality(runs, dataset), _cost(runs), _systems(runs)]


def _setting(runs: Sequence[Run], dataset: Dataset) -> str:
    machines = sorted(
        {
            f"{run.machine.cpu}, {run.machine.cores} cores, {run.machine.system}, "
            f"Python {run.machine.python}"
            for run in runs
        }
    )
    return (
        f"`python -m benchmarks.peers --pages {len(dataset.pages)}`: {len(dataset.pages):,} pages "
        f"of infra-faq ({dataset.characters / 1e6:.2f} million characters), "
        f"{len(dataset.queries)} questions of its dev part, {len(dataset.gold)} with a known "
        f"passage; {HITS} chunks a question; one process a system, one after another, on "
        f"{'; '.join(machines)}. All embed with the same all-MiniLM-L6-v2 weights on the CPU."
    )


def _quality(runs: Sequence[Run], dataset: Dataset) -> str:
    estimates = [evaluate(run.measured.hits, dataset) for run in runs]
    names = list(estimates[0])
    rows = [
        [BY_NAME[run.system].label, *(_estimate(values[name]) for name in names)]
        for run, values in zip(runs, estimates, strict=True)
    ]
    caption = (
        "Mean over questions, with its 95% bootstrap interval. Passage hit@k: one of the first k "
        "chunks overlaps the answering passage, which longer chunks do more easily."
    )
    return f"{_table(['system', *names], rows)}\n\n{caption}"


def _cost(runs: Sequence[Run]) -> str:
    fastest = max((_throughput(run) for run in runs if _is_peer(run)), default=None)
    columns: list[tuple[str, Callable[[Run], str]]] = [
        ("system", lambda run: BY_NAME[run.system].label),
        ("chunks", lambda run: f"{run.measured.chunks:,}"),
        ("mean length", lambda run: f"{run.measured.chunk_chars / run.measured.chunks:,.0f}"),
        ("load, s", lambda run: f"{run.measured.load_seconds:.1f}"),
        ("ingest, s", lambda run: f"{run.measured.ingest_seconds:.1f}"),
        ("chars/s", lambda run: f"{_throughput(run):,.0f}"),
        ("of fastest peer", lambda run: f"{_throughput(run) / fastest:.2f}" if fastest else "–"),
        ("after ingest, MiB", lambda run: _mebibytes(run.measured.ingested_rss)),
        ("peak, MiB", lambda run: _mebibytes(run.measured.peak_rss)),
        ("p50, ms", lambda run: _latency(run, 50)),
        ("p95, ms", lambda run: _latency(run, 95)),
        ("measured (UTC)", lambda run: run.measured_at[:16].replace("T", " ")),
        ("load average", lambda run: f"{run.machine.load_average:.2f}"),
        ("others, cores", lambda run: "–" if run.others is None else f"{run.others:.2f}"),
    ]
    rows = [[cell(run) for _, cell in columns] for run in runs]
    caption = (
        "Length in characters; the model reads 256 tokens of a chunk at most, so what is longer "
        "costs no time and cosine does not see it. Load: importing and loading models. Ingest: "
        "from text in memory to searchable. Memory: resident, of the whole process. p50 and p95: "
        "one question at a time, after a warm-up. Load average: over the minute before the run, "
        "when the system before it may still have run; others: cores that other programs kept "
        "busy during the run."
    )
    return f"{_table([name for name, _ in columns], rows)}\n\n{caption}"


def _systems(runs: Sequence[Run]) -> str:
    rows = [
        [
            BY_NAME[run.system].label,
            BY_NAME[run.system].configuration,
            ", ".join(f"{name} {version}" for name, version in run.measured.versions.items()),
        ]
        for run in runs
    ]
    return _table(["system", "configuration", "versions"], rows)


def _is_peer(run: Run) -> bool:
    system: System = BY_NAME[run.system]
    return system.environment is not None


def _throughput(run: Run) -> float:
    """Characters of pages (not of chunks, which may overlap) ingested a second."""
    return run.characters / run.measured.ingest_seconds


def _estimate(value: Estimate) -> str:
    return f"{value.mean:.3f} [{value.low:.2f}, {value.high:.2f}]"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"


def _latency(run: Run, percentile: float) -> str:
    return f"{np.percentile(run.measured.latencies_ms, percentile):.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])

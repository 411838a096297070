"""Runs: each system in a process of its own, and the raw results kept by number of pages."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.contract import (
    Measured,
    Task,
    measured_from,
    write_lines,
    write_task,
)
from benchmarks.peers.dataset import Dataset
from benchmarks.peers.environments import BUILD, python_of
from benchmarks.peers.machine import CpuClock, Machine, cores_of_others, this_machine
from benchmarks.peers.systems import System
from benchmarks.questions import ROOT
from index.embedder import DEFAULT_EMBEDDER, PACKAGED, packaged_path
from index.errors import ModelUnavailable

HITS = 50
"""Chunks asked for, so that ten different pages are among them."""

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGSMITH_TRACING": "false",
    "CUDA_VISIBLE_DEVICES": "",
}
"""No model hub, no telemetry, no accelerator: all on the same CPU."""


@dataclass(frozen=True)
class Run:
    """A system's result, when it was measured (ISO 8601, UTC) and on what.

    `others` is how many cores other programs kept busy meanwhile; None where nothing tells.
    """

    system: str
    pages: int
    characters: int
    measured_at: str
    machine: Machine
    others: float | None
    measured: Measured


def run_system(system: System, dataset: Dataset) -> Run:
    """Run a system over a data set and keep its result.

    Raises `CalledProcessError` where the adapter fails; its output is in `log_of(system)`.
    """
    work = BUILD / "work" / system.name
    shutil.rmtree(work, ignore_errors=True)
    (work / "scratch").mkdir(parents=True)
    write_task(_task(system, dataset, work), work / "task.json")
    log_of(system).parent.mkdir(parents=True, exist_ok=True)
    with log_of(system).open("w", encoding="utf-8") as log:
        python = python_of(system.environment, log)
        machine, now, began = this_machine(), datetime.now(UTC), CpuClock.now()
        subprocess.run(
            [python, "-m", f"benchmarks.peers.adapters.{system.adapter}", work / "task.json"],
            cwd=ROOT,
            env={**os.environ, **OFFLINE},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    run = Run(
        system=system.name,
        pages=len(dataset.pages),
        characters=dataset.characters,
        measured_at=now.isoformat(timespec="minutes"),
        machine=machine,
        others=cores_of_others(began, CpuClock.now()),
        measured=measured_from(json.loads((work / "measured.json").read_text(encoding="utf-8"))),
    )
    _keep(run)
    shutil.rmtree(work)
    return run


def kept_run(system: System, pages: int) -> Run | None:
    """The last result of a system over this many pages, if there is one."""
    path = _kept_at(system.name, pages)
    if not path.exists():
        return None
    row: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Run(
        **{
            **row,
            "machine": Machine(**row["machine"]),
            "measured": measured_from(row["measured"]),
        }
    )


def log_of(system: System) -> Path:
    """Where a system's own output goes."""
    return BUILD / "logs" / f"{system.name}.log"


def _task(system: System, dataset: Dataset, work: Path) -> Task:
    """Write the inputs of a run into its folder."""
    known = PACKAGED[DEFAULT_EMBEDDER]
    model = packaged_path(known.package, known.folder)
    if model is None:
        raise ModelUnavailable(f"{DEFAULT_EMBEDDER} is not installed here: run `make setup`")
    write_lines(dataset.pages, work / "corpus.jsonl")
    write_lines(dataset.queries, work / "queries.jsonl")
    write_lines(dataset.warm_up, work / "warm-up.jsonl")
    return Task(
        variant=system.variant,
        corpus=str(work / "corpus.jsonl"),
        queries=str(work / "queries.jsonl"),
        warm_up=str(work / "warm-up.jsonl"),
        model=str(model),
        k=HITS,
        scratch=str(work / "scratch"),
        out=str(work / "measured.json"),
    )


def _keep(run: Run) -> None:
    path = _kept_at(run.system, run.pages)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(run)), encoding="utf-8")


def _kept_at(system: str, pages: int) -> Path:
    return BUILD / "results" / f"{pages}-pages" / f"{system}.json"

"""The service under load, as a process of its own over a given index, with or without a language model."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.questions import ROOT

CONFIG = """
keys = "{folder}/keys.sqlite"
anonymous_access = ["public"]
"""

MODEL = """
[gateway]
ledger = "{folder}/usage.sqlite"
cache = 0

[gateway.limits]
requests_per_minute = 100000
concurrent = 1000

[[gateway.models]]
name = "fake"
model = "fake"
address = "{address}"
"""
"""Answers are not kept, and nobody is limited: what is measured is the service."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    port: int
    pid: int

    def resident(self) -> float:
        """Its memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def processor_seconds(self) -> float:
        """What it has used of the processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(index: Path, *, with_model: bool = False) -> Iterator[Service]:
    """The service over an index, stopped at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        config = CONFIG.format(folder=folder)
        if with_model:
            config += MODEL.format(folder=folder, address=stack.enter_context(_provider()))
        (folder / "casebook.toml").write_text(config)
        arguments = ["-m", "assistant.cli", "serve", "--port", "0", "--index", str(index.resolve())]
        process = _started(arguments, folder)
        stack.callback(_stopped, process)
        ready = _line(process, r"ready: http://127.0.0.1:(\d+)")
        yield Service(int(ready), process.pid)


@contextmanager
def _provider() -> Iterator[str]:
    process = _started(["-m", "benchmarks.load.provider"], ROOT)
    try:
        yield _line(process, r"(http://\S+)")
    finally:
        _stopped(process)


def _started(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[1]
    raise RuntimeError(f"{process.args} ended before it served: see above")


def _stopped(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(timeout=30)

"""What the measurements were taken on, and how much else it did meanwhile."""

import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = slice(0, 3)
"""User, nice and system time among the fields of the first line of /proc/stat (proc(5)). Interrupts
and stolen time are left out: they are no other program's doing here."""


@dataclass(frozen=True)
class Machine:
    """A machine by its processor and Python; `load_average` is over the last minute."""

    cpu: str
    cores: int
    system: str
    python: str
    load_average: float


def this_machine() -> Machine:
    """The machine now."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        load_average=round(os.getloadavg()[0], 2),
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class CpuClock:
    """A moment: seconds since some start of wall-clock, of all CPUs, and of ended child processes."""

    wall: float
    all_cpus: float
    children: float

    @classmethod
    def now(cls) -> "CpuClock | None":
        """This moment, or None where the system doesn't say what its CPUs do."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        ticks = [
            int(field) for field in stat.read_text(encoding="ascii").split("\n")[0].split()[1:]
        ]
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(
            wall=time.perf_counter(),
            all_cpus=sum(ticks[BUSY]) / os.sysconf("SC_CLK_TCK"),
            children=used.ru_utime + used.ru_stime,
        )


def cores_of_others(began: CpuClock | None, ended: CpuClock | None) -> float | None:
    """How many cores other programs kept busy between two moments, on average."""
    if began is None or ended is None:
        return None
    others = (ended.all_cpus - began.all_cpus) - (ended.children - began.children)
    return max(0.0, round(others / (ended.wall - began.wall), 2))

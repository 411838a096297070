"""What the lock files pin for this Python and platform."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"


@dataclass(frozen=True)
class Pinned:
    """One distribution: its version, and the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locked(*, dev: bool = False) -> list[Pinned]:
    """Every pinned distribution that is installed here, by name: what ships, with `dev` what tests it too.

    torch is the CPU build where the lock knows one for this platform, as in set-up and in the image.
    """
    torch = list(_read(LOCKS / "torch-cpu.lock")) or list(_read(LOCKS / "torch-pypi.lock"))
    found = [*torch, *_read(LOCKS / "runtime.lock"), *(_read(LOCKS / "dev.lock") if dev else ())]
    return sorted(found, key=lambda pinned: pinned.name)


def _read(lock: Path) -> Iterator[Pinned]:
    for line in lock.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        stated, *hashes = line.split(" --hash=sha256:")
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate():
            [pin] = requirement.specifier
            yield Pinned(
                canonicalize_name(requirement.name),
                pin.version,
                tuple(each.strip() for each in hashes),
            )

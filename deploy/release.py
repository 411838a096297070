"""Build the wheel and the source archive so that anyone gets the same bytes: `python -m deploy.release dist`.

Both are made of the files of the packages alone, in a folder of their own, with fixed modes, and with the time of
the last commit, or SOURCE_DATE_EPOCH. setuptools does the same for a wheel; the archive is packed anew.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from deploy.locked import ROOT

FILES = ("pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("ingest", "index", "assistant")

MODE = 0o022
"""The umask: a file's mode is part of the bytes, and a builder's own would be too."""


def release(output: Path, epoch: int, root: Path = ROOT) -> list[Path]:
    """Build both into a folder; returns them. `epoch`: seconds since 1970, the time of everything inside."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        source, built = Path(made) / "source", Path(made) / "built"
        _copy(root, source)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"}
        subprocess.run(
            [*command, str(source)],
            env=environment,
            umask=MODE,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return [_placed(each, output, epoch) for each in sorted(built.iterdir())]


def _copy(root: Path, source: Path) -> None:
    """What git would give, without what tests and editors leave."""
    source.mkdir()
    for name in FILES:
        _copy_plainly(root / name, source / name)
    for name in PACKAGES:
        shutil.copytree(
            root / name,
            source / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info"),
            copy_function=_copy_plainly,
        )


def _copy_plainly(old: str | Path, new: str | Path) -> None:
    shutil.copyfile(old, new)
    os.chmod(new, 0o644)


def _placed(built: Path, output: Path, epoch: int) -> Path:
    placed = output / built.name
    if built.suffix == ".gz":
        placed.write_bytes(_repacked(built, epoch))
    else:
        shutil.copyfile(built, placed)
    return placed


def _repacked(archive: Path, epoch: int) -> bytes:
    """The same files sorted by name, of nobody in particular, with one time and one mode."""
    packed = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=epoch) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.size, plain.mtime = member.type, member.size, epoch
            plain.mode = 0o755 if member.isdir() else 0o644
            new.addfile(plain, old.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def _last_commit() -> int:
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Build into the folder named, and print what came out as `sha256sum` would."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    parser.add_argument("output", type=Path, help="folder for the wheel and the source archive")
    given = parser.parse_args()
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    for built in release(given.output, int(epoch) if epoch else _last_commit()):
        print(f"{hashlib.sha256(built.read_bytes()).hexdigest()}  {built}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

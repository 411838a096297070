"""Files of the index on disk: where they lie, written to last, checked when read, faults by name."""

import errno
import hashlib
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from index.errors import IndexUnavailable, StorageFailed

REMEDIES = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space, or ask for a larger quota",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EIO: "check the disk; the system's log has more",
    errno.EMFILE: "let the process open more files (ulimit -n)",
    errno.ENFILE: "let the system open more files (sysctl fs.file-max)",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give the process the right to write there",
    errno.EPERM: "give the process the right to write there",
}

OPENABLE = "give the process the right to write it and what lies beside it, or check the disk"

FROM_SQLITE = {
    "SQLITE_FULL": (os.strerror(errno.ENOSPC), REMEDIES[errno.ENOSPC]),
    "SQLITE_IOERR": (os.strerror(errno.EIO), REMEDIES[errno.EIO]),
    "SQLITE_READONLY": ("it can't be written", OPENABLE),
    "SQLITE_CANTOPEN": ("it can't be opened", OPENABLE),
}
"""Cause and remedy by SQLite's primary result code, the first two words of its error's name."""

TRUNCATED = "SQLITE_IOERR_SHORT_READ"
"""The one that tells of the file, which is shorter than it says, and not of the disk."""


SEGMENT = re.compile(r"[\w-]{1,64}", re.ASCII)
"""Names of segments. A catalog that came from elsewhere, in a snapshot, may say anything."""


def segment_folder(folder: Path, name: str) -> Path:
    """Where the files of a segment of the index at `folder` lie; raises `IndexUnavailable` for a name that
    would lead out of it.
    """
    if not SEGMENT.fullmatch(name):
        raise IndexUnavailable(
            f"the catalog of {folder} calls a segment {name!r}, which is no name: restore a snapshot "
            "that you trust with `casebook index restore`, or move it away and run `casebook ingest`"
        )
    return folder / "segments" / name


# --- faults -----------------------------------------------------------------------------------


def storage_failed(path: Path, error: OSError | sqlite3.Error) -> StorageFailed:
    """What to tell a person of a fault of the disk under `path`: the cause, the file and the remedy."""
    if isinstance(error, OSError):
        cause, remedy = _cause(error)
        path = Path(error.filename) if isinstance(error.filename, str) else path
    elif found := _asked(path.parent):
        cause, remedy = _cause(found)
    else:
        cause, remedy = FROM_SQLITE[_primary(error)]
    return StorageFailed(
        f"can't use {path}: {cause}: {remedy}, then try again; what was published before is served on"
    )


def is_of_the_disk(error: OSError | sqlite3.Error) -> bool:
    """Whether an error tells of the disk, rather than of what is in a file."""
    if isinstance(error, OSError):
        return True
    return _primary(error) in FROM_SQLITE and _name(error) != TRUNCATED


def _cause(error: OSError) -> tuple[str, str]:
    return error.strerror or str(error), REMEDIES.get(error.errno or 0, "check the disk")


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _primary(error: sqlite3.Error) -> str:
    return "_".join(_name(error).split("_")[:2])


def _asked(folder: Path) -> OSError | None:
    """What the system says of a small file written to a folder: SQLite has one name for many faults."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"?")
            file.flush()
    except OSError as error:
        return error
    return None


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """What is done inside fails as `StorageFailed`, which names `path` where the fault names none."""
    try:
        yield
    except OSError as error:
        raise storage_failed(path, error) from error


# --- writing ----------------------------------------------------------------------------------


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write and sync each file, then the folders that name them; raises `StorageFailed`.

    A file is there whole under its name, or not at all.
    """
    with on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        # A name of its own for what is unfinished, so that two who repair the same don't meet.
        _place(folder / name, data, folder / f"{name}.{uuid.uuid4().hex[:8]}.tmp")
    for parent in (folder, folder.parent, folder.parent.parent):
        _sync_folder(parent)


def write_file(path: Path, data: bytes) -> None:
    """Write and sync one file, which nobody else writes, and the folder that names it; raises
    `StorageFailed`.
    """
    with on_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    _place(path, data, path.with_name(f"{path.name}.tmp"))
    _sync_folder(path.parent)


def _place(path: Path, data: bytes, unfinished: Path) -> None:
    with on_disk(path):
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last; raises `StorageFailed`."""
    if os.name != "posix":  # other systems can't open a folder, and need not
        return
    with on_disk(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path, used: Collection[str]) -> None:
    """Remove what no state uses from the index at `folder`: segments, and unfinished files of those that
    stay. What can't be removed now is left for the next time.
    """
    with suppress(OSError):
        for place in list((folder / "segments").iterdir()):
            if place.name not in used:
                shutil.rmtree(place, ignore_errors=True)
                continue
            for unfinished in place.glob("*.tmp"):
                unfinished.unlink()


# --- reading ----------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    """The digest that the catalog keeps of a file."""
    return hashlib.sha256(data).hexdigest()


def read_files(folder: Path, digests: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """Files by name, and the paths of those that are missing or not what was written.

    Raises `StorageFailed` where no more files can be opened: that tells nothing about the files.
    """
    files: dict[str, bytes] = {}
    damaged = []
    for name, digest in digests.items():
        data = _read(folder / name)
        if data is not None and sha256(data) == digest:
            files[name] = data
        else:
            damaged.append(str(folder / name))
    return files, damaged


def read_through(path: Path) -> None:
    """Read a file to its end for nothing but the disk's word that it can be read: else an `OSError`."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise storage_failed(path, error) from error
        return None

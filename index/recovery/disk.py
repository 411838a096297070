"""Making files and names last on a disk."""

import os
from pathlib import Path

from index.files import on_disk


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last; raises `StorageFailed`."""
    if os.name == "posix":  # other systems can't open a folder, and need not
        _sync(folder)


def sync_file(path: Path) -> None:
    """Make what was written to a file last; raises `StorageFailed`."""
    _sync(path)


def _sync(path: Path) -> None:
    with on_disk(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def tree_size(folder: Path) -> int:
    """Bytes of all files under a folder; those that go meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total

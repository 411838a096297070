"""Where snapshots are kept: a folder, or a bucket of an S3-compatible store."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from index.files import on_disk, write_file
from index.recovery.disk import sync_folder
from index.recovery.errors import SnapshotDamaged
from index.recovery.settings import SnapshotSettings

READ_AT_ONCE = 1 << 20


class Storage(Protocol):
    """Named sequences of bytes; a name is `snapshot/file`. What is written is there whole or not at all.

    Raises `SnapshotsUnavailable`, `StorageFailed` for a disk, and `SnapshotDamaged` for a name that
    is not there.
    """

    where: str

    def write(self, name: str, content: Path | bytes) -> None:
        """Store a file, or a few bytes, under a name."""

    def read(self, name: str) -> Iterator[bytes]:
        """What is stored under a name, piece by piece."""

    def sizes(self) -> dict[str, int]:
        """Every name and its bytes."""

    def delete(self, names: Iterable[str]) -> None:
        """Forget these, in this order."""


def open_storage(settings: SnapshotSettings) -> Storage:
    """The place that the settings name. Nothing is asked of it yet."""
    if settings.to.startswith("s3://"):
        from index.recovery.bucket import BucketStorage  # obstore is loaded only for a bucket

        return BucketStorage(settings)
    return FolderStorage(Path(settings.to))


class FolderStorage:
    """Snapshots as folders in a folder, each file and name synced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)

    def write(self, name: str, content: Path | bytes) -> None:
        """Store a file, or a few bytes, under a name."""
        path = self.folder / name
        if isinstance(content, bytes):
            write_file(path, content)
        else:
            self._copy(content, path)
        sync_folder(self.folder)

    def _copy(self, content: Path, path: Path) -> None:
        unfinished = path.with_name(f"{path.name}.tmp")
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with content.open("rb") as source, unfinished.open("wb") as target:
                    shutil.copyfileobj(source, target, READ_AT_ONCE)
                    target.flush()
                    os.fsync(target.fileno())
                unfinished.replace(path)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)

    def read(self, name: str) -> Iterator[bytes]:
        """What is stored under a name, piece by piece."""
        path = self.folder / name
        with on_disk(path):
            try:
                file = path.open("rb")
            except (FileNotFoundError, NotADirectoryError):
                raise SnapshotDamaged(f"{name} is not in {self.where}") from None
            with file:
                while piece := file.read(READ_AT_ONCE):
                    yield piece

    def sizes(self) -> dict[str, int]:
        """Every name and its bytes."""
        found = {}
        with on_disk(self.folder):
            for path in self.folder.glob("*/*"):
                with suppress(FileNotFoundError):
                    if path.is_file():
                        found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def delete(self, names: Iterable[str]) -> None:
        """Forget these, in this order."""
        parents: dict[Path, None] = {}
        for name in names:
            path = self.folder / name
            with on_disk(path):
                path.unlink(missing_ok=True)
            sync_folder(path.parent)  # the order must survive a crash
            parents[path.parent] = None
        for parent in parents:
            with suppress(OSError):  # something else lies in it
                parent.rmdir()

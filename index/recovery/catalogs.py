"""Which catalog serves: the switch from one to another, and the one that was set aside.

A catalog that a restore brings lies in `index/catalogs/<name>/`, and `index/catalog.sqlite` becomes a
link to it. Exchanging the link is one rename, so a crash leaves the former catalog or the new one. A
rename of the file itself would not do: SQLite finds the write-ahead log by the name of the file, so
the log of one catalog could be taken for another's. A link is followed first, so each catalog keeps
its own log, readers of the former one go on reading it, and the former one can be gone back to.

`origin.json` beside a catalog says which was serving before: it is written before the switch, so
that both change in the same rename.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError

from index.catalog import Catalog
from index.errors import CasebookError, IndexUnavailable
from index.files import on_disk, write_file
from index.recovery.disk import sync_file, sync_folder
from index.store import catalog_path

UNFINISHED = "unfinished-"
BESIDE = ("-wal", "-witness")
"""What lies beside a catalog's file and belongs to it: SQLite's log, and how far the catalog had come."""
TRIES = 3


class Origin(BaseModel):
    """How a catalog came to serve: from which snapshot, at which state, instead of which catalog."""

    model_config = ConfigDict(frozen=True)

    snapshot: str | None
    state: str | None
    former: str | None


def home(folder: Path, name: str = "") -> Path:
    """Where the catalogs of an index folder lie that are no plain file, or one of them."""
    return folder / "catalogs" / name


def serving(folder: Path) -> str | None:
    """The name of the catalog that serves; None where it is the plain file, or where there is none."""
    path = catalog_path(folder)
    return path.readlink().parent.name if path.is_symlink() else None


def origin(folder: Path) -> Origin | None:
    """How the catalog that serves came to do so, where a restore or a rollback brought it."""
    name = serving(folder)
    if name is None:
        return None
    try:
        return Origin.model_validate_json((home(folder, name) / "origin.json").read_bytes())
    except (OSError, ValidationError):
        return None


def set_aside(folder: Path) -> str | None:
    """The name that the catalog that serves can be gone back to by; None where there is none.

    A plain file is copied, log included; one that SQLite can't copy any more, byte by byte.
    """
    name = serving(folder)
    path = catalog_path(folder)
    if name is not None or not path.exists():
        return name
    name = f"former-{uuid.uuid4().hex[:8]}"
    unfinished = home(folder, UNFINISHED + name)
    with on_disk(unfinished):
        unfinished.mkdir(parents=True)
    copy = unfinished / path.name
    try:
        with closing(Catalog(path)) as catalog:
            catalog.copy_to(copy)
    except IndexUnavailable:
        with on_disk(copy):
            for end in ("", *BESIDE):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    settle(folder, unfinished.name, name)
    return name


def settle(folder: Path, unfinished: str, name: str) -> None:
    """Give a catalog that is whole its name, everything synced."""
    place = home(folder, unfinished)
    for path in place.iterdir():
        sync_file(path)
    sync_folder(place)
    with on_disk(place):
        place.rename(home(folder, name))
    sync_folder(home(folder))
    sync_folder(folder)


def switch(folder: Path, name: str, came: Origin) -> None:
    """Let a catalog serve from now on. Call it while `writing`, with everything in place."""
    write_file(home(folder, name) / "origin.json", came.model_dump_json().encode())
    path = catalog_path(folder)
    plain = not path.is_symlink()
    link = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with on_disk(path):
        os.symlink(Path("catalogs") / name / path.name, link)
        link.replace(path)
    sync_folder(folder)
    if plain:  # readers that have the plain file's log open keep it, nobody else may take it up
        for end in (*BESIDE, "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)


def leftovers(folder: Path) -> list[str]:
    """Catalogs that neither serve nor are set aside: of restores that were cut off, or of earlier ones."""
    came = origin(folder)
    kept = {serving(folder), came.former if came else None}
    with suppress(FileNotFoundError):
        return sorted(each.name for each in home(folder).iterdir() if each.name not in kept)
    return []


def sweep(folder: Path) -> None:
    """Remove the leftovers. Call it while `writing`."""
    for name in leftovers(folder):
        shutil.rmtree(home(folder, name), ignore_errors=True)
    for link in folder.glob(f"{catalog_path(folder).name}.*.tmp"):
        link.unlink(missing_ok=True)


@contextmanager
def private_copy(folder: Path) -> Iterator[Catalog]:
    """The catalog to look at without leaving a trace: opening it in place would touch SQLite's files.

    Raises `IndexUnavailable` where there is none, or it is damaged.
    """
    path = catalog_path(folder)
    if not path.exists():
        raise IndexUnavailable(f"no index at {folder}")
    with TemporaryDirectory(prefix="casebook-") as scratch:
        copy = Path(scratch) / path.name
        _copy_unchanged(path.resolve(), copy)
        with closing(_opened(path, copy)) as catalog:
            yield catalog


def _opened(path: Path, copy: Path) -> Catalog:
    try:
        return Catalog(copy)
    except CasebookError as error:
        raise type(error)(str(error).replace(str(copy), str(path))) from None


def _copy_unchanged(path: Path, copy: Path) -> None:
    """Copy a catalog and its log, again while one of them changes in the meantime."""
    ends = ("", *BESIDE)
    files = [Path(f"{path}{end}") for end in ends]
    for _ in range(TRIES):
        before = [_version(each) for each in files]
        with on_disk(copy):
            for each, end in zip(files, ends, strict=True):
                Path(f"{copy}{end}").unlink(missing_ok=True)
                with suppress(FileNotFoundError):
                    shutil.copyfile(each, f"{copy}{end}")
        if before == [_version(each) for each in files]:
            return
    raise IndexUnavailable(f"the catalog {path} is being written to: try again in a moment")


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

"""A small file beside the catalog that says how far it had come: SQLite can't tell when its journal
(`-wal`) is lost or cut off, or the catalog is exchanged for an older one or another's, and would serve
what was before.

It is written after each change that is told to a reader, so it is never ahead of a whole catalog.
"""

import json
import logging
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from index.errors import StorageFailed
from index.files import write_file

log = logging.getLogger("casebook.index")


@dataclass(frozen=True)
class Witnessed:
    """The catalog's identity, and the number of its last change."""

    identity: str
    number: int


def witness_path(catalog: Path) -> Path:
    """Where the witness of a catalog lies: by the file itself, also where `catalog` is a link to it."""
    catalog = catalog.resolve()
    return catalog.with_name(f"{catalog.name}-witness")


def read_witness(catalog: Path) -> Witnessed | None:
    """What was witnessed; None where nothing was, or the witness is not what was written."""
    try:
        body, _, checksum = witness_path(catalog).read_bytes().partition(b"\n")
    except OSError:
        return None
    if checksum.strip() != _checksum(body):
        log.warning("%s is not what was written: it is passed over", witness_path(catalog))
        return None
    return Witnessed(**json.loads(body))


def write_witness(catalog: Path, witnessed: Witnessed) -> None:
    """Note how far the catalog has come; an older note stays true where the disk does not take it."""
    body = json.dumps(asdict(witnessed)).encode()
    try:
        write_file(witness_path(catalog), body + b"\n" + _checksum(body) + b"\n")
    except StorageFailed as error:
        log.warning("how far the catalog has come is not noted: %s", error)


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)

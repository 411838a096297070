"""Verifying: every byte of an index, or of a snapshot, against what was noted when it was written."""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from index.catalog import Catalog, State
from index.errors import CasebookError, IndexUnavailable, StorageFailed
from index.recovery.errors import SnapshotDamaged
from index.recovery.manifest import Manifest, StoredFile
from index.recovery.storage import Storage
from index.store import catalog_path, verify_files

Report = Callable[[str, int, int], None]
"""Told the stage, and how many bytes of how many are done."""


@dataclass(frozen=True)
class Verified:
    """What was checked, and everything that was found wrong, in words."""

    what: str
    state: str | None
    documents: int
    chunks: int
    findings: tuple[str, ...]


def verify_index(folder: Path) -> Verified:
    """Check the catalog and the files derived from it; raises `IndexUnavailable` where there is none."""
    if not catalog_path(folder).exists():
        raise IndexUnavailable(
            f"no index at {folder}: run `casebook ingest`, or restore a snapshot"
        )
    try:
        catalog = Catalog(catalog_path(folder))
    except IndexUnavailable as error:
        return Verified(str(folder), None, 0, 0, (str(error),))
    with closing(catalog):
        findings = catalog.check()
        try:
            state = catalog.current_state()
            if state is None:
                raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
            documents, chunks = counts(catalog, state)
            for path in verify_files(folder, catalog, state):
                findings.append(
                    f"{path} is missing or not what was written: run `casebook index repair`"
                )
        except IndexUnavailable as error:
            return Verified(str(folder), None, 0, 0, tuple(dict.fromkeys([*findings, str(error)])))
    return Verified(str(folder), state.id, documents, chunks, tuple(findings))


def counts(catalog: Catalog, state: State) -> tuple[int, int]:
    """`(documents, chunks)` of a state."""
    rows = [row.row for row in catalog.document_rows(state.id)]
    return len(rows), catalog.counts(rows)[0]


def verify_snapshot(storage: Storage, manifest: Manifest, report: Report) -> Verified:
    """Read every byte of a snapshot, without writing any.

    That is enough: what was stored had been checked, and it is still what was stored.
    """
    findings = []
    for file in manifest.files:
        try:
            for _ in contents(storage, manifest, file, report):
                pass
        except SnapshotDamaged as error:
            findings.append(str(error))
    return Verified(
        f"{storage.where}/{manifest.id}",
        manifest.state,
        manifest.documents,
        manifest.chunks,
        tuple(findings),
    )


def contents(
    storage: Storage, manifest: Manifest, file: StoredFile, report: Report
) -> Iterator[bytes]:
    """The bytes of a file of a snapshot, unpacked; raises `SnapshotDamaged` after the last where one differs.

    What is stored is compared as well: some bits of gzip can be turned over and unpack to the same.
    """
    digest, stored = hashlib.sha256(), hashlib.sha256()
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    read = size = 0
    try:
        for piece in storage.read(f"{manifest.id}/{file.stored_as}"):
            read += len(piece)
            stored.update(piece)
            data = unpack.decompress(piece, file.size - size + 1)  # no more than it should hold
            digest.update(data)
            size += len(data)
            report("reading", read, file.stored_size)
            yield data
            if size > file.size or unpack.unconsumed_tail:
                break
    except zlib.error:
        size = -1
    found = (size, digest.hexdigest(), stored.hexdigest())
    if found != (file.size, file.sha256, file.stored_sha256):
        raise SnapshotDamaged(
            f"{file.stored_as} of snapshot {manifest.id} in {storage.where} is not what was written: "
            "choose another (`casebook index snapshots` lists them)"
        )


def check_restored(catalog: Catalog, manifest: Manifest) -> None:
    """Raises `SnapshotDamaged` where a catalog is damaged, or not the one that the manifest tells of."""
    findings = catalog.check()
    state = catalog.current_state()
    if state is None or state.id != manifest.state:
        findings.append(f"its state is {state.id if state else 'none'}, not {manifest.state}")
    elif counts(catalog, state) != (manifest.documents, manifest.chunks):
        findings.append("it holds another number of documents or chunks than was noted")
    if findings:
        raise SnapshotDamaged(f"snapshot {manifest.id} can't be used: {findings[0]}")


def cause(error: CasebookError) -> str:
    """What an error says was wrong, without its remedy."""
    clauses = str(error).split(": ")
    return ": ".join(clauses[: 2 if isinstance(error, StorageFailed) else 1])

"""The manifest of a snapshot: what it holds, written last, so a snapshot without one is incomplete."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from index.recovery.errors import SnapshotDamaged

FORMAT = 1
NAME = "manifest.json"
ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class StoredFile(BaseModel):
    """One file: as it is in the index, and what it is stored as, gzipped. Sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int = Field(ge=0)
    sha256: str
    stored_as: str
    stored_size: int = Field(ge=0)
    stored_sha256: str


class Manifest(BaseModel):
    """A snapshot: of which state, made when and by what, and its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    id: str
    casebook: str
    index_format: int
    state: str
    created_at: datetime
    model: str
    dimension: int
    documents: int
    chunks: int
    files: tuple[StoredFile, ...]

    @property
    def size(self) -> int:
        """Bytes of the files as they are in an index."""
        return sum(file.size for file in self.files)

    @property
    def stored_size(self) -> int:
        """Bytes of the files in the store."""
        return sum(file.stored_size for file in self.files)

    def to_bytes(self) -> bytes:
        """The manifest as JSON, with the SHA-256 of all else in it."""
        content = self.model_dump(mode="json")
        return json.dumps(content | {"sha256": _digest(content)}, indent=2).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, snapshot_id: str) -> Self:
        """The manifest of a snapshot; raises `SnapshotDamaged` where it is not what was written."""
        try:
            content = json.loads(data)
            noted = content.pop("sha256")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise _damaged(snapshot_id) from None
        if noted != _digest(content) or content.get("id") != snapshot_id:
            raise _damaged(snapshot_id)
        if content.get("format") != FORMAT:
            raise SnapshotDamaged(
                f"snapshot {snapshot_id} has format {content.get('format')}, this version reads "
                f"{FORMAT}: use the version of Casebook that made it ({content.get('casebook')})"
            )
        try:
            return cls.model_validate(content)
        except ValidationError:
            raise _damaged(snapshot_id) from None


def _damaged(snapshot_id: str) -> SnapshotDamaged:
    return SnapshotDamaged(
        f"the manifest of snapshot {snapshot_id} is not what was written: choose another "
        "(`casebook index snapshots` lists them)"
    )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Which documents each state holds, read once: rows never change, so what was whole stays so."""

import json
import sqlite3
from collections.abc import Iterable, Sequence

from index.catalog.database import Database
from index.catalog.rows import DocumentRow, digest_of, labels_of, unpacked
from index.catalog.tables import DOCUMENTS, STATES
from index.errors import IndexUnavailable
from index.schema import DocumentId, Revision, StateId


class Directory:
    """Documents without their texts, by row and by state. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._rows: dict[int, DocumentRow] = {}
        self._states: dict[StateId, tuple[DocumentRow, ...]] = {}

    def of_state(self, state_id: StateId) -> tuple[DocumentRow, ...]:
        """Every document of a state, by id; none that it does not have, and all that it has."""
        with self._db.lock:
            if state_id not in self._states:
                self._forget_dropped()
                self._states[state_id] = self._read_state(state_id)
            return self._states[state_id]

    def of_rows(self, rows: Sequence[int]) -> list[DocumentRow]:
        """Documents by row, in the order given."""
        with self._db.lock:
            missing = [row for row in rows if row not in self._rows]
            for found in self._db.sealed(
                DOCUMENTS, "WHERE row IN (SELECT value FROM json_each(?))", json.dumps(missing)
            ):
                self._rows[found["row"]] = document_row(found)
            if lost := [row for row in rows if row not in self._rows]:
                raise self._db.damaged(f"{len(lost)} of its documents are missing")
            return [self._rows[row] for row in rows]

    def named(self, ids: Iterable[str]) -> list[DocumentRow]:
        """Documents by id, in the revisions of every state that was read here."""
        wanted = set(ids)
        with self._db.lock:
            return [row for row in self._rows.values() if row.id in wanted]

    def _read_state(self, state_id: StateId) -> tuple[DocumentRow, ...]:
        found = self._db.sealed(STATES, "WHERE id = ?", state_id)
        if not found:
            raise IndexUnavailable(
                f"state {state_id} is not in the catalog {self._db.path} any more: ask again"
            )
        wanted = unpacked(found[0]["document_rows"]).tolist()
        documents = self.of_rows(wanted)
        if digest_of(row.seal for row in documents) != found[0]["digest"]:
            self._rows.clear()  # of a file that this one was exchanged for
            documents = self.of_rows(wanted)
        if digest_of(row.seal for row in documents) != found[0]["digest"]:
            raise self._db.damaged(f"the documents of its state {state_id} are not what they were")
        return tuple(sorted(documents, key=lambda row: row.id))

    def _forget_dropped(self) -> None:
        kept = {row[0] for row in self._db.all("SELECT id FROM states")}
        if self._states.keys() <= kept:
            return
        self._states = {id: rows for id, rows in self._states.items() if id in kept}
        self._rows = {row.row: row for rows in self._states.values() for row in rows}


def document_row(row: sqlite3.Row) -> DocumentRow:
    """A document as a sealed row says it."""
    first = row["first_chunk"]
    return DocumentRow(
        row=row["row"],
        id=DocumentId(row["id"]),
        digest=row["digest"],
        item=row["item"],
        source_digest=row["source_digest"],
        title=row["title"],
        source_name=row["source_name"],
        source=row["source"],
        kind=row["kind"],
        revision=Revision(row["revision"]),
        modified_at=row["modified_at"],
        ingested_at=row["ingested_at"],
        access=labels_of(row["access"]),
        metadata=json.loads(row["metadata"]),
        chunks=range(first, first + row["chunk_count"]),
        tokens=row["tokens"],
        seal=row["seal"],
    )

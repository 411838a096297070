"""The states of the catalog and the segments that they are searched by."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from index.catalog.database import Database
from index.catalog.directory import Directory
from index.catalog.rows import (
    SegmentRow,
    State,
    digest_of,
    labels_of,
    packed,
    unpacked,
    utc_now,
)
from index.catalog.tables import SEGMENTS, STATES
from index.errors import NotFound
from index.schema import StateId

KEPT_STATES = 2
KEPT_FOR = timedelta(minutes=10)
"""States a reader may still hold: longer than any request lasts."""

STAGED_FOR = timedelta(days=7)
"""How long what an interrupted sync has read and embedded waits for it to be taken up again."""


class States:
    """The part of the catalog that holds states and segments."""

    _db: Database
    _directory: Directory

    # --- states -----------------------------------------------------------------------------------

    def states(self) -> list[State]:
        """Every state that is kept, newest first."""
        return [_state(row) for row in self._state_rows()]

    def current_state(self) -> State | None:
        """The state that new readers get, or None before the first publish."""
        self._db.verify_witness()
        current = self.current_state_id()
        if current is None:
            return None
        rows = self._db.sealed(STATES, "WHERE id = ?", current)
        if not rows:
            raise self._db.damaged(f"its state {current} is missing")
        return _state(rows[0])

    def current_state_id(self) -> StateId | None:
        """Only the id: cheap enough to ask for on every request."""
        current = self._db.fact("current")["state"]
        return StateId(current) if current else None

    def make_current(self, state_id: StateId) -> None:
        """Let new readers get a state that is kept; raises `NotFound` for another."""
        with self._db.told():
            if state_id not in {state.id for state in self.states()}:
                raise NotFound(f"no state {state_id} is kept in {self._db.path}")
            self._switch(state_id)

    def publish(
        self, state: State, document_rows: Iterable[int], fresh: Iterable[SegmentRow]
    ) -> None:
        """Make `state` the current one, with the segments that are new in it, in one transaction."""
        rows = sorted(document_rows)
        with self._db.told():
            values = (
                state.id,
                state.created_at,
                state.model,
                state.dimension,
                json.dumps(state.segments),
                digest_of(row.seal for row in self._directory.of_rows(rows)),
                packed(rows),
            )
            self._db.insert(STATES, [values])
            for segment in fresh:
                self._write_segment(segment)
            self._switch(state.id)

    def _switch(self, state_id: StateId) -> None:
        """Name another state as the current one, and when the one that was ceased to be."""
        current = self._db.fact("current")
        left = current["left"] | {current["state"]: utc_now().isoformat()}
        left.pop(None, None)
        left.pop(state_id, None)
        self._db.set_fact("current", current | {"state": state_id, "left": left})

    def drop_old_states(self, now: datetime) -> None:
        """Forget states no reader can hold any more, with all that only they used."""
        with self._db.transaction():
            kept, dropped = self._by_age((now - KEPT_FOR).isoformat())
            held = {row for state in kept for row in unpacked(state["document_rows"]).tolist()}
            staged = self._db.all(
                "SELECT row FROM documents WHERE ingested_at < ?",
                (now - STAGED_FOR).isoformat(timespec="seconds"),
            )
            leaving = {
                row for state in dropped for row in unpacked(state["document_rows"]).tolist()
            }
            leaving |= {row[0] for row in staged}
            self._drop_documents(sorted(leaving - held))
            names = {name for state in kept for name in json.loads(state["segments"])}
            for table, column, stay in (
                ("states", "id", [state["id"] for state in kept]),
                ("segments", "name", sorted(names)),
            ):
                self._db.execute(
                    f"DELETE FROM {table} WHERE {column} NOT IN (SELECT value FROM json_each(?))",
                    json.dumps(stay),
                )
            self._db.execute(
                "DELETE FROM embeddings WHERE key NOT IN (SELECT embedding_key FROM chunks)"
            )

    def _by_age(self, oldest: str) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
        """The states that are kept, and those that are not."""
        rows = self._state_rows()
        current = self._db.fact("current")
        left = {state: at for state, at in current["left"].items() if at >= oldest}
        self._db.set_fact("current", current | {"left": left})
        kept = [
            row
            for position, row in enumerate(rows)
            if position < KEPT_STATES
            or row["created_at"] >= oldest
            or row["id"] in left
            or row["id"] == current["state"]
        ]
        ids = {row["id"] for row in kept}
        return kept, [row for row in rows if row["id"] not in ids]

    def _drop_documents(self, rows: Sequence[int]) -> None:
        for document in self._directory.of_rows(rows):
            self._db.execute(
                "DELETE FROM chunks WHERE row BETWEEN ? AND ?",
                document.chunks.start,
                document.chunks.stop - 1,
            )
            self._db.execute("DELETE FROM documents WHERE row = ?", document.row)

    def _state_rows(self) -> list[sqlite3.Row]:
        return self._db.sealed(STATES, "ORDER BY created_at DESC, id")

    # --- segments ---------------------------------------------------------------------------------

    def segments(self, names: Sequence[str]) -> list[SegmentRow]:
        """Segments by name, in the order given."""
        rows = self._db.sealed(
            SEGMENTS, "WHERE name IN (SELECT value FROM json_each(?))", json.dumps(names)
        )
        found = {row["name"]: row for row in rows}
        if lost := [name for name in names if name not in found]:
            raise self._db.damaged(f"its segment {lost[0]} is missing")
        return [_segment(found[name]) for name in names]

    def replace_segment(self, segment: SegmentRow) -> None:
        """Note what a segment is made of after its files were built again."""
        with self._db.transaction():
            self._write_segment(segment)

    def _write_segment(self, segment: SegmentRow) -> None:
        values = (
            segment.name,
            json.dumps(sorted(segment.labels)),
            json.dumps(dict(segment.files)),
            segment.chunk_rows.astype("<i8").tobytes(),
        )
        self._db.insert(SEGMENTS, [values], "REPLACE")


def _state(row: sqlite3.Row) -> State:
    return State(
        StateId(row["id"]),
        row["created_at"],
        row["model"],
        row["dimension"],
        tuple(json.loads(row["segments"])),
    )


def _segment(row: sqlite3.Row) -> SegmentRow:
    return SegmentRow(
        row["name"], labels_of(row["access"]), unpacked(row["chunk_rows"]), json.loads(row["files"])
    )

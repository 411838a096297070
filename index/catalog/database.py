"""The catalog's own file: its format, how far it has come, its sealed rows and its facts."""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from index.catalog.file import SqliteFile
from index.catalog.migration import FORMER, migrate
from index.catalog.seal import Seal, Value
from index.catalog.tables import (
    FACTS,
    FORMAT,
    TABLES,
    Table,
    expected_schema,
    schema_of,
)
from index.catalog.witness import Witnessed, read_witness, witness_path, write_witness
from index.errors import IndexUnavailable
from index.files import on_disk

BEFORE_ANY = Seal("")
"""Seals the fact that says which catalog this is."""


class Database(SqliteFile):
    """The catalog as tables; raises `IndexUnavailable` where it is damaged or of a format that this
    version does not read.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self.seal = BEFORE_ANY
        if not path.exists():
            if not create:
                raise IndexUnavailable(
                    f"no index at {path.parent}: run `casebook ingest` to build one"
                )
            with on_disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                witness_path(path).unlink(missing_ok=True)  # of one that was moved away
        super().__init__(path)
        with self.faults_named(), ExitStack() as opened:
            opened.callback(self.close)
            self._open(create)
            opened.pop_all()

    def _open(self, create: bool) -> None:
        found = self.format()
        if found == 0:
            self._begin(create)
        elif found != FORMAT and not (create and found in FORMER):
            raise self._of_format(found)
        self.verify_pages()
        if found in FORMER:
            migrate(self, found)
        if schema_of(self._connection) != expected_schema():
            raise self.damaged("its tables are not what they were")
        self.seal = Seal(self.fact("identity"))
        self.verify_witness()
        if create and read_witness(self.path) is None:
            self._note()

    def _begin(self, create: bool) -> None:
        """Make the tables of a file that has none yet."""
        if not create:
            # What is witnessed was written before, so this is no file that another just begins.
            if witness_path(self.path).exists() and self.format() == 0:
                raise self.damaged("it is empty")
            raise IndexUnavailable(
                f"the catalog {self.path} is empty: run `casebook ingest` to build the index, or "
                "restore a snapshot (`casebook index restore`)"
            )
        with self.transaction():
            if self.format() != 0:  # another process has made them meanwhile
                return
            if witness_path(self.path).exists():
                raise self.damaged("it is empty")
            self.make_tables()

    def make_tables(self) -> None:
        """Make the tables of this format with their facts; call it inside a transaction."""
        self.run(TABLES, f"PRAGMA user_version = {FORMAT}")
        identity = uuid.uuid4().hex
        self.insert(FACTS, [("identity", json.dumps(identity))])
        self.seal = Seal(identity)
        self.set_fact("numbers", {"documents": 0, "chunks": 0})
        self.set_fact("current", {"state": None, "number": 0, "left": {}})
        self.set_fact("sources", {})

    def _of_format(self, found: int) -> IndexUnavailable:
        return IndexUnavailable(
            f"{self.path} has format {found}, this version reads {FORMAT}: "
            + (
                "run `casebook ingest`, which brings it up to date without embedding it again"
                if 0 < found < FORMAT
                else "use the version of Casebook that wrote it, or move it away and run `casebook ingest`"
            )
        )

    def verify_witness(self) -> None:
        """Raises `IndexUnavailable` where the catalog is not as far as it had come."""
        seen = read_witness(self.path)  # first: the catalog may go on meanwhile
        if seen is None:
            return
        if seen.identity != self.fact("identity"):
            named = witness_path(self.path).name
            raise self.damaged(f"it is not the one that was here, of which {named} tells")
        if self.fact("current")["number"] < seen.number:
            raise self.damaged(
                f"what was published last is lost from it, or from {self.path.name}-wal"
            )

    def _note(self) -> None:
        write_witness(self.path, Witnessed(self.fact("identity"), self.fact("current")["number"]))

    @contextmanager
    def told(self) -> Iterator[None]:
        """A transaction of which readers are told: it is counted, and witnessed after."""
        with self.lock:
            with self.transaction():
                yield
                current = self.fact("current")
                self.set_fact("current", current | {"number": current["number"] + 1})
            self._note()

    # --- rows -------------------------------------------------------------------------------------

    def sealed(
        self, table: Table, where: str = "", *arguments: object, aside: bool = False
    ) -> list[sqlite3.Row]:
        """The rows of a table, each checked; with the text aside if it is asked for."""
        rows = self.all(f"{selected(table, aside)} {where}", *arguments)
        for row in rows:
            if not self.is_whole(table, row):
                raise self.damaged(f"row {row[0]!r} of its {table.name} is not what was written")
        return rows

    def broken(self, table: Table) -> list[Any]:
        """The keys of all rows of a table that are not what was written."""
        with self.lock, self.faults_named():
            rows = self._connection.execute(selected(table))
            return [row[0] for row in rows if not self.is_whole(table, row)]

    def is_whole(self, table: Table, row: Sequence[Any]) -> bool:
        """Whether a row as `selected` is what was written."""
        count = len(table.columns)
        blob = row[count + 1] if table.blob else b""
        if not isinstance(blob, bytes):
            return False
        return bool(self.seal_of(table, row[:count], blob) == row[count])

    def seal_of(self, table: Table, values: Sequence[Value], blob: bytes) -> int:
        """What a row is to be sealed with."""
        seal = BEFORE_ANY if table is FACTS and values[0] == "identity" else self.seal
        return seal.of(table.name, values, blob)

    def insert(
        self, table: Table, rows: Iterable[Sequence[Value]], otherwise: str = "ABORT"
    ) -> None:
        """Write rows, sealed: the values of the columns, then the blob or the text aside.

        `otherwise` is what SQLite does where a key is taken. Call it inside a transaction.
        """
        count = len(table.columns)
        more = table.blob or table.aside
        names = [*table.columns, "seal", *([more] if more else [])]
        columns = ", ".join(f'"{name}"' for name in names)
        sql = f"INSERT OR {otherwise} INTO {table.name} ({columns}) VALUES ({', '.join('?' * len(names))})"

        def sealed() -> Iterator[tuple[Value, ...]]:
            for row in rows:
                values, rest = tuple(row[:count]), tuple(row[count:])
                blob = rest[0] if table.blob else b""
                assert isinstance(blob, bytes)
                yield (*values, self.seal_of(table, values, blob), *rest)

        with self.lock, self.faults_named():
            self._connection.executemany(sql, sealed())

    # --- facts ------------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """What is noted under a name that is always there."""
        rows = self.sealed(FACTS, "WHERE name = ?", name)
        if not rows:
            raise self.damaged(f"its fact {name!r} is missing")
        return json.loads(rows[0]["value"])

    def set_fact(self, name: str, value: Any) -> None:
        """Note something; call it inside a transaction."""
        self.insert(FACTS, [(name, json.dumps(value, sort_keys=True))], "REPLACE")


def selected(table: Table, aside: bool = False) -> str:
    """The query for a table's rows as they are checked: columns, seal, then bytes or the text aside."""
    more = table.blob or (table.aside if aside else None)
    columns = ", ".join(f'"{name}"' for name in (*table.columns, "seal", *([more] if more else [])))
    return f"SELECT {columns} FROM {table.name}"

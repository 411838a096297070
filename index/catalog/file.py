"""A SQLite file: its queries and transactions, its faults by name."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from index.catalog.tables import statements
from index.errors import IndexUnavailable
from index.files import is_of_the_disk, on_disk, read_through, storage_failed

NOT_NOW = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT}
"""SQLite's primary result codes that tell of what others do."""


class SqliteFile:
    """One SQLite file, shared between threads; raises `IndexUnavailable` where it is damaged and
    `StorageFailed` where the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        with self.faults_named(), ExitStack() as opened:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            opened.callback(self._connection.close)
            self._connection.row_factory = sqlite3.Row
            # WAL lets readers go on while a writer publishes; FULL makes the publish survive power loss.
            for pragma in ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL"):
                self._connection.execute(f"PRAGMA {pragma}")
            opened.pop_all()

    def close(self) -> None:
        """Close the file; it can't be used after."""
        self._connection.close()

    def copy_to(self, path: Path) -> None:
        """Write a copy as of one moment (SQLite's backup in one step), over what is at `path`."""
        try:
            with (
                closing(sqlite3.connect(self.path, timeout=10)) as source,
                closing(sqlite3.connect(path)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as error:
            raise IndexUnavailable(
                f"the catalog {self.path} can't be copied to {path} ({error})"
            ) from error

    def format(self) -> int:
        """The format that the file says it has."""
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def verify_pages(self) -> None:
        """Raises `IndexUnavailable` where SQLite's quick check finds a fault."""
        if self._quick_check() == "ok":
            return
        with on_disk(self.path):  # the check takes what the disk does not read for damage
            read_through(self.path)
        if (verdict := self._quick_check()) != "ok":
            raise self.damaged(verdict)

    def _quick_check(self) -> str:
        return str(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0])

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, by its own integrity check."""
        return [row[0] for row in self.all("PRAGMA integrity_check") if row[0] != "ok"]

    # --- queries ----------------------------------------------------------------------------------

    def all(self, sql: str, *arguments: object) -> list[sqlite3.Row]:
        """The rows of a query, as they are."""
        with self.lock, self.faults_named():
            return self._connection.execute(sql, arguments).fetchall()

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        """Change something; call it inside a transaction."""
        with self.lock, self.faults_named():
            return self._connection.execute(sql, arguments)

    def run(self, *scripts: str) -> None:
        """Run the statements of scripts; call it inside a transaction."""
        for script in scripts:
            for statement in statements(script):
                self.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        with self.lock:
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:  # an interruption, too, must leave nothing half written
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """Take back what is open; SQLite has done so itself after some faults of the disk."""
        if self._connection.in_transaction:
            with suppress(sqlite3.OperationalError):
                self._connection.execute("ROLLBACK")

    # --- faults -----------------------------------------------------------------------------------

    def damaged(self, error: object) -> IndexUnavailable:
        """The error that tells a person what to do about a fault in the file."""
        return IndexUnavailable(
            f"the catalog {self.path} is damaged ({error}): restore a snapshot "
            "(`casebook index restore`), or move it away and run `casebook ingest` to build it again"
        )

    @contextmanager
    def faults_named(self) -> Iterator[None]:
        """Faults of the disk are `StorageFailed`, damage and a lock that is not let go `IndexUnavailable`."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise self._named(error) from error

    def _named(self, error: OSError | sqlite3.Error) -> Exception:
        if is_of_the_disk(error):
            return storage_failed(self.path, error)
        if isinstance(error, sqlite3.ProgrammingError):
            return error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in NOT_NOW:
            return IndexUnavailable(
                f"the catalog {self.path} can't be used now ({error}): try again"
            )
        return self.damaged(error)

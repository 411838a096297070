"""The file of the ledger: its tables, and transactions on it that threads and processes can share."""

import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from assistant.gateway.errors import GatewayError

log = logging.getLogger("casebook.gateway")

BUSY_SECONDS = 5.0
"""How long a transaction waits for those of other processes, each of which takes well below 1 ms."""

FORMAT = 1
TABLES = f"""
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, call_id TEXT NOT NULL, at TEXT NOT NULL, day TEXT NOT NULL,
    key TEXT NOT NULL, team TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL,
    last INTEGER NOT NULL, input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER,
    cost INTEGER, estimated INTEGER NOT NULL, first_token_ms REAL, latency_ms REAL);
CREATE INDEX calls_by_call ON calls (call_id);
CREATE TABLE counters (
    day TEXT NOT NULL, per TEXT NOT NULL, name TEXT NOT NULL, requests INTEGER NOT NULL,
    from_cache INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, cost INTEGER NOT NULL, failures INTEGER NOT NULL,
    PRIMARY KEY (day, per, name)) WITHOUT ROWID;
CREATE TABLE reservations (
    call_id TEXT PRIMARY KEY, at TEXT NOT NULL, day TEXT NOT NULL, key TEXT NOT NULL,
    team TEXT NOT NULL, tokens INTEGER NOT NULL, cost INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alerts (
    day TEXT NOT NULL, per TEXT NOT NULL, name TEXT NOT NULL, budget TEXT NOT NULL,
    at REAL NOT NULL, used TEXT NOT NULL, most TEXT NOT NULL, tried_at TEXT, delivered_at TEXT,
    PRIMARY KEY (day, per, name, budget, at)) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
"""


class LedgerUnavailable(GatewayError):
    """The ledger can't be read or written, and without it no model is asked: nothing is spent that is
    not accounted for. `str(error)` is fit for users; `__cause__` and the log say the rest.
    """

    status = 503
    title = "The log of calls is unavailable"


class LedgerFile:
    """One SQLite file in WAL mode, made at the first write, which only its owner can read.

    One connection writes, under a lock that the threads of this process share; every reader gets
    a connection of its own, and sees one state of the file for as long as it reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other one overlaps; undone as a whole where an exception leaves it."""
        with self._lock, self._told():
            if self._writer is None:
                self._make()
                self._writer = self._connect("rw")
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One state of the file to read; that of an empty one where there is no file yet."""
        with self._told():
            if self.path.exists():
                db = self._connect("rw")  # a reader of a WAL may have to write its index
            else:
                db = sqlite3.connect(":memory:", isolation_level=None)
                db.row_factory = sqlite3.Row
                db.executescript(TABLES)
            with closing(db):
                db.execute("BEGIN")
                yield db

    def close(self) -> None:
        """Close the file; the next transaction opens it again."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(
            address, BUSY_SECONDS, uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = NORMAL")
            if (found := db.execute("PRAGMA user_version").fetchone()[0]) != FORMAT:
                raise LedgerUnavailable(
                    f"the log of calls has format {found}, this version reads {FORMAT}: use the "
                    "version of Casebook that made it, or move the file away"
                )
        except BaseException:  # an interruption, too, must not leave it open
            db.close()
            raise
        return db

    def _make(self) -> None:
        """Put a whole, empty file in place, which no other user could ever read."""
        if self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=self.path.parent, prefix=".usage-")  # mode 0600
        os.close(handle)
        try:
            with closing(sqlite3.connect(made, isolation_level=None)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.executescript(f"BEGIN; {TABLES} COMMIT;")
            with suppress(FileExistsError):  # another process was first: its file stays
                os.link(made, self.path)
        finally:
            os.unlink(made)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            log.error("the log of calls %s can't be used: %s", self.path, error)
            raise LedgerUnavailable(
                "what models use can't be recorded now, so none is asked: the operator finds the "
                "reason in the log"
            ) from error

"""API keys: made, listed and revoked in one SQLite file, which holds hashes and never a key.

What is stored is the SHA-256 of the whole key. A slow hash (bcrypt, Argon2) protects passwords,
which people choose from few; against 256 random bits nobody can try enough, however fast each try
is, and a slow hash would only make every request slow.

Each call opens the file anew, 0.3 ms: so a revocation or another file in its place counts at once,
and nothing is shared between threads or processes. A file that is not there holds no keys.
"""

import hashlib
import hmac
import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from assistant.access.caller import Refused, SignInUnavailable
from assistant.access.secret import id_of, new_secret
from index.errors import InvalidInput, NotFound
from index.schema import Labels

log = logging.getLogger("casebook.access")

SEEN_AT_MOST_EVERY = timedelta(minutes=1)
"""`last_used_at` is for people who ask which keys are idle: to write it more often gains nothing."""

MAX_NAME = 100

KINDS = ("anonymous", "oidc", "local")
"""Of callers without a key, whose use is accounted for under `kind:name`."""

FORMAT = 2
"""Format 1 had no teams. It is read as it is, and becomes format 2 when the next key is made: a file
that can only be read still opens, and so does a version of Casebook that is being replaced."""

TABLES = f"""
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, administrator INTEGER NOT NULL,
    sha256 BLOB NOT NULL, created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT,
    last_used_at TEXT, team TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX live_names ON keys (name) WHERE revoked_at IS NULL;
PRAGMA user_version = {FORMAT};
"""


@dataclass(frozen=True)
class Key:
    """What is kept of a key; times in UTC, to the second. `team` is empty for none."""

    id: str
    name: str
    labels: Labels
    administrator: bool
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    team: str = ""

    def state(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """Whether the key opens anything now, and if not, why."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else "active"


@dataclass(frozen=True)
class NewKey:
    """A key just made: the only time that its secret is known."""

    secret: str = field(repr=False)
    record: Key


def utc_now() -> datetime:
    """The time of the system's clock."""
    return datetime.now(UTC)


class KeyStore:
    """The keys in one file, which only its owner can read.

    Raises `SignInUnavailable` where the file is damaged or can't be opened.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self.now = now

    def create(
        self,
        name: str,
        labels: Iterable[str],
        administrator: bool = False,
        expires_at: datetime | None = None,
        team: str = "",
    ) -> NewKey:
        """Make a key; raises `InvalidInput` for a name that is taken, or a label or team that can't be."""
        now = self.now().replace(microsecond=0)
        key_id, secret = new_secret()
        ends = expires_at and expires_at.astimezone(UTC).replace(microsecond=0)
        key = Key(key_id, name, frozenset(labels), administrator, now, ends, team=team)
        _check(key)
        self._make_file()
        with self._open() as db:
            _migrate(db)
            try:
                db.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
                    (
                        key.id,
                        key.name,
                        json.dumps(sorted(key.labels)),
                        key.administrator,
                        hashlib.sha256(secret.encode()).digest(),
                        _text(now),
                        ends and _text(ends),
                        key.team,
                    ),
                )
            except sqlite3.IntegrityError:
                raise InvalidInput(
                    f"there is a key named {name!r}: choose another name, or revoke that one with "
                    f"`casebook keys revoke {name}`"
                ) from None
        return NewKey(secret, key)

    def list(self) -> tuple[Key, ...]:
        """Every key ever made, oldest first."""
        return self._keys("ORDER BY created_at, rowid")

    def revoke(self, id_or_name: str) -> Key:
        """Revoke a key from the next request on; raises `NotFound`. A revoked one stays so."""
        found = self._keys("WHERE id = ?", id_or_name) or self._keys(
            "WHERE name = ? ORDER BY revoked_at IS NOT NULL, revoked_at DESC", id_or_name
        )
        if not found:
            raise NotFound(f"no key {id_or_name!r}: see `casebook keys list`")
        with self._open() as db:
            db.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (_text(self.now()), found[0].id),
            )
        return self._keys("WHERE id = ?", found[0].id)[0]

    def any_active(self) -> bool:
        """Whether there is a key that someone could sign in with."""
        now = self.now()
        return any(key.state(now) == "active" for key in self.list())

    def find(self, secret: str) -> Key:
        """The key that this is; raises `Refused`, which says why not and never repeats it."""
        key_id = id_of(secret)
        if not self.path.exists():
            raise Refused(f"key {key_id} is unknown")
        with self._open() as db:
            row = db.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
            digest = hashlib.sha256(secret.encode()).digest()
            if not hmac.compare_digest(digest, row["sha256"] if row else bytes(len(digest))):
                raise Refused(f"key {key_id} is unknown")
            key = _key(row)
            now = self.now()
            if (state := key.state(now)) != "active":
                raise Refused(f"key {key_id} ({key.name!r}) is {state}")
            _note_use(db, key, now)
        return key

    def _keys(self, which: str, *arguments: str) -> tuple[Key, ...]:
        if not self.path.exists():
            return ()
        with self._open() as db:
            rows = db.execute(f"SELECT * FROM keys {which}", arguments).fetchall()
        return tuple(map(_key, rows))

    def _make_file(self) -> None:
        """Put a whole, empty file in place, which no other user could ever read."""
        if self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, made = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")  # mode 0600
            os.close(handle)
            try:
                with closing(sqlite3.connect(made, isolation_level=None)) as db:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.executescript(TABLES)
                with suppress(FileExistsError):  # another process was first: its file stays
                    os.link(made, self.path)
            finally:
                os.unlink(made)
        except OSError as error:
            raise SignInUnavailable(
                f"the keys {self.path} can't be made: {error.strerror or error}"
            ) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call; its journal gets the mode of the file."""
        address = f"{self.path.absolute().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                if (found := _format(db)) not in (1, FORMAT):
                    raise SignInUnavailable(
                        f"the keys {self.path} have format {found}, this version reads {FORMAT}: "
                        "use the version of Casebook that made them, or move the file away"
                    )
                yield db
        except sqlite3.OperationalError as error:  # locked, not ours to open, out of space
            raise SignInUnavailable(
                f"the keys {self.path} can't be used now ({error}): try again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise SignInUnavailable(
                f"the keys {self.path} are damaged ({error}): move the file away and make the keys "
                "again; an older copy would bring back keys that were revoked since"
            ) from error


def _check(key: Key) -> None:
    if not key.name.strip() or not key.name.isprintable() or len(key.name) > MAX_NAME:
        raise InvalidInput(
            f"{key.name!r} can't name a key: give 1 to {MAX_NAME} characters without line breaks"
        )
    if key.name.partition(":")[0] in KINDS:
        raise InvalidInput(
            f"{key.name!r} would be taken for a caller without a key: choose a name that does not "
            f"begin with {', '.join(f'{kind}:' for kind in KINDS)}"
        )
    for label in sorted(key.labels):
        if not _one_name(label):
            raise InvalidInput(f"{label!r} is no access label: name one label at a time")
    if key.team and (not _one_name(key.team) or len(key.team) > MAX_NAME):
        raise InvalidInput(
            f"{key.team!r} can't name a team: give 1 to {MAX_NAME} characters without commas"
        )
    if not key.labels and not key.administrator:
        raise InvalidInput(
            f"key {key.name!r} would open nothing: give it labels with --access, or --admin"
        )
    if key.expires_at and key.expires_at <= key.created_at:
        raise InvalidInput(f"key {key.name!r} would have expired at {_text(key.expires_at)}")


def _one_name(text: str) -> bool:
    return bool(text) and text == text.strip() and "," not in text and text.isprintable()


def _format(db: sqlite3.Connection) -> int:
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found


def _migrate(db: sqlite3.Connection) -> None:
    """Make a file of format 1 one of format 2, with all that is in it, unless another process just did."""
    if _format(db) == FORMAT:
        return
    db.execute("BEGIN IMMEDIATE")
    if _format(db) == 1:
        db.execute("ALTER TABLE keys ADD COLUMN team TEXT NOT NULL DEFAULT ''")
        db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def _note_use(db: sqlite3.Connection, key: Key, now: datetime) -> None:
    if key.last_used_at and now - key.last_used_at < SEEN_AT_MOST_EVERY:
        return
    try:
        db.execute("PRAGMA busy_timeout = 0")  # no request waits for this
        db.execute(
            "UPDATE keys SET last_used_at = ? "
            "WHERE id = ? AND (last_used_at IS NULL OR last_used_at <= ?)",
            (_text(now), key.id, _text(now - SEEN_AT_MOST_EVERY)),
        )
    except sqlite3.OperationalError as error:  # a full disk or a busy writer locks nobody out
        log.warning("the use of key %s was not noted: %s", key.id, error)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _key(row: sqlite3.Row) -> Key:
    return Key(
        id=row["id"],
        name=row["name"],
        labels=frozenset(json.loads(row["labels"])),
        administrator=bool(row["administrator"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=_time(row["expires_at"]),
        revoked_at=_time(row["revoked_at"]),
        last_used_at=_time(row["last_used_at"]),
        team=row["team"] if "team" in row.keys() else "",  # noqa: SIM118 - a Row is no mapping
    )

"""API keys: made once, told apart when they fail, gone when revoked; and what a caller may read."""

import hashlib
import hmac
import logging
import multiprocessing
import socket
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.access.authenticate import Authenticator, check_bind
from assistant.access.caller import (
    LOCAL,
    Caller,
    Refused,
    SignInUnavailable,
    Unauthorized,
    anonymous,
)
from assistant.access.keys import KeyStore, NewKey
from assistant.access.secret import id_of, new_secret
from index.errors import InvalidInput, NotFound

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANONYMOUS = anonymous(["public"])
LABELS = st.frozensets(st.sampled_from("public sre platform finance legal".split()))


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = BEGIN

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, **time: float) -> None:
        self.time += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> KeyStore:
    return KeyStore(tmp_path / "new folder" / "keys.sqlite", clock)


def reason(store: KeyStore, secret: str) -> str:
    with pytest.raises(Refused) as refused:
        store.find(secret)
    return str(refused.value)


def signed_in(store: KeyStore, secret: str) -> Caller:
    return Authenticator(store, None, ANONYMOUS).caller(f"Bearer {secret}")


# --- callers ----------------------------------------------------------------------------------


@given(LABELS, LABELS, st.booleans())
def test_a_caller_reads_what_shares_a_label_and_an_administrator_everything(
    own: frozenset[str], document: frozenset[str], administrator: bool
) -> None:
    caller = Caller("a", own, administrator, "key")
    assert caller.may_read(document) == (administrator or bool(own & document))
    assert caller.shown(document) == (document if administrator else own & document)


def test_without_a_label_a_document_is_for_administrators() -> None:
    assert not anonymous(["public"]).may_read(frozenset())
    assert not anonymous([]).may_read(frozenset())
    assert LOCAL.may_read(frozenset())


# --- the life of a key ------------------------------------------------------------------------


def test_a_key_is_found_by_another_store_on_the_same_file(store: KeyStore) -> None:
    made = store.create("ci", ["sre", "platform"])
    found = KeyStore(store.path, store.now).find(made.secret)
    assert (found.id, found.name, found.labels) == (made.record.id, "ci", {"sre", "platform"})
    assert not found.administrator


def test_revocation_counts_at_once_in_another_store(store: KeyStore, clock: Clock) -> None:
    made, other = store.create("ci", ["sre"]), KeyStore(store.path, clock)
    other.find(made.secret)
    clock.pass_(hours=1)
    assert store.revoke("ci").revoked_at == clock.time
    assert reason(other, made.secret) == f"key {made.record.id} ('ci') is revoked"
    clock.pass_(hours=1)
    assert store.revoke(made.record.id).revoked_at == BEGIN + timedelta(hours=1)


def test_a_key_ends_at_its_second(store: KeyStore, clock: Clock) -> None:
    made = store.create("ci", ["sre"], expires_at=BEGIN + timedelta(days=1, microseconds=7))
    assert made.record.expires_at == BEGIN + timedelta(days=1)
    clock.pass_(days=1, seconds=-1)
    assert store.find(made.secret).name == "ci"
    assert store.any_active()
    clock.pass_(seconds=1)
    assert reason(store, made.secret).endswith("is expired")
    assert not store.any_active()


def test_a_stranger_and_a_typo_are_told_apart_from_each_other(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    assert reason(store, new_secret()[1]).endswith("is unknown")
    for wrong in (made.secret[:-1], made.secret + "0", made.secret.upper(), made.secret + "\n", ""):
        assert reason(store, wrong) == "the key is malformed: mistyped or cut off"
    place = made.secret.index("_", 4) + 5
    typo = made.secret[:place] + ("a" if made.secret[place] != "a" else "b")
    assert "malformed" in reason(store, typo + made.secret[place + 1 :])


def test_the_id_of_a_key_opens_nothing_with_another_secret(store: KeyStore) -> None:
    made, (other_id, other) = store.create("ci", ["sre"]), new_secret()
    with sqlite3.connect(store.path) as db:  # the id of the other, and still the hash of the first
        db.execute("UPDATE keys SET id = ?", (other_id,))
    assert "unknown" in reason(store, other)
    assert "unknown" in reason(store, made.secret)


def test_hashes_are_compared_in_constant_time(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compared = store.create("ci", ["sre"]), []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    store.find(made.secret)
    reason(store, new_secret()[1])
    assert len(compared) == 2
    assert compared[0][0] == hashlib.sha256(made.secret.encode()).digest()


def test_use_is_noted_at_most_once_a_minute(store: KeyStore, clock: Clock) -> None:
    made = store.create("ci", ["sre"])
    used = []
    for _ in range(5):
        store.find(made.secret)
        used.append(store.list()[0].last_used_at)
        clock.pass_(seconds=25)
    seconds = [(time - BEGIN).total_seconds() for time in used if time]
    assert seconds == [0, 0, 0, 75, 75]


def test_a_key_opens_though_its_use_can_not_be_noted(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    with closing(sqlite3.connect(store.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert store.find(made.secret).name == "ci"
    assert store.list()[0].last_used_at is None


def test_a_name_is_free_again_after_revocation(store: KeyStore) -> None:
    first = store.create("ci", ["sre"])
    with pytest.raises(InvalidInput, match="there is a key named 'ci'"):
        store.create("ci", ["sre"])
    store.revoke("ci")
    second = store.create("ci", ["sre"])
    assert store.revoke("ci").id == second.record.id != first.record.id
    assert [key.state(BEGIN) for key in store.list()] == ["revoked", "revoked"]
    with pytest.raises(NotFound, match="no key 'nobody'"):
        store.revoke("nobody")


@pytest.mark.parametrize(
    ("name", "labels", "days", "message"),
    [
        ("", ["sre"], None, "can't name a key"),
        ("a\nb", ["sre"], None, "can't name a key"),
        ("a" * 101, ["sre"], None, "can't name a key"),
        ("ci", [], None, "would open nothing"),
        ("ci", ["sre,platform"], None, "name one label at a time"),
        ("ci", [" sre"], None, "no access label"),
        ("ci", ["sre"], 0, "would have expired"),
    ],
)
def test_a_key_that_could_not_work_is_refused(
    store: KeyStore, name: str, labels: list[str], days: int | None, message: str
) -> None:
    ends = None if days is None else BEGIN + timedelta(days=days)
    with pytest.raises(InvalidInput, match=message):
        store.create(name, labels, expires_at=ends)
    assert not store.path.exists()


@pytest.mark.parametrize("team", [" ", " sre", "a,b", "a\nb", "\x1b[2J", "a" * 101])
def test_a_team_is_one_name(store: KeyStore, team: str) -> None:
    with pytest.raises(InvalidInput, match="can't name a team"):
        store.create("ci", ["sre"], team=team)
    assert not store.path.exists()


# --- the file ---------------------------------------------------------------------------------


def test_only_the_owner_reads_the_file_and_its_journal(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.execute("BEGIN IMMEDIATE")  # keeps the journal there to be looked at
        files = list(store.path.parent.iterdir())
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        held = b"".join(file.read_bytes() for file in files)
    assert made.secret.encode() not in held
    assert made.secret.split("_")[2].encode() not in held


def test_no_file_means_no_keys_and_asking_makes_none(store: KeyStore) -> None:
    assert store.list() == ()
    assert not store.any_active()
    assert "unknown" in reason(store, new_secret()[1])
    assert not store.path.exists()


def test_another_file_in_its_place_counts_at_once(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    store.find(made.secret)
    store.path.unlink()
    assert "unknown" in reason(store, made.secret)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_damaged_file_locks_out_and_is_named(store: KeyStore, content: bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    with pytest.raises(SignInUnavailable, match=r"keys\.sqlite"):
        signed_in(store, new_secret()[1])


def _make_five(path: Path, who: str) -> list[str]:
    return [KeyStore(path).create(f"{who}-{number}", ["sre"]).secret for number in range(5)]


def test_threads_and_processes_make_keys_together(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as processes, ThreadPoolExecutor(4) as threads:
        made = [processes.apply_async(_make_five, (path, f"process-{i}")) for i in range(2)]
        here = threads.map(lambda who: _make_five(path, who), "abcd")
        keys = [key for keys in (*here, *(each.get(30) for each in made)) for key in keys]
    store = KeyStore(path)
    assert len({store.find(key).id for key in keys}) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["keys.sqlite"]


FORMAT_1 = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, administrator INTEGER NOT NULL,
    sha256 BLOB NOT NULL, created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT,
    last_used_at TEXT);
CREATE UNIQUE INDEX live_names ON keys (name) WHERE revoked_at IS NULL;
PRAGMA user_version = 1;
"""


def _older(store: KeyStore) -> tuple[NewKey, NewKey]:
    """A store as the version before teams left it: a key that holds and a revoked one."""
    holds, revoked = store.create("ci", ["sre"]), store.create("old", [], administrator=True)
    store.revoke("old")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        rows = db.execute("SELECT * FROM keys").fetchall()
        db.executescript(f"DROP TABLE keys; {FORMAT_1}")
        db.executemany(f"INSERT INTO keys VALUES (?{', ?' * 8})", [row[:9] for row in rows])
    return holds, revoked


def test_keys_of_the_format_before_teams_are_all_kept(store: KeyStore, clock: Clock) -> None:
    holds, revoked = _older(store)
    before = store.list()
    assert before[0] == holds.record
    assert store.find(holds.secret).team == ""
    assert reason(store, revoked.secret).endswith("is revoked")
    clock.pass_(seconds=1)
    made = store.create("ada", ["sre"], team="sre")
    assert store.list()[1:] == (before[1], made.record)
    assert store.find(holds.secret).labels == {"sre"}
    assert reason(store, revoked.secret).endswith("is revoked")
    assert store.revoke("ci").revoked_at == clock.time
    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_of_the_format_before_teams_opens_though_it_can_only_be_read(
    store: KeyStore,
) -> None:
    holds, _ = _older(store)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert store.find(holds.secret).name == "ci"


def test_many_at_once_change_the_format_once(store: KeyStore) -> None:
    _older(store)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.create(f"k{n}", ["sre"], team="sre"), range(8)))
    assert len(store.list()) == 10


# --- secrets stay secret ----------------------------------------------------------------------


def test_every_new_key_is_well_formed_and_like_no_other() -> None:
    made = [new_secret() for _ in range(200)]
    assert [id_of(secret) for _, secret in made] == [key_id for key_id, _ in made]
    assert len({secret for _, secret in made}) == 200
    assert all(len(secret) == 62 for _, secret in made)


def test_no_secret_in_reprs_logs_or_errors(
    store: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made: NewKey = store.create("ci", ["sre"])
    secret = made.secret.split("_")[2]
    assert secret not in repr(made)
    assert secret not in repr(made.record)
    assert secret not in reason(store, made.secret[:-1])
    store.revoke("ci")
    with pytest.raises(Unauthorized) as error:
        signed_in(store, made.secret)
    assert "is revoked" in caplog.text
    assert secret not in caplog.text + str(error.value) + repr(error.value)


# --- signing in -------------------------------------------------------------------------------


def test_a_key_signs_in_and_reads_what_anyone_reads_too(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    caller = signed_in(store, made.secret)
    assert caller == Caller("ci", frozenset({"sre", "public"}), False, "key")
    assert caller.team == ""
    root = store.create("root", [], administrator=True, team="leads")
    assert signed_in(store, root.secret).administrator
    assert signed_in(store, root.secret).team == "leads"


def test_only_no_header_at_all_is_anonymous(store: KeyStore) -> None:
    made = store.create("ci", ["sre"])
    authenticator = Authenticator(store, None, ANONYMOUS)
    assert authenticator.caller(None) is ANONYMOUS
    assert authenticator.caller(f"bEARER  {made.secret} ").name == "ci"
    for header in (
        "",
        "Bearer",
        "Bearer ",
        made.secret,
        f"Basic {made.secret}",
        f"Bearer {made.secret}, Bearer {made.secret}",
        f"Bearer {made.secret} x",
        f"Bearer {made.secret}\n",
        f"Bearer\t{made.secret}",
        "Bearer éééé",
        "Bearer not.a.key",
    ):
        with pytest.raises(Unauthorized):
            authenticator.caller(header)


def test_every_refusal_reads_alike_to_the_client(store: KeyStore, clock: Clock) -> None:
    ended = store.create("a", ["sre"], expires_at=BEGIN + timedelta(days=1)).secret
    revoked = store.create("b", ["sre"]).secret
    clock.pass_(days=2)
    store.revoke("b")
    messages = set()
    for secret in (ended, revoked, new_secret()[1], revoked[:-1], "cbk_", "ey.ey.x"):
        with pytest.raises(Unauthorized) as error:
            signed_in(store, secret)
        messages.add((str(error.value), error.value.headers["WWW-Authenticate"]))
    assert len(messages) == 1
    assert messages.pop()[1] == 'Bearer realm="casebook", error="invalid_token"'


# --- where the service may be reached ---------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "::ffff:127.0.0.1", "127.1"]
)
def test_this_machine_alone_needs_no_sign_in(host: str) -> None:
    check_bind(host, Authenticator(None, None, ANONYMOUS))


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "0", "192.0.2.7", "::ffff:192.0.2.7", "no-such-host.invalid"]
)
def test_others_are_let_near_only_when_someone_can_sign_in(store: KeyStore, host: str) -> None:
    authenticator = Authenticator(store, None, ANONYMOUS)
    with pytest.raises(InvalidInput, match="casebook keys create"):
        check_bind(host, authenticator)
    store.create("ci", ["sre"])
    check_bind(host, authenticator)
    store.revoke("ci")
    with pytest.raises(InvalidInput):
        check_bind(host, authenticator)


def test_a_name_that_is_also_another_machine_is_not_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(2, 1, 6, "", (address, 0)) for address in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InvalidInput):
        check_bind("both.example", Authenticator(None, None, ANONYMOUS))


def test_a_key_can_not_be_taken_for_a_caller_without_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not begin with"):
        KeyStore(tmp_path / "keys.sqlite").create("oidc:alice", ["public"])

"""`casebook keys …` as a person uses it."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistant.access.commands import keys_group
from assistant.access.keys import KeyStore
from index.errors import InvalidInput, NotFound

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite", lambda: BEGIN)


def run(store: KeyStore, *arguments: str) -> Result:
    result = CliRunner().invoke(keys_group(lambda: store), arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_new_key_stands_on_a_line_of_its_own_and_works(store: KeyStore) -> None:
    made = run(store, "create", "ci", "--access", "sre", "--access", "platform", "--expires", "90d")
    key = store.find(made.stdout.splitlines()[-1])
    assert key.labels == {"sre", "platform"}
    assert key.expires_at == BEGIN + timedelta(days=90)
    assert made.stdout.count("cbk_") == 1
    assert "shown only now" in made.stdout
    assert "reads platform, sre until 2026-05-30 12:00 UTC" in made.stdout


def test_json_holds_the_new_key_and_its_record(store: KeyStore) -> None:
    made = json.loads(run(store, "create", "root", "--admin", "--json").stdout)
    assert store.find(made.pop("key")).administrator
    assert re.fullmatch("[0-9a-z]{8}", made.pop("id"))
    assert made == {
        "name": "root",
        "labels": [],
        "administrator": True,
        "created_at": "2026-03-01T12:00:00+00:00",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "team": "",
        "state": "active",
    }


def test_a_key_of_a_team_says_so_in_the_list(store: KeyStore) -> None:
    made = run(store, "create", "ci", "--access", "sre", "--team", "Site reliability")
    assert store.find(made.stdout.splitlines()[-1]).team == "Site reliability"
    assert json.loads(run(store, "list", "--json").stdout)[0]["team"] == "Site reliability"
    shown = run(store, "list").stdout
    assert re.split("  +", shown.splitlines()[1])[1:4] == ["ci", "Site reliability", "active"]


def test_the_list_names_keys_and_never_shows_them(store: KeyStore) -> None:
    assert "no keys" in run(store, "list").stdout
    assert run(store, "list", "--json").stdout == "[]\n"
    key = run(store, "create", "ci", "--access", "sre").stdout.splitlines()[-1]
    run(store, "create", "root", "--admin")
    store.find(key)
    run(store, "revoke", "ci")
    shown = run(store, "list").stdout
    assert [re.split("  +", line)[1:] for line in shown.splitlines()] == [
        ["name", "team", "state", "reads", "expires", "last used"],
        ["ci", "none", "revoked", "sre", "never", "2026-03-01 12:00"],
        ["root", "none", "active", "everything", "never", "never"],
    ]
    listed = run(store, "list", "--json").stdout
    assert [each["state"] for each in json.loads(listed)] == ["revoked", "active"]
    assert "cbk_" not in shown + listed


def test_a_key_is_revoked_by_its_name_or_its_id(store: KeyStore) -> None:
    for name in ("one", "two"):
        run(store, "create", name, "--access", "sre")
    second = store.list()[1].id
    assert "Key 'one'" in run(store, "revoke", "one").stdout
    assert json.loads(run(store, "revoke", second, "--json").stdout)["state"] == "revoked"
    assert not store.any_active()
    with pytest.raises(NotFound):
        run(store, "revoke", "three")


@pytest.mark.parametrize("time", ["", "90", "0d", "-1d", "1y", "1.5d", "100000d", "٣d"])
def test_a_time_that_is_none_is_refused(store: KeyStore, time: str) -> None:
    with pytest.raises(InvalidInput, match="90d"):
        run(store, "create", "ci", "--access", "sre", f"--expires={time}")
    assert store.list() == ()

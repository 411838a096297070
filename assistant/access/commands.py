"""`casebook keys`: make, list and revoke API keys."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from assistant.access.keys import Key, KeyStore
from index.errors import InvalidInput

UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def keys_group(store: Callable[[], KeyStore]) -> click.Group:
    """The commands over the keys that `store` opens, which is called when a command runs."""

    @click.group()
    def keys() -> None:
        """Make, list and revoke API keys."""

    json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

    @keys.command()
    @click.argument("name")
    @click.option(
        "--access", "labels", multiple=True, metavar="LABEL", help="May read this: give several."
    )
    @click.option("--admin", is_flag=True, help="May read and do everything.")
    @click.option("--team", default="", help="Whose budget its questions count against [none].")
    @click.option("--expires", metavar="TIME", help="Ends after 12h, 90d or 8w [never].")
    @json_option
    def create(
        name: str,
        labels: tuple[str, ...],
        admin: bool,
        team: str,
        expires: str | None,
        as_json: bool,
    ) -> None:
        """Make a key called NAME and show it, this once."""
        opened = store()
        ends = None if expires is None else opened.now() + _duration(expires)
        made = opened.create(name, labels, admin, ends, team)
        if as_json:
            click.echo(json.dumps({"key": made.secret, **_view(made.record, opened)}))
            return
        click.echo(f"Key {name!r} ({made.record.id}) {_opens(made.record)}.")
        click.echo("It is shown only now, so keep it where you keep secrets:\n")
        click.echo(made.secret)

    @keys.command(name="list")
    @json_option
    def show(as_json: bool) -> None:
        """Show the keys there are and were, never the keys themselves."""
        opened = store()
        found = opened.list()
        if as_json:
            click.echo(json.dumps([_view(key, opened) for key in found]))
        elif not found:
            click.echo("no keys: make one with `casebook keys create NAME --access LABEL`")
        else:
            _show_table(found, opened)

    @keys.command()
    @click.argument("name_or_id")
    @json_option
    def revoke(name_or_id: str, as_json: bool) -> None:
        """Revoke a key: it opens nothing from the next request on."""
        opened = store()
        key = opened.revoke(name_or_id)
        if as_json:
            click.echo(json.dumps(_view(key, opened)))
        else:
            click.echo(f"Key {key.name!r} ({key.id}) is revoked.")

    return keys


def _duration(text: str) -> timedelta:
    shaped = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text, re.ASCII)
    if not shaped:
        raise InvalidInput(f"--expires {text!r} is no time: give hours, days or weeks, like 90d")
    return timedelta(**{UNITS[shaped[2]]: int(shaped[1])})


def _opens(key: Key) -> str:
    what = "reads and does everything" if key.administrator else f"reads {_labels(key)}"
    return f"{what} until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else what


def _labels(key: Key) -> str:
    return ", ".join(sorted(key.labels))


def _view(key: Key, store: KeyStore) -> dict[str, Any]:
    """A key as JSON-able values."""
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    view = asdict(key) | {name: _iso(getattr(key, name)) for name in times}
    return view | {"labels": sorted(key.labels), "state": key.state(store.now())}


def _iso(time: Any) -> str | None:
    return time.isoformat() if time else None


def _show_table(keys: tuple[Key, ...], store: KeyStore) -> None:
    rows = [("id", "name", "team", "state", "reads", "expires", "last used")]
    for key in keys:
        reads = "everything" if key.administrator else _labels(key)
        expires = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never"
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        team = key.team or "none"
        rows.append((key.id, key.name, team, key.state(store.now()), reads, expires, used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())

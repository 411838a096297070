"""Rows of a catalog written again with seals that fit, as if that had been so from the first."""

from collections.abc import Callable
from typing import Any

from index.catalog import Catalog
from index.catalog.database import selected
from index.catalog.tables import STATES, Table

Row = dict[str, Any]


def rewrite(catalog: Catalog, table: Table, change: Callable[[Row], Row]) -> None:
    """Change every row of a table."""
    database = catalog._db
    names = [*table.columns, *filter(None, [table.blob, table.aside])]
    with database.transaction():
        rows = database.all(selected(table, aside=True))
        changed = [change(dict(row)) for row in rows]
        database.insert(table, [[row[name] for name in names] for row in changed], "REPLACE")


def age_states(catalog: Catalog) -> None:
    """Let every state be so old that the next publish drops those it may."""
    rewrite(
        catalog, STATES, lambda row: row | {"created_at": f"2026-01-01{row['created_at'][10:]}"}
    )
    database = catalog._db
    with database.transaction():
        database.set_fact("current", database.fact("current") | {"left": {}})

"""The catalog: copies, states that are kept, and which of them is current."""

from pathlib import Path

import pytest

from index.catalog import Catalog
from index.errors import NotFound
from index.schema import StateId
from index.store import catalog_path
from tests.conftest import World


@pytest.fixture
def catalog(world: World) -> Catalog:
    for fact in ("quarter", "week"):
        world.write("restore.md", f"# Restore\n\nRun the restore drill every {fact}.\n")
        world.ingest()
    return Catalog(catalog_path(world.index))


def test_states_are_listed_newest_first(catalog: Catalog) -> None:
    newest, older = catalog.states()
    assert newest == catalog.current_state()
    assert newest.created_at > older.created_at


def test_a_state_that_is_kept_can_be_made_current_again(catalog: Catalog) -> None:
    _, older = catalog.states()
    catalog.make_current(older.id)
    assert catalog.current_state() == older
    (document,) = catalog.documents(older.id)
    assert "every quarter" in document.text


def test_a_state_that_is_not_kept_cannot_be_made_current(catalog: Catalog) -> None:
    before = catalog.current_state_id()
    with pytest.raises(NotFound, match="no state 2020"):
        catalog.make_current(StateId("2020"))
    assert catalog.current_state_id() == before


def test_a_copy_holds_what_the_catalog_held_while_another_wrote(
    catalog: Catalog, world: World, tmp_path: Path
) -> None:
    state = catalog.current_state()
    assert state
    writer = Catalog(catalog_path(world.index), create=True)
    with writer.transaction():
        writer._db.execute("INSERT INTO facts VALUES ('unfinished', '', 0)")
        catalog.copy_to(tmp_path / "copy.sqlite")
    copy = Catalog(tmp_path / "copy.sqlite")
    assert copy.current_state() == state
    assert copy.documents(state.id) == catalog.documents(state.id)
    assert copy.check() == []


def test_a_whole_catalog_has_nothing_to_report(catalog: Catalog) -> None:
    assert catalog.check() == []

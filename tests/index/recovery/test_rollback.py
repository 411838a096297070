"""Rolling back: what came last is undone, and the plan says which documents come and go."""

from contextlib import closing
from pathlib import Path

import pytest

from index.catalog import Catalog
from index.errors import IndexUnavailable, NotFound
from index.recovery import catalogs
from index.recovery.errors import Refused
from index.recovery.rollback import plan_rollback, rollback
from index.recovery.verify import verify_index
from index.store import catalog_path
from tests.conftest import World
from tests.index.recovery.kept import Kept, bring_back, flip, golden, open_reader, tree


@pytest.fixture
def folder(kept: Kept, tmp_path: Path) -> Path:
    return kept.copy(tmp_path / "index")


def names(ids: tuple[str, ...]) -> list[str]:
    """Document ids without the hash of their path."""
    return [each.rpartition("-")[0] for each in ids]


def test_last_publish_is_undone_and_its_documents_named(kept: Kept, folder: Path) -> None:
    plan = plan_rollback(folder)
    assert (plan.to, plan.state_after) == ("state", kept.manifest.state)
    assert names(plan.comes) == ["page5"]
    assert names(plan.goes) == ["new"]
    assert names(plan.changes) == ["page3"]
    with open_reader(folder) as reader:
        assert golden(reader, kept.queries) == kept.former
        rollback(folder, plan)
        assert golden(reader, kept.queries) == kept.kept
    assert verify_index(folder).findings == ()


def test_restore_is_undone_and_that_as_well(kept: Kept, folder: Path) -> None:
    bring_back(folder, kept.storage, kept.manifest)
    with open_reader(folder) as reader:
        for expected in (kept.former, kept.kept, kept.former):
            plan = plan_rollback(folder)
            assert plan.to == "index"
            rollback(folder, plan)
            assert golden(reader, kept.queries) == expected
    assert verify_index(folder).findings == ()


def test_publish_after_a_restore_is_what_came_last(
    world: World, tmp_path: Path, kept: Kept
) -> None:
    folder = kept.copy(world.index)
    bring_back(folder, kept.storage, kept.manifest)
    world.write("other.md", "# Other\n\nSomething else.\n")
    world.ingest()
    plan = plan_rollback(folder)
    assert (plan.to, plan.state_after) == ("state", kept.manifest.state)
    rollback(folder, plan)
    assert kept.answers(folder) == kept.kept


@pytest.mark.parametrize("restored", [False, True])
def test_dry_run_changes_no_byte(kept: Kept, folder: Path, restored: bool) -> None:
    if restored:
        bring_back(folder, kept.storage, kept.manifest)
    before = tree(folder.parent)
    plan_rollback(folder)
    assert tree(folder.parent) == before


def test_nothing_to_go_back_to_is_said(world: World) -> None:
    world.write("a.md", "# A\n\nThe first.\n")
    world.ingest()
    with pytest.raises(NotFound, match=r"no state before.*casebook index snapshots"):
        plan_rollback(world.index)
    with pytest.raises(IndexUnavailable, match="no index"):
        plan_rollback(world.base / "none")


def test_state_that_is_not_whole_is_not_gone_back_to(kept: Kept, folder: Path) -> None:
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute("UPDATE documents SET text = 'other' WHERE id LIKE 'page5%'")
    with pytest.raises(IndexUnavailable, match="page5"):
        plan_rollback(folder)


def test_index_set_aside_that_is_damaged_is_not_gone_back_to(kept: Kept, folder: Path) -> None:
    bring_back(folder, kept.storage, kept.manifest)
    came = catalogs.origin(folder)
    assert came is not None
    assert came.former is not None
    flip(catalog_path(catalogs.home(folder, came.former)), 0.001)
    catalog_path(catalogs.home(folder, came.former)).write_bytes(b"no catalog" * 500)
    with pytest.raises(IndexUnavailable, match=r"set aside can't be used.*restore a snapshot"):
        plan_rollback(folder)
    assert kept.answers(folder) == kept.kept


def test_restored_index_that_can_not_be_read_is_gone_back_from(kept: Kept, folder: Path) -> None:
    bring_back(folder, kept.storage, kept.manifest)
    catalog_path(folder).write_bytes(b"no catalog" * 500)
    plan = plan_rollback(folder)
    assert (plan.to, plan.state_before) == ("index", None)
    rollback(folder, plan)
    assert kept.answers(folder) == kept.former


def test_files_that_were_swept_meanwhile_are_built_again(kept: Kept, folder: Path) -> None:
    bring_back(folder, kept.storage, kept.manifest)
    for path in (folder / "segments").glob("*/*"):
        path.unlink()
    plan = plan_rollback(folder)
    assert plan.builds
    rollback(folder, plan)
    with open_reader(folder) as reader:
        assert golden(reader, kept.queries) == kept.former
        assert reader.current().repaired == ()


def test_index_that_went_on_since_the_plan_is_left_alone(kept: Kept, folder: Path) -> None:
    plan = plan_rollback(folder)
    rollback(folder, plan)
    with pytest.raises((Refused, NotFound)):
        rollback(folder, plan)

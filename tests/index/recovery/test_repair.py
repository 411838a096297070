"""Repair, within bounds: files and vectors are made again, documents never."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from index.catalog import Catalog
from index.embedder import Embedder
from index.errors import CasebookError
from index.recovery.errors import Refused
from index.recovery.repair import plan_repair, repair
from index.recovery.verify import verify_index
from index.store import catalog_path
from tests.index.recovery.kept import Kept, flip, quiet, tree


@pytest.fixture
def folder(kept: Kept, tmp_path: Path) -> Path:
    return kept.copy(tmp_path / "index")


def damage_vectors(folder: Path, count: int) -> None:
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute(
            "UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE key IN "
            "(SELECT embedding_key FROM chunks ORDER BY row LIMIT ?)",
            count,
        )


def test_whole_index_has_nothing_to_repair(kept: Kept, folder: Path) -> None:
    before = tree(folder)
    plan = plan_repair(folder)
    assert (plan.builds, plan.embeds, plan.refuses) == ((), (), ())
    assert tree(folder) == before


def test_derived_files_are_built_again(kept: Kept, folder: Path) -> None:
    files = sorted((folder / "segments").glob("*/*"))
    flip(files[0])
    files[1].unlink()
    plan = plan_repair(folder)
    assert set(plan.builds) == {str(files[0]), str(files[1])}
    assert set(repair(folder, plan, None, quiet)) == {f"built {path}" for path in plan.builds}
    assert verify_index(folder).findings == ()
    assert kept.answers(folder) == kept.former


def test_dry_run_changes_no_byte(kept: Kept, folder: Path) -> None:
    damage_vectors(folder, 2)
    flip(sorted((folder / "segments").glob("*/*"))[0])
    before = tree(folder)
    plan = plan_repair(folder)
    assert (len(plan.embeds), len(plan.builds)) == (2, 1)
    assert tree(folder) == before


def test_damaged_and_lost_vectors_are_embedded_again(
    kept: Kept, folder: Path, embedder: Embedder
) -> None:
    damage_vectors(folder, 3)
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute(
            "DELETE FROM embeddings WHERE key IN (SELECT embedding_key FROM chunks WHERE row = 6)"
        )
    plan = plan_repair(folder)
    assert len(plan.embeds) == 4
    repair(folder, plan, embedder, quiet)
    assert verify_index(folder).findings == ()
    assert kept.answers(folder) == kept.former


class _Another:
    name = "another-model"

    def embed(self, texts: object) -> NDArray[np.float32]:
        raise AssertionError("asked all the same")


def test_vectors_are_not_mixed_with_those_of_another_model(kept: Kept, folder: Path) -> None:
    damage_vectors(folder, 1)
    plan = plan_repair(folder)
    before = tree(folder)
    for embedder in (_Another(), None):
        with pytest.raises(Refused, match=r"MiniLM.*set `embedder`"):
            repair(folder, plan, embedder, quiet)
    assert tree(folder) == before


def test_damaged_document_is_refused_by_name_and_nothing_is_touched(
    kept: Kept, folder: Path, embedder: Embedder
) -> None:
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute("UPDATE documents SET text = 'other' WHERE id LIKE 'plan%'")
    damage_vectors(folder, 1)
    plan = plan_repair(folder)
    before = tree(folder)
    with pytest.raises(Refused, match=r"plan\.md is not what was written: restore a snapshot"):
        repair(folder, plan, embedder, quiet)
    assert tree(folder) == before


@pytest.mark.parametrize("at", [0.05, 0.3, 0.6, 0.9])
def test_page_that_is_lost_is_repaired_or_refused_by_name(
    kept: Kept, folder: Path, embedder: Embedder, at: float
) -> None:
    path = catalog_path(folder)
    data = bytearray(path.read_bytes())
    page = int(at * len(data)) // 4096 * 4096
    data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)
    told = ""
    try:
        repair(folder, plan_repair(folder), embedder, quiet)
    except CasebookError as error:
        told = str(error)
    assert "restore" in told or kept.answers(folder) == kept.former

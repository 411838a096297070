"""Verifying: every finding by name, and nothing found where nothing is."""

from contextlib import closing
from pathlib import Path

import pytest

from index.catalog import Catalog
from index.errors import IndexUnavailable
from index.recovery.verify import verify_index
from index.store import catalog_path
from tests.index.recovery.kept import Kept, flip


@pytest.fixture
def folder(kept: Kept, tmp_path: Path) -> Path:
    return kept.copy(tmp_path / "index")


def test_whole_index_is_told_with_what_it_holds(kept: Kept, folder: Path) -> None:
    found = verify_index(folder)
    assert (found.documents, found.chunks, found.findings) == (14, 14, ())


def test_each_damaged_file_is_named_with_the_remedy(kept: Kept, folder: Path) -> None:
    files = sorted((folder / "segments").glob("*/*"))
    for path in files:
        flip(path)
    findings = verify_index(folder).findings
    for path in files[:2]:
        assert any(str(path) in each and "casebook index repair" in each for each in findings)


def test_damaged_text_and_damaged_file_are_both_found(kept: Kept, folder: Path) -> None:
    flip(sorted((folder / "segments").glob("*/*"))[0])
    with closing(Catalog(catalog_path(folder))) as catalog, catalog.transaction():
        catalog._db.execute("UPDATE documents SET text = 'other' WHERE id LIKE 'plan%'")
    told = "\n".join(verify_index(folder).findings)
    assert "texts are not what was written" in told
    assert "segments" in told


@pytest.mark.parametrize("what", ["no database", "cut off"])
def test_file_that_is_no_catalog_is_a_finding(kept: Kept, folder: Path, what: str) -> None:
    path = catalog_path(folder)
    path.write_bytes(b"no database" * 999 if what == "no database" else path.read_bytes()[:9000])
    (finding, *_) = verify_index(folder).findings
    assert "catalog.sqlite" in finding
    assert "restore" in finding


def test_no_index_is_said_with_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match=r"casebook ingest.*restore"):
        verify_index(tmp_path)

"""Whoever builds a commit gets the same bytes, which hold the packages and nothing else."""

import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from deploy.release import FILES, PACKAGES, release
from tests.conftest import ROOT

EPOCH = 1_700_000_000
GENERATED = {"PKG-INFO", "setup.cfg"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as they are now."""
    return copied(ROOT, tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def wheel_and_archive(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    built = release(tmp_path_factory.mktemp("dist"), EPOCH, checkout)
    archive, wheel = sorted(built, key=lambda path: path.suffix)
    return wheel, archive


def copied(root: Path, folder: Path) -> Path:
    for name in FILES:
        shutil.copyfile(root / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(root / name, folder / name, copy_function=shutil.copyfile)
    return folder


def leave_behind(checkout: Path) -> None:
    """What an earlier build left, and a file that setuptools would take from its list."""
    (checkout / "build" / "lib" / "assistant").mkdir(parents=True)
    (checkout / "build" / "lib" / "assistant" / "gone.py").write_text("raise SystemExit")
    (checkout / "casebook.egg-info").mkdir()
    (checkout / "casebook.egg-info" / "SOURCES.txt").write_text("pyproject.toml\nkeys.txt\n")
    (checkout / "keys.txt").write_text("hunter2")


def files_of(checkout: Path) -> set[str]:
    """The files of the packages."""
    return {
        str(path.relative_to(checkout))
        for name in PACKAGES
        for path in (checkout / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_no_other(
    checkout: Path, wheel_and_archive: tuple[Path, Path]
) -> None:
    names = set(zipfile.ZipFile(wheel_and_archive[0]).namelist())
    assert {name for name in names if ".dist-info/" not in name} == files_of(checkout)


@pytest.mark.slow
def test_the_archive_holds_what_the_wheel_is_built_from(
    checkout: Path, wheel_and_archive: tuple[Path, Path]
) -> None:
    with tarfile.open(wheel_and_archive[1]) as archive:
        members = archive.getmembers()
    inside = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {name for name in inside if ".egg-info/" not in name} - GENERATED == files_of(
        checkout
    ) | set(FILES)
    assert {(each.mtime, each.uid, each.uname) for each in members} == {(EPOCH, 0, "")}


@pytest.mark.slow
def test_another_folder_time_mode_and_leftovers_give_the_same_bytes(
    checkout: Path, wheel_and_archive: tuple[Path, Path], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a clone" / "elsewhere"
    elsewhere.mkdir(parents=True)
    copied(checkout, elsewhere)
    for number, path in enumerate(sorted(elsewhere.rglob("*.py"), reverse=True)):
        os.utime(path, (number, time.time() - 1000 * number))
        path.chmod(0o755 if number % 2 else 0o600)
    leave_behind(elsewhere)
    before = os.umask(0o077)
    try:
        again = release(tmp_path / "again", EPOCH, elsewhere)
    finally:
        os.umask(before)
    for built in wheel_and_archive:
        [same] = [path for path in again if path.name == built.name]
        assert same.read_bytes() == built.read_bytes()

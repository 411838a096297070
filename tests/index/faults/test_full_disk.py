"""A disk that is really full: one line says so, what was published is served, and room mends it."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import casebook, serving


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, for the index alone."""
    place = tmp_path / "index"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can't be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return filler


def top(address: str) -> str:
    hits = httpx.get(f"{address}/search", params={"q": "restore drill"}, timeout=30).json()["hits"]
    return str(hits[0]["text"])


def ingested(address: str) -> dict[str, object]:
    """How an ingestion that is asked for over HTTP ends."""
    job = httpx.post(f"{address}/ingest").json()["job"]
    while True:
        found: dict[str, object] = httpx.get(f"{address}/ingest/{job}").json()
        if found["state"] != "running":
            return found
        time.sleep(0.05)


@pytest.mark.slow
def test_a_full_disk_is_named_by_the_command_and_the_job_and_the_old_state_served(
    disk: Path, tmp_path: Path
) -> None:
    page = tmp_path / "corpus" / "drill.md"
    page.parent.mkdir()
    page.write_text("# Drill\n\nThe restore drill runs every quarter.\n")
    first = casebook("ingest", cwd=tmp_path, CASEBOOK_INDEX=str(disk))
    assert first.returncode == 0, first.stderr
    with serving(tmp_path, CASEBOOK_INDEX=str(disk)) as address:
        assert "every quarter" in top(address)
        page.write_text("# Drill\n\nThe restore drill runs every week.\n")
        filler = fill(disk)

        told = casebook("ingest", cwd=tmp_path, CASEBOOK_INDEX=str(disk))
        job = ingested(address)

        said = f"can't use {disk}{os.sep}"
        assert told.returncode == 14
        *progress, last = told.stderr.splitlines()
        assert all(line.startswith("reading: ") for line in progress)
        assert last.startswith(f"casebook: {said}")
        assert "No space left on device: free space on that disk" in last
        assert job["state"] == "failed"
        assert str(job["error"]).startswith(said)
        assert "No space left on device" in str(job["error"])
        assert "every quarter" in top(address)

        filler.unlink()
        assert ingested(address)["state"] == "done"
        assert "every week" in top(address)


@pytest.mark.slow
def test_an_ingestion_that_can_not_be_noted_is_refused_and_not_begun(
    disk: Path, tmp_path: Path
) -> None:
    """The jobs are noted beside the index, here on the same full disk; the next one is not held up."""
    index = disk / "index"
    page = tmp_path / "corpus" / "drill.md"
    page.parent.mkdir()
    page.write_text("# Drill\n\nThe restore drill runs every quarter.\n")
    casebook("ingest", cwd=tmp_path, CASEBOOK_INDEX=str(index))
    with serving(tmp_path, CASEBOOK_INDEX=str(index)) as address:
        filler = fill(disk)
        refused = httpx.post(f"{address}/ingest")
        assert refused.status_code == 507
        assert refused.headers["content-type"] == "application/problem+json"
        assert "jobs.json" in refused.json()["detail"]
        assert "No space left on device" in refused.json()["detail"]
        filler.unlink()
        assert ingested(address)["state"] == "done"

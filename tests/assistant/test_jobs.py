"""Ingestion jobs over a kill of the server, and over a disk that does not take them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from assistant.jobs import Job, Jobs
from assistant.watch import Watch, Watched
from index.errors import StorageFailed
from ingest.sync import Report, Summary
from tests.conftest import ROOT

DONE = Summary(0, 0, 0, 0, 0, (), 0, {}, 0, 0, 0, 0, 0, 0.0, None)
PAGES = 200


@contextmanager
def server(cwd: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server's address and its process, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", "serve", "--port", "0"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"ready: (\S+)", each) for each in process.stdout)))
        yield found[1], process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_an_ingestion_is_taken_up_again_by_the_server_that_follows_a_killed_one(
    tmp_path: Path,
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(PAGES):
        text = f"# Page {number}\n\nDrill {number} runs every week.\n"
        (corpus / f"page{number}.md").write_text(text)
    with server(tmp_path) as (address, process):
        job = httpx.post(f"{address}/ingest").json()["job"]
        while not (progress := httpx.get(f"{address}/ingest/{job}").json()["progress"]):
            time.sleep(0.005)
        process.kill()
    assert progress["stage"] in {"reading", "embedding"}
    with server(tmp_path) as (address, _):
        while (found := httpx.get(f"{address}/ingest/{job}").json())["state"] == "running":
            time.sleep(0.05)
        hits = httpx.get(f"{address}/search", params={"q": "drill 7"}, timeout=30).json()["hits"]
    assert found["state"] == "done"
    assert found["summary"]["documents"] == PAGES
    assert hits


def jobs_in(folder: Path, ends: Path | None = None) -> Jobs:
    def run(names: Sequence[str] | None, report: Report) -> Summary:
        if ends:
            ends.rename(ends.with_name("away"))
            ends.write_text("in the way")
        return DONE

    return Jobs(run, folder / "jobs.json")


def has_ended(job: Job) -> bool:
    with job.changed:
        return job.changed.wait_for(lambda: job.state != "running", timeout=10)


def test_a_job_that_can_not_be_noted_is_refused_and_the_next_is_not_held_up(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.write_text("in the way")
    jobs = jobs_in(place)
    with pytest.raises(StorageFailed, match=r"File exists|Not a directory"):
        jobs.start()
    place.unlink()
    job = jobs.start()
    assert has_ended(job)
    assert job.state == "done"


def test_a_job_whose_end_can_not_be_noted_has_ended_all_the_same(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    jobs = jobs_in(place, ends=place)
    job = jobs.start()
    assert has_ended(job)
    assert job.state == "done"


def test_watching_goes_on_where_a_job_can_not_be_noted(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    watch = Watch([Watched("notes", 60.0)], jobs_in(tmp_path / "folder"), lambda name: False)
    due = watch.next_run("notes")
    watch.stop()  # so that it does not wait for the next try
    watch.sync(["notes"])
    assert watch.next_run("notes") == due

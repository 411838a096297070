"""Watching: what changed is answerable soon after, and a source that fails is tried later and later."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from assistant.jobs import Jobs
from assistant.watch import FIRST_RETRY, Watch, Watched
from index.errors import Busy, InvalidInput
from ingest.sync import Report, Summary
from tests.conftest import casebook, serving

DONE = Summary(0, 0, 0, 0, 0, (), 0, {}, 0, 0, 0, 0, 0, 0.0, None)


def jobs_of(path: Path, ran: list[object], gate: threading.Event | None = None) -> Jobs:
    def run(names: Sequence[str] | None, report: Report) -> Summary:
        ran.append(names)
        if gate:
            gate.wait(10)
        return DONE

    return Jobs(run, path / "jobs.json")


def test_a_second_job_is_refused_while_one_runs(tmp_path: Path) -> None:
    gate = threading.Event()
    jobs = jobs_of(tmp_path, [], gate)
    job = jobs.start()
    with pytest.raises(Busy, match=job.id):
        jobs.start()
    gate.set()
    jobs.wait(job)
    assert jobs.get(job.id).view()["state"] == "done"


def test_a_job_that_a_restart_cut_off_is_taken_up_again(tmp_path: Path) -> None:
    gate, ran = threading.Event(), []
    cut_off = jobs_of(tmp_path, ran, gate).start(["runbooks"])
    ran_again: list[object] = []
    restarted = jobs_of(tmp_path, ran_again)
    job = restarted.resume()
    assert job
    assert job.id == cut_off.id
    restarted.wait(job)
    assert ran_again == [("runbooks",)]
    assert restarted.get(cut_off.id).state == "done"
    assert jobs_of(tmp_path, []).resume() is None
    gate.set()


def test_jobs_that_can_not_be_read_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "jobs.json").write_text('[{"job": 1')
    jobs = jobs_of(tmp_path, [])
    assert jobs.resume() is None
    jobs.wait(jobs.start())
    assert len(json.loads((tmp_path / "jobs.json").read_text())) == 1


def test_a_failed_job_says_why(tmp_path: Path) -> None:
    def run(names: Sequence[str] | None, report: Report) -> Summary:
        raise InvalidInput("no source is called x")

    jobs = Jobs(run, tmp_path / "jobs.json")
    job = jobs.start()
    jobs.wait(job)
    assert (job.state, job.error) == ("failed", "no source is called x")


def test_a_source_that_fails_is_tried_later_and_later(tmp_path: Path) -> None:
    now = 1000.0
    failing = True
    watch = Watch(
        [Watched("wiki", 60.0)],
        jobs_of(tmp_path, []),
        failed=lambda name: failing,
        clock=lambda: now,
        jitter=lambda: 1.0,
    )
    waits = []
    for _ in range(3):
        watch.sync(["wiki"])
        waits.append((watch.next_run("wiki") or 0) - now)
    assert waits == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    failing = False
    watch.sync(["wiki"])
    assert (watch.next_run("wiki") or 0) - now == 60.0


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    ran: list[object] = []
    watch = Watch([Watched("docs", None, (docs,))], jobs_of(tmp_path, ran), lambda name: False)
    watch.start()
    _until(lambda: len(ran) == 1)  # at the start, whatever happened before
    _until(lambda: watch.next_run("docs") is None)
    time.sleep(0.3)  # the watcher's own start can't be seen from outside
    (docs / "new.md").write_text("# New\n\nText.\n")
    _until(lambda: len(ran) == 2)
    watch.stop()
    assert ran == [("docs",), ("docs",)]


def _until(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_change_is_answered_with_soon_and_a_new_key_closes_ingestion(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    page = docs / "drill.md"
    page.write_text("# Drill\n\nThe restore drill runs every quarter.\n")
    (tmp_path / "casebook.toml").write_text(
        '[[sources]]\nname = "docs"\ntype = "folder"\npath = "docs"\naccess = ["public"]\n'
    )
    with serving(tmp_path, "--watch") as address, httpx.Client(base_url=address) as client:

        def quoted(words: str) -> bool:
            answer = client.post("/ask", json={"question": "How often does the restore drill run?"})
            return words in answer.text

        _until(lambda: quoted("every quarter"), 30)
        page.write_text("# Drill\n\nThe restore drill runs every week.\n")
        changed = time.monotonic()
        _until(lambda: quoted("every week"), 30)
        assert time.monotonic() - changed < 15  # about 1 s on an idle machine
        (source,) = client.get("/sources").json()["sources"]
        assert (source["name"], source["type"], source["documents"]) == ("docs", "folder", 1)
        assert source["sync"]["error"] is None
        assert client.post("/ingest").status_code == 202
        made = casebook("keys", "create", "root", "--admin", "--json", cwd=tmp_path)
        key = json.loads(made.stdout)["key"]
        assert client.post("/ingest").status_code == 401
        signed_in = {"Authorization": f"Bearer {key}"}
        _until(lambda: client.post("/ingest", headers=signed_in).status_code == 202)


def test_a_service_that_others_reach_does_not_start_without_sign_in(tmp_path: Path) -> None:
    refused = casebook("serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert refused.returncode == 2
    assert "casebook keys create" in refused.stderr

"""Ingestion jobs: one at a time, in a thread, with progress that a client can ask for.

A job is noted in a file before it starts, so that one that was cut off by a restart is taken up
again under its own id; what it had read and embedded is kept by the index and not done again.
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from index.errors import Busy, CasebookError, NotFound, StorageFailed
from index.files import write_file
from ingest.sync import Progress, Report, Summary

log = logging.getLogger("casebook.jobs")

KEPT_JOBS = 100

Run = Callable[[Sequence[str] | None, Report], Summary]
"""Brings sources, by name, or all there are, up to date."""


@dataclass
class Job:
    """An ingestion under way or done; `state` is running, done or failed. `sources`: None means all."""

    id: str
    sources: tuple[str, ...] | None = None
    state: str = "running"
    progress: Progress | None = None
    summary: dict[str, Any] | None = None
    error: str | None = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def view(self) -> dict[str, Any]:
        """The job as JSON-able values."""
        return {
            "job": self.id,
            "sources": self.sources,
            "state": self.state,
            "progress": asdict(self.progress) if self.progress else None,
            "summary": self.summary,
            "error": self.error,
        }

    def _update(self, **changes: Any) -> None:
        with self.changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self.changed.notify_all()


class Jobs:
    """Runs one ingestion at a time and remembers the last hundred, over restarts too."""

    def __init__(self, run: Run, path: Path) -> None:
        self._run = run
        self._path = path
        self._jobs = _read(path)
        self._lock = threading.Lock()

    def resume(self) -> Job | None:
        """Take up the job that a restart cut off, if one was."""
        with self._lock:
            cut_off = [job for job in self._jobs.values() if job.state == "running"]
            for job in cut_off:
                log.info("taking up ingestion %s again", job.id)
                self._begin(job)
        return cut_off[0] if cut_off else None

    def start(self, sources: Sequence[str] | None = None) -> Job:
        """Start an ingestion; raises `Busy` while one is running, `StorageFailed` where it can't be noted."""
        with self._lock:
            running = [job.id for job in self._jobs.values() if job.state == "running"]
            if running:
                raise Busy(f"ingestion {running[0]} is running: ask GET /ingest/{running[0]}")
            job = Job(uuid.uuid4().hex[:12], tuple(sources) if sources is not None else None)
            kept = [*self._jobs.values(), job][-KEPT_JOBS:]
            self._write(kept)
            self._jobs = {each.id: each for each in kept}
            self._begin(job)
        return job

    def get(self, job_id: str) -> Job:
        """A job by id; raises `NotFound`."""
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"no ingestion job {job_id!r}: POST /ingest starts one")
            return self._jobs[job_id]

    def wait(self, job: Job) -> None:
        """Until a job is done or has failed."""
        with job.changed:
            job.changed.wait_for(lambda: job.state != "running")

    def _begin(self, job: Job) -> None:
        threading.Thread(
            target=self._work, args=(job,), name=f"ingest-{job.id}", daemon=True
        ).start()

    def _work(self, job: Job) -> None:
        ended: dict[str, Any]
        try:
            summary = self._run(job.sources, lambda progress: job._update(progress=progress))
        except CasebookError as error:
            log.warning("ingestion %s failed: %s", job.id, error)
            ended = {"state": "failed", "error": str(error)}
        except Exception:
            # The border of a thread: without this a bug would leave the job running for ever.
            log.exception("ingestion %s broke", job.id)
            ended = {
                "state": "failed",
                "error": "internal error; the server's log has the details",
            }
        else:
            ended = {"state": "done", "summary": asdict(summary)}
        with self._lock:
            try:
                self._write(self._jobs.values(), {job.id: ended})
            except StorageFailed as error:  # a restart would take it up again, and find it done
                log.warning("the end of ingestion %s is not noted: %s", job.id, error)
        job._update(**ended)

    def _write(
        self, jobs: Iterable[Job], ended: Mapping[str, dict[str, Any]] = MappingProxyType({})
    ) -> None:
        """Note every job; `ended` is what is about to be told of some, so that nobody hears first that a
        job is done which a restart would take up again.
        """
        views = [{**job.view(), **ended.get(job.id, {})} for job in jobs]
        write_file(self._path, json.dumps(views).encode())


def _read(path: Path) -> dict[str, Job]:
    """The jobs noted in a file; none where there is no file, or one that can't be read."""
    try:
        views = json.loads(path.read_text(encoding="utf-8"))
        return {
            view["job"]: Job(
                view["job"],
                tuple(view["sources"]) if view["sources"] is not None else None,
                view["state"],
                None,
                view["summary"],
                view["error"],
            )
            for view in views
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("the jobs in %s can't be read and are forgotten: %s", path, error)
        return {}

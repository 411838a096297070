"""Ingestion jobs: one at a time, in a thread, with progress that a client can ask for."""

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from index.errors import Busy, CasebookError, NotFound
from ingest.sync import Progress, Report, Summary

log = logging.getLogger("casebook.jobs")

KEPT_JOBS = 100


@dataclass
class Job:
    """An ingestion under way or done; `state` is running, done or failed."""

    id: str
    state: str = "running"
    progress: Progress | None = None
    summary: Summary | None = None
    error: str | None = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def view(self) -> dict[str, Any]:
        """The job as JSON-able values."""
        return {
            "job": self.id,
            "state": self.state,
            "progress": asdict(self.progress) if self.progress else None,
            "summary": asdict(self.summary) if self.summary else None,
            "error": self.error,
        }

    def _update(self, **changes: Any) -> None:
        with self.changed:
            for name, value in changes.items():
                setattr(self, name, value)
            self.changed.notify_all()


class Jobs:
    """Runs one ingestion at a time and remembers the last hundred."""

    def __init__(self, run: Callable[[Report], Summary]) -> None:
        self._run = run
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self) -> Job:
        """Start an ingestion; raises `Busy` while one is running."""
        with self._lock:
            running = [job.id for job in self._jobs.values() if job.state == "running"]
            if running:
                raise Busy(f"ingestion {running[0]} is running: ask GET /ingest/{running[0]}")
            job = Job(uuid.uuid4().hex[:12])
            self._jobs[job.id] = job
            for old in list(self._jobs)[:-KEPT_JOBS]:
                del self._jobs[old]
        threading.Thread(target=self._work, args=(job,), name=f"ingest-{job.id}").start()
        return job

    def get(self, job_id: str) -> Job:
        """A job by id; raises `NotFound`."""
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"no ingestion job {job_id!r}: POST /ingest starts one")
            return self._jobs[job_id]

    def _work(self, job: Job) -> None:
        try:
            summary = self._run(lambda progress: job._update(progress=progress))
        except CasebookError as error:
            log.warning("ingestion %s failed: %s", job.id, error)
            job._update(state="failed", error=str(error))
        except Exception:
            # The border of a thread: without this a bug would leave the job running for ever.
            log.exception("ingestion %s broke", job.id)
            job._update(state="failed", error="internal error; the server's log has the details")
        else:
            job._update(state="done", summary=summary)

"""Routes of ingestion jobs: to start one, and to see how far it is."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.sse import EventSourceResponse, format_sse_event

from assistant import problems
from assistant.access.routes import Administrator
from assistant.admission import Admission
from assistant.jobs import Job, Jobs
from assistant.responses import MISSING, REFUSED

PROGRESS_EVERY = 0.1
PROGRESS_AT_LEAST = 10.0
"""Seconds between looks at a job, and between events where nothing changes."""


def add_ingestion(app: FastAPI, jobs: Jobs, admission: Admission) -> None:
    """Add the routes to an application."""
    conflict: dict[int | str, dict[str, Any]] = REFUSED | {
        409: {"model": problems.Problem, "description": "Another ingestion is running"}
    }

    @app.post("/ingest", status_code=202, responses=conflict)
    def ingest(response: Response, caller: Administrator) -> dict[str, Any]:
        """Bring the index up to date with the configured corpus; returns the job to ask after."""
        admission.check_open("ask")
        job = jobs.start()
        response.headers["Location"] = f"/ingest/{job.id}"
        return job.view()

    @app.get("/ingest/{job_id}", responses=REFUSED | MISSING)
    def ingest_job(request: Request, job_id: str, caller: Administrator) -> Any:
        """How far an ingestion is; as `progress` events with `Accept: text/event-stream`."""
        job = jobs.get(job_id)
        if "text/event-stream" in request.headers.get("accept", ""):
            return EventSourceResponse(_job_events(job, admission))
        return job.view()


async def _job_events(job: Job, admission: Admission) -> AsyncGenerator[bytes, None]:
    """Each view of a job that differs from the last, and at least one each ten seconds, until it is done
    or the server is being stopped.
    """
    told: dict[str, Any] | None = None
    quiet = 0.0
    while told is None or (told["state"] == "running" and not admission.draining):
        view = job.view()
        if view != told or quiet >= PROGRESS_AT_LEAST:
            told, quiet = view, 0.0
            event = "progress" if view["state"] == "running" else view["state"]
            yield format_sse_event(event=event, data_str=json.dumps(view))
        else:
            quiet += PROGRESS_EVERY
            await anyio.sleep(PROGRESS_EVERY)

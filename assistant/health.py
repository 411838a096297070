"""Health: whether the process lives, and whether it should be sent questions."""

from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI

from assistant import problems
from assistant.access.routes import ANYONE
from assistant.answering import Answering

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": problems.Problem, "description": "No index to answer from, or being stopped"}
}


def add_health(app: FastAPI, answering: Answering) -> None:
    """Add the routes that an orchestrator asks. Neither waits in a queue behind requests."""
    threads = anyio.CapacityLimiter(1)

    @app.get("/health/live", dependencies=[ANYONE])
    async def live() -> dict[str, str]:
        """The process runs; nothing else is asked."""
        return {"status": "live"}

    @app.get("/health/ready", responses=NOT_READY, dependencies=[ANYONE])
    async def ready() -> dict[str, str]:
        """Questions can be answered: the models are loaded, the newest index is open, its files are those
        that were written, and the service is not being stopped. Files are read when a state is opened,
        not each time this is asked.
        """
        answering.admission.check_open("ask")
        await anyio.to_thread.run_sync(answering.assistant.ready, limiter=threads)
        return {"status": "ready"}

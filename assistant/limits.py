"""Settings of how much the service does at once, and how long a request waits for its turn."""

import os

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """What is at work and what waits. Nothing here limits how often one caller asks:
    `gateway.limits` does that for language models, which cost money.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    search_at_once: int | None = Field(
        default=None,
        ge=1,
        description="searches at work at a time [as many as the machine has cores]",
    )
    ask_at_once: int | None = Field(
        default=None,
        ge=1,
        description="questions at work at a time, not counting what a model writes [2]",
    )
    waiting: int = Field(default=64, ge=0, description="requests that wait for either, at most")
    search_wait: float = Field(default=0.5, gt=0, description="seconds that a search waits at most")
    ask_wait: float = Field(default=1.5, gt=0, description="seconds that a question waits at most")

    def at_once(self, queue: str) -> int:
        """Requests at work at a time.

        Questions are two whatever the machine has: their models keep every core busy by themselves,
        one request at a time, and the second does meanwhile what needs no model.
        """
        if queue == "search":
            return self.search_at_once or os.cpu_count() or 1
        return self.ask_at_once or 2

    def wait(self, queue: str) -> float:
        """Seconds after which an answer would come too late to be of use."""
        return self.search_wait if queue == "search" else self.ask_wait

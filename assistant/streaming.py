"""Streams: events that are made as they are sent, and not a moment longer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send


class EventStream(EventSourceResponse):
    """Server-sent events that are made from something.

    When the last is sent, and when the client goes away before, `body` is closed and then `made_from`:
    Starlette leaves both to the garbage collector, and with them a model that goes on writing.
    """

    def __init__(
        self, body: AsyncGenerator[bytes, None], made_from: AsyncGenerator[Any, None]
    ) -> None:
        super().__init__(body, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._body = body
        self._made_from = made_from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._made_from), aclosing(self._body):
            await super().__call__(scope, receive, send)

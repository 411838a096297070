"""Streams end what makes their events, however they end."""

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from assistant.streaming import EventStream


@pytest.mark.parametrize("leaves_after", [0, 1, 2, 3])
def test_a_client_that_leaves_closes_what_makes_the_events(leaves_after: int) -> None:
    """Also where it leaves while an event is being sent, or before the first was."""
    closed: list[str] = []

    async def numbers(name: str) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(3):
                yield f"data: {number}\n\n".encode()
        finally:
            closed.append(name)

    async def stream() -> None:
        made_from = numbers("made from")
        await anext(made_from)
        body = numbers("body")
        sent = 0
        left = anyio.Event()

        async def send(message: Any) -> None:
            nonlocal sent
            if sent == leaves_after:
                left.set()
                await anyio.sleep_forever()
            sent += 1

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        await EventStream(body, made_from)({"type": "http"}, receive, send)
        assert "made from" in closed
        assert leaves_after == 0 or "body" in closed

    anyio.run(stream)

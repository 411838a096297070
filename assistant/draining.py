"""Draining: a server that is told to stop ends what it has begun, and then goes."""

import socket

import anyio
import uvicorn

from assistant.admission import Admission

ENDING_SECONDS = 14.0
"""What is being answered may take so long: twice what a model takes for most answers."""

CUT_SECONDS = 5
"""Then what models still write is cut, and each answer is given as far as it came: this long for that.
With what closes afterwards it is all within 25 s."""

TICK_SECONDS = 0.05


class DrainingServer(uvicorn.Server):
    """Uvicorn, but told to stop it goes on listening until the last request has ended.

    Meanwhile it is not ready and whatever is new is told to go elsewhere, instead of finding a closed
    port before a load balancer has noticed.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission) -> None:
        super().__init__(config)
        self._admission = admission
        config.timeout_graceful_shutdown = CUT_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop."""
        self._admission.drain()
        with anyio.move_on_after(ENDING_SECONDS):
            while self.server_state.tasks and not self.force_exit:
                await anyio.sleep(TICK_SECONDS)
        self._admission.cut()
        await super().shutdown(sockets)

"""What the gateway needs of a model's provider, and what one sends."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from assistant.gateway.schema import Delta, Message, Usage
from assistant.gateway.settings import ModelEntry

HANG_UP_SECONDS = 0.5
"""How long hanging up may take, after a deadline too; it waits for nothing from the network."""


@dataclass(frozen=True)
class Thinking:
    """A piece of what a model says to itself: a sign of life, and no part of the answer."""


@dataclass(frozen=True)
class Ended:
    """The model came to its end, or was cut off at the limit (`truncated`); `usage` as its provider
    counted, None if it did not say.
    """

    usage: Usage | None
    truncated: bool = False


Piece = Delta | Thinking | Ended


class Provider(Protocol):
    """One model of the settings, and the connection to it. For one event loop."""

    @property
    def entry(self) -> ModelEntry:
        """The model's settings."""

    def stream(self, messages: Sequence[Message], max_tokens: int) -> AsyncGenerator[Piece, None]:
        """Ask once. Gives texts, none of them empty, then one `Ended`; raises `Failure`.

        Closing it, or cancelling what waits for it, hangs up and waits for nothing from the network.
        """

    async def close(self) -> None:
        """Hang up for good."""

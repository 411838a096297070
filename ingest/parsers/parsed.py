"""What every parser gives, and how it reports a damaged file."""

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from index.errors import ParseError

log = logging.getLogger("casebook.ingest")

DAMAGE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError),
    *(RuntimeError, TypeError, ValueError, struct.error, zlib.error),
)
"""What libraries that trust their input raise on a damaged file, as fuzzing brought out."""


@dataclass(frozen=True)
class Parsed:
    """A document as read: its markdown, what is known of it, and what was left out, by kind."""

    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


@contextmanager
def reading(name: str, what: str, remedy: str, *also: type[Exception]) -> Iterator[None]:
    """Turns what a library raises on a damaged file into an error that names the file."""
    try:
        yield
    except (*DAMAGE, *also) as error:
        log.info("could not read %s", name, exc_info=True)
        raise ParseError(f"{name} is {what} ({type(error).__name__}): {remedy}") from error

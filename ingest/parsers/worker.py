"""The child of `ingest.parsers.sandbox`: limits itself, then answers one file after another.

A frame is the length of a JSON object and that of some bytes, then both.
"""

import json
import logging
import os
import struct
import sys
from contextlib import suppress
from dataclasses import astuple
from typing import IO, Any

from index.errors import ParseError
from ingest.parsers import parse
from ingest.parsers.code import outline

_LENGTHS = struct.Struct(">QQ")
_MIB = 1024 * 1024
_CPU_GRACE = 5
"""Seconds of CPU time past the wall time, after which a worker whose parent is gone ends itself."""

_LARGEST_FILE = _MIB
"""Bytes that the worker may write to a file: its errors, nothing else."""

Frame = tuple[dict[str, Any], bytes]


def send(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame."""
    written = json.dumps(head).encode()
    stream.write(_LENGTHS.pack(len(written), len(body)))
    stream.write(written)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes], limit: int) -> Frame | None:
    """Read one frame, or None at the end; raises `ValueError` for one of over `limit` bytes."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head, body = _LENGTHS.unpack(lengths)
    if head + body > limit:
        raise ValueError(f"a frame of {head + body} bytes, over the limit of {limit}")
    written = stream.read(head + body)
    return (json.loads(written[:head]), written[head:]) if len(written) == head + body else None


def main() -> None:
    """Serve until the standard input ends. Arguments: the import path, bytes of memory, of output."""
    memory, output = int(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    _limit_memory(memory)
    send(answers, {"ready": True})
    try:
        while frame := receive(sys.stdin.buffer, sys.maxsize):
            head, body = _answer(*frame)
            if len(body) > output:
                head, body = {"limit": f"gives over {output // _MIB} MiB of text"}, b""
            send(answers, head, body)
    except MemoryError:
        # No more is read here: what is left of the memory is full of holes.
        send(answers, {"limit": f"needed over {memory // _MIB:,} MiB of memory to parse"})


def _answer(request: dict[str, Any], data: bytes) -> Frame:
    _limit_time(request["seconds"])
    if request["do"] == "outline":
        unit = outline(data.decode("utf-8", "surrogatepass"), request["language"])
        return {"outline": unit and astuple(unit)}, b""
    try:
        parsed = parse(request["name"], data)
    except ParseError as error:
        return {"error": str(error)}, b""
    head = {"title": parsed.title, "metadata": parsed.metadata, "dropped": parsed.dropped}
    return head, parsed.text.encode()


def _limit_memory(memory: int) -> None:
    """Address space over what the interpreter holds now, where the system tells both; and no files."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))


def _limit_time(seconds: float) -> None:
    """CPU time for the next file; the parent watches the clock, this holds if the parent is gone."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        limit = int(used.ru_utime + used.ru_stime + seconds) + _CPU_GRACE
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))

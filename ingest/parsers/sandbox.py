"""A sandbox for files that may be hostile: they are parsed in a child process with limits.

One worker is kept warm for many files: a Python takes 0.1 s to start, a page of 8 KB then 0.1 ms more
than in the parent (measured), so markdown and plain text go through it as well, whose front matter
and patterns are no safer. It is a fresh interpreter, not a fork of a process with threads and loaded
models; it gets no environment variables but those Python needs, and speaks frames of JSON and UTF-8,
so nothing is unpickled. Where a file kills it, takes too long or wants too much memory, that file is
refused by name and the next one gets a new worker.

Memory, CPU time and file writes are limited by `resource` where the system has it: Linux keeps all
three. macOS does not enforce the limit on memory and Windows has none; the limits on wall time, input
and output hold everywhere. This contains accidents and the usual attacks on parsers (bombs, loops,
deep nesting, crashes); it is no wall against code that runs in the child, which has the user's rights.
"""

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.errors import ParseError
from ingest.parsers import Parsed
from ingest.parsers.code import Unit
from ingest.parsers.text import printable
from ingest.parsers.worker import Frame, receive, send

log = logging.getLogger("casebook.ingest")

START_SECONDS = 60.0
_MIB = 1024 * 1024
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "HOME", "LANG", "LC_ALL")
_ROOT = Path(__file__).resolve().parents[2]
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from ingest.parsers.worker import main; main()"
)


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds of wall time, and bytes of input, of memory and of output."""

    seconds: float = 20.0
    input: int = 50 * _MIB
    memory: int = 1024 * _MIB
    output: int = 64 * _MIB


def check_size(name: str, size: int, limits: Limits = Limits()) -> None:
    """Refuse a file by its size, before it is read; raises `ParseError`."""
    if size > limits.input:
        raise ParseError(
            f"{printable(name)} is over {limits.input // _MIB} MiB: split it, or exclude it"
        )


class WorkerEnded(Exception):
    """The worker is gone while it had a file; the message says why, as an end to a sentence."""


class Parsers:
    """Parses files in a sandbox. A context manager; safe to use from several threads, one at a time.

    The worker is started with the first file, so making one costs nothing.
    """

    def __init__(self, limits: Limits = Limits()):
        self._limits = limits
        self._worker: _Worker | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "Parsers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parse(self, name: str, data: bytes) -> Parsed:
        """As `ingest.parsers.parse`; raises `ParseError` too for a file that breaks a limit."""
        name = printable(name)
        check_size(name, len(data), self._limits)
        try:
            head, text = self._ask({"do": "parse", "name": name}, data)
        except WorkerEnded as ended:
            raise ParseError(
                f"{name} {ended}: if it is sound, split it or save it anew, else exclude it"
            ) from ended
        if "error" in head:
            raise ParseError(head["error"])
        return Parsed(head["title"], text.decode(), head["metadata"], head["dropped"])

    def outline(self, text: str, language: str) -> Unit | None:
        """As `ingest.parsers.code.outline`; None for code that breaks a limit, too."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            head, _ = self._ask({"do": "outline", "language": language}, data)
        except WorkerEnded as ended:
            log.warning("a %s file %s: its functions are not known", language, ended)
            return None
        return _unit(head["outline"]) if head["outline"] else None

    def close(self) -> None:
        """End the worker; the next file would start another."""
        with self._lock:
            self._drop()

    def _ask(self, request: dict[str, str], data: bytes) -> Frame:
        """The worker's answer. What ends a worker that has read other files is asked of a new one:
        its memory may have been full of them.
        """
        with self._lock:
            used = self._worker is not None
            try:
                return self._ask_once(request, data)
            except WorkerEnded as ended:
                if not used or isinstance(ended, TookTooLong):
                    raise
            return self._ask_once(request, data)

    def _ask_once(self, request: dict[str, str], data: bytes) -> Frame:
        self._worker = self._worker or _Worker(self._limits)
        try:
            return self._worker.ask(request, data)
        except BaseException:  # an interrupted worker would give this answer to the next question
            self._drop()
            raise

    def _drop(self) -> None:
        if self._worker:
            self._worker.end()
        self._worker = None


class TookTooLong(WorkerEnded):
    """The worker was ended since a file's time was up."""


class _Worker:
    """One child process, and a thread that reads its answers so that waiting for them can end."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `end`
        # Not the working folder, which the parent may look into as "": it can hold anything.
        path = json.dumps([str(_ROOT), *(each for each in sys.path if each)])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, path, str(limits.memory), str(limits.output)],
            start_new_session=True,  # an interrupt at the terminal is for the parent to answer
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ},
        )
        self._answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="casebook-parser", daemon=True).start()
        try:
            self._next(START_SECONDS)
        except WorkerEnded:
            self.end()
            raise

    def ask(self, request: dict[str, str], data: bytes) -> Frame:
        assert self._process.stdin
        try:
            send(self._process.stdin, {**request, "seconds": self._limits.seconds}, data)
        except OSError as error:
            raise WorkerEnded(self._reason()) from error
        return self._next(self._limits.seconds)

    def _next(self, seconds: float) -> Frame:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise TookTooLong(f"took over {seconds:g} s to parse") from None
        if answer is None:
            raise WorkerEnded(self._reason())
        if "limit" in answer[0]:
            raise WorkerEnded(str(answer[0]["limit"]))
        return answer

    def _read(self) -> None:
        assert self._process.stdout
        try:
            while frame := receive(self._process.stdout, self._limits.output + _MIB):
                self._answers.put(frame)
        except (OSError, ValueError):
            log.info("a parser's answer could not be read", exc_info=True)
        self._answers.put(None)

    def _reason(self) -> str:
        """Why the process ended, for a message. What it wrote to its standard error may quote the document, so it
        is logged for debugging alone.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        log.debug("a parser wrote: %s", self._errors.read()[-4000:].decode("utf-8", "replace"))
        return f"broke its parser (exit {code})"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin
        with contextlib.suppress(OSError):  # what was not yet written goes nowhere
            self._process.stdin.close()
        self._errors.close()


def _unit(nested: Any) -> Unit:
    start, end, names, children = nested
    return Unit(start, end, tuple(names), tuple(map(_unit, children)))

"""Watching: sources are brought up to date by themselves, local folders when a file changes, others
on a schedule, and later and later while they fail.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.jobs import Jobs
from index.errors import Busy, StorageFailed

log = logging.getLogger("casebook.watch")

FIRST_RETRY = 30.0
LAST_RETRY = 3600.0
"""Seconds: the wait after a failure doubles from the one to the other, with full jitter above half
(Brooker, *Exponential Backoff and Jitter*, AWS, 2015)."""

QUIET_MS = 200
"""Files are mostly saved in bursts; a sync begins when a folder has been quiet for this long."""

BUSY_RETRY = 1.0


@dataclass(frozen=True)
class Watched:
    """A source to keep fresh: `every` so many seconds, or, with `paths`, whenever a file there changes."""

    name: str
    every: float | None
    paths: tuple[Path, ...] = ()


class Watch:
    """Starts a job for each source when it is due. `failed(name)` tells whether its last sync failed."""

    def __init__(
        self,
        sources: Sequence[Watched],
        jobs: Jobs,
        failed: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._jobs = jobs
        self._failed = failed
        self._clock = clock
        self._jitter = jitter
        self._due: dict[str, float | None] = {source.name: clock() for source in sources}
        self._failures = dict.fromkeys(self._due, 0)
        self._wake = threading.Condition()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, each in a thread of its own: one that syncs what is due, and one that sees files."""
        threading.Thread(target=self._sync_when_due, name="watch", daemon=True).start()
        if any(source.paths for source in self._sources.values()):
            threading.Thread(target=self._see_files, name="watch-files", daemon=True).start()

    def stop(self) -> None:
        """End; a sync that is running goes on to its end."""
        self._stopped.set()
        with self._wake:
            self._wake.notify_all()

    def next_run(self, name: str) -> float | None:
        """When a source is due next, in seconds since 1970; None for one that waits for its files."""
        return self._due.get(name)

    def _sync_when_due(self) -> None:
        while not self._stopped.is_set():
            with self._wake:
                now = self._clock()
                due = [name for name, at in self._due.items() if at is not None and at <= now]
                if not due:
                    waits = [at - now for at in self._due.values() if at is not None]
                    self._wake.wait(min(waits, default=None))
                    continue
            self.sync(due)

    def sync(self, names: Sequence[str]) -> None:
        """Bring some sources up to date now, and say when each is due again."""
        try:
            job = self._jobs.start(names)
        except Busy:
            self._stopped.wait(BUSY_RETRY)
            return
        except StorageFailed as error:  # a full disk ends one day, and watching goes on
            log.warning("sources %s wait: %s", ", ".join(names), error)
            self._stopped.wait(FIRST_RETRY)
            return
        with self._wake:
            for name in names:
                self._due[name] = None  # a file that changes meanwhile makes it due again
        self._jobs.wait(job)
        with self._wake:
            for name in names:
                self._plan(name, job.state == "failed" or self._failed(name))

    def _plan(self, name: str, failed: bool) -> None:
        self._failures[name] = self._failures[name] + 1 if failed else 0
        if failed:
            longest = min(LAST_RETRY, FIRST_RETRY * 2 ** (self._failures[name] - 1))
            wait: float | None = longest * (0.5 + self._jitter() / 2)
            log.warning(
                "source %s failed %d times, next try in %.0f s", name, self._failures[name], wait
            )
        else:
            wait = self._sources[name].every
        if wait is not None:
            at = self._clock() + wait
            known = self._due[name]
            self._due[name] = at if known is None else min(at, known)

    def _see_files(self) -> None:
        from watchfiles import watch

        by_path = {
            path.resolve(): source.name
            for source in self._sources.values()
            for path in source.paths
            if path.exists()
        }
        for changes in watch(*by_path, debounce=1600, step=QUIET_MS, stop_event=self._stopped):
            touched = {Path(path) for _, path in changes}
            self._touch(name for path, name in by_path.items() if _touches(path, touched))

    def _touch(self, names: Iterable[str]) -> None:
        with self._wake:
            for name in names:
                self._due[name] = self._clock()
            self._wake.notify_all()


def _touches(root: Path, touched: set[Path]) -> bool:
    return any(path == root or path.is_relative_to(root) for path in touched)

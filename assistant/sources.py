"""The sources as callers may know them: what each holds for them, and how fresh it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from assistant.access.caller import Caller
from assistant.schema import SourceInfo, SourceList
from assistant.settings import Settings
from index.catalog import DocumentRow
from index.reader import IndexReader
from ingest.sources.settings import UNNAMED


@dataclass(frozen=True)
class Known:
    """What the settings say of a source: its type, and how long it may go unread."""

    type: str
    stale_after: timedelta | None = None


def known_sources(settings: Settings) -> dict[str, Known]:
    """The configured sources by name."""
    return {entry.name: Known(entry.type, entry.stale_after) for entry in settings.sources}


def shown(name: str) -> str:
    """A source's name for people: what the files under `corpus` are called, which have none."""
    return name or UNNAMED


def targets(settings: Settings, every: timedelta | None) -> dict[str, float]:
    """The seconds that sources, by name, may go unread: as they say themselves, or two turns of their
    schedule. `every` is that of remote sources which have none of their own.
    """
    allowed = {
        entry.name: entry.stale_after
        or 2 * (entry.every or (every if entry.type != "folder" else None) or timedelta())
        for entry in settings.sources
    }
    return {name: limit.total_seconds() for name, limit in allowed.items() if limit}


class Sources:
    """Answers `GET /sources`. `next_run` gives when a source is due, in seconds since 1970, or None."""

    def __init__(
        self,
        reader: IndexReader,
        known: Mapping[str, Known],
        next_run: Callable[[str], float | None] = lambda name: None,
    ) -> None:
        self._reader = reader
        self._known = known
        self._next_run = next_run

    def listed(self, caller: Caller, *, unclaimed: bool = False) -> SourceList:
        """Every source that holds something for the caller; to administrators every source, and how
        its last sync went, which on an `unclaimed` service anyone is told.
        """
        held: dict[str, list[DocumentRow]] = {}
        for document in self._reader.current().documents:
            if caller.may_read(document.access):
                held.setdefault(document.source_name, []).append(document)
        statuses = self._reader.catalog.source_statuses()
        names = set(held) | (
            set(self._known) | set(statuses) if caller.administrator or unclaimed else set()
        )
        return SourceList(
            sources=[
                self._info(
                    name,
                    held.get(name, []),
                    statuses.get(name, {}),
                    caller.administrator or unclaimed,
                )
                for name in sorted(names)
            ]
        )

    def _info(
        self, name: str, held: list[DocumentRow], status: Mapping[str, object], told: bool
    ) -> SourceInfo:
        known = self._known.get(name, Known("files"))
        synced_at = status.get("synced_at")
        next_run = self._next_run(name)
        return SourceInfo(
            name=shown(name),
            type=known.type,
            documents=len(held),
            kinds=dict(sorted(Counter(document.kind for document in held).items())),
            newest=max((each.modified_at for each in held if each.modified_at), default=None),
            synced_at=str(synced_at) if synced_at else None,
            stale=_overdue(synced_at, known.stale_after),
            sync={
                "revision": status.get("revision"),
                "failed": status.get("failed", 0),
                "error": status.get("error"),
                "failed_at": status.get("failed_at"),
                "next_run": datetime.fromtimestamp(next_run, UTC).isoformat(timespec="seconds")
                if next_run
                else None,
            }
            if told
            else None,
        )


def _overdue(synced_at: object, stale_after: timedelta | None) -> bool:
    if stale_after is None or not isinstance(synced_at, str):
        return False
    return datetime.now(UTC) - datetime.fromisoformat(synced_at) > stale_after

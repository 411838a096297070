"""Gauges: how things stand, looked up when somebody asks for the metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Observation

from assistant.gateway.errors import GatewayError
from assistant.gateway.gateway import Gateway
from assistant.gateway.shares import fullest
from assistant.sources import shown
from index.errors import CasebookError
from index.instruments import METER
from index.reader import IndexReader
from index.recovery.audit import audit_path, snapshot_age

Look = Callable[[], Iterable[Observation]]


def show(reader: IndexReader, gateway: Gateway, targets: Mapping[str, float]) -> None:
    """Have the state of the index, its sources and the models among the metrics; `targets` are the
    seconds that sources, by name, may be old.
    """
    index, sources, models = _Index(reader), _Sources(reader, targets), _Models(gateway)
    _gauge("casebook.index.documents", "{document}", "Documents in the index", index.documents)
    _gauge("casebook.index.chunks", "{chunk}", "Chunks in the index", index.chunks)
    _gauge("casebook.index.unavailable", "{index}", "1 while nothing is served", index.unavailable)
    _gauge("casebook.snapshot.age", "s", "Age of the newest snapshot", index.snapshot_age)
    _gauge("casebook.source.age", "s", "Time since a source was last read well", sources.ages)
    _gauge("casebook.source.target", "s", "Age that a source is to stay below", sources.targets)
    _gauge("casebook.source.failing", "{source}", "1 where the last sync failed", sources.failing)
    if gateway.configured:
        _gauge("casebook.gateway.breaker.open", "{model}", "1 while it is left alone", models.open)
        _gauge("casebook.budget.used", "1", "Share of today's budget used", models.budgets)


def _gauge(name: str, unit: str, description: str, look: Look) -> None:
    def observe(options: CallbackOptions) -> Iterator[Observation]:
        try:
            yield from look()
        except (CasebookError, OSError):
            return  # what can't be told now is left out, and alerts on what is absent

    METER.create_observable_gauge(name, [observe], unit, description)


@dataclass(frozen=True)
class _Index:
    reader: IndexReader

    def documents(self) -> Iterator[Observation]:
        yield Observation(len(self.reader.current().documents))

    def chunks(self) -> Iterator[Observation]:
        yield Observation(sum(each.chunk_count for each in self.reader.current().segments))

    def unavailable(self) -> Iterator[Observation]:
        try:
            self.reader.current()
        except CasebookError:
            yield Observation(1)
        else:
            yield Observation(0)

    def snapshot_age(self) -> Iterator[Observation]:
        age = snapshot_age(audit_path(self.reader.folder), datetime.now(UTC))
        if age is not None:
            yield Observation(age)


@dataclass(frozen=True)
class _Sources:
    """Sources by their names in the settings, which no caller chooses."""

    reader: IndexReader
    due: Mapping[str, float]

    def ages(self) -> Iterator[Observation]:
        now = datetime.now(UTC)
        for name, status in self._statuses():
            if synced_at := status.get("synced_at"):
                age = (now - datetime.fromisoformat(str(synced_at))).total_seconds()
                yield Observation(max(0.0, age), {"source": name})

    def targets(self) -> Iterator[Observation]:
        for name, seconds in self.due.items():
            yield Observation(seconds, {"source": shown(name)})

    def failing(self) -> Iterator[Observation]:
        for name, status in self._statuses():
            yield Observation(int(bool(status.get("error"))), {"source": name})

    def _statuses(self) -> Iterator[tuple[str, Mapping[str, object]]]:
        self.reader.current()  # raises where there is no index, rather than make a catalog
        for name, status in self.reader.catalog.source_statuses().items():
            yield shown(name), status


@dataclass(frozen=True)
class _Models:
    gateway: Gateway

    def open(self) -> Iterator[Observation]:
        for model, is_open in self.gateway.breakers().items():
            yield Observation(int(is_open), {"provider": model})

    def budgets(self) -> Iterator[Observation]:
        """The fullest budget of each kind: keys are not told apart, nor teams, of which there may be many."""
        try:
            shares = fullest(self.gateway.ledger)
        except GatewayError:
            return
        for (per, measure), share in shares.items():
            yield Observation(share, {"budget": f"{per} {measure}"})

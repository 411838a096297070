"""The client: Casebook from Python, in step or asynchronously.

    from assistant import Casebook

    with Casebook() as casebook:
        print(casebook.ask("What coordinates backups?").answer)

What goes wrong is raised as the service raised it: `InvalidInput`, `NotFound`, `Unauthorized`, `Forbidden`,
`TooManyRequests`, `Busy`, `IndexUnavailable` …, all of them `CasebookError`, and `Unreachable` where no service
answers. Nothing is tried again.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel

from assistant.client import wire
from assistant.client.errors import broken_off, raise_for, unreachable
from assistant.client.wire import Call, Ingestion
from assistant.events import AnswerEvent, Final
from assistant.schema import (
    Answer,
    DocumentDetail,
    DocumentList,
    Filters,
    SearchResult,
    SourceList,
    Turn,
)

T = TypeVar("T", bound=BaseModel)

ADDRESS = "http://127.0.0.1:8000"

TIMEOUT = 90.0
"""Seconds without a word from the service: a model may take 60, and retrieval comes before it."""

EVENTS = {"Accept": "text/event-stream"}


class Casebook:
    """A service at an address, asked with a key of `casebook keys create`, or without as anyone.

    Keeps connections open: use it in a `with`, or `close` it. May be shared between threads.
    `timeout`: seconds to wait for each piece of an answer.
    """

    def __init__(
        self, address: str = ADDRESS, key: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        self._timeout = timeout
        self._http = httpx.Client(**wire.settings(address, key, timeout))

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(
        self,
        question: str,
        filters: Filters | None = None,
        conversation: Sequence[Turn] = (),
        explain: bool = False,
    ) -> Answer:
        """Answer a question, in the light of what was said before; `explain` adds the trace."""
        return self._do(wire.ask(question, filters, conversation, explain))

    def stream(
        self,
        question: str,
        filters: Filters | None = None,
        conversation: Sequence[Turn] = (),
        explain: bool = False,
    ) -> Iterator[AnswerEvent]:
        """The answer as it comes about: `Citations`, `Said` for each sentence, and `Final`, which counts.

        Left early, it ends the work for the answer when the iterator is closed.
        """
        call = wire.ask(question, filters, conversation, explain)
        with self._events(call) as events:
            for name, data in events:
                event = wire.answer_event(name, data)
                if event is not None:
                    yield event
                if isinstance(event, Final):
                    return
        raise broken_off(self._http.base_url)

    def search(self, query: str, k: int = 10) -> SearchResult:
        """The `k` passages (1 to 100) that fit a query best."""
        return self._do(wire.search(query, k))

    def documents(self) -> DocumentList:
        """The documents that may be read, without their texts."""
        return self._do(wire.documents())

    def document(self, document_id: str) -> DocumentDetail:
        """One document with its text, into which citations point."""
        return self._do(wire.document(document_id))

    def sources(self) -> SourceList:
        """Where the documents come from, and how fresh each source is."""
        return self._do(wire.sources())

    def ingest(self) -> Ingestion:
        """Begin to bring the index up to date; for administrators. Raises `Busy` while that is going on."""
        return self._do(wire.ingest())

    def ingestion(self, job: Ingestion | str) -> Ingestion:
        """How far an ingestion is."""
        return self._do(wire.ingestion(job))

    def wait(self, job: Ingestion | str) -> Ingestion:
        """The ingestion when it is done; raises `IngestionFailed` where it fails."""
        with self._events(wire.ingestion(job)) as events:
            for _, data in events:
                told = wire.read_as(Ingestion, data)
                if told.state != "running":
                    return wire.ended(told)
        raise broken_off(self._http.base_url)

    def _do(self, call: Call[T]) -> T:
        with self._reached():
            response = self._http.request(
                call.method, call.path, params=call.params, json=call.body
            )
        return call.read(response)

    @contextmanager
    def _events(self, call: Call[T]) -> Iterator[Iterator[tuple[str, str]]]:
        with (
            self._reached(),
            self._http.stream(call.method, call.path, json=call.body, headers=EVENTS) as response,
        ):
            if not response.is_success:
                response.read()
                raise_for(response)
            reader = wire.EventReader()
            yield (event for line in response.iter_lines() if (event := reader.feed(line)))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(error, self._http.base_url, self._timeout) from error


class AsyncCasebook:
    """As `Casebook`, for asynchronous code: use it in an `async with`, in one event loop."""

    def __init__(
        self, address: str = ADDRESS, key: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        self._timeout = timeout
        self._http = httpx.AsyncClient(**wire.settings(address, key, timeout))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def ask(
        self,
        question: str,
        filters: Filters | None = None,
        conversation: Sequence[Turn] = (),
        explain: bool = False,
    ) -> Answer:
        """As `Casebook.ask`."""
        return await self._do(wire.ask(question, filters, conversation, explain))

    async def stream(
        self,
        question: str,
        filters: Filters | None = None,
        conversation: Sequence[Turn] = (),
        explain: bool = False,
    ) -> AsyncIterator[AnswerEvent]:
        """As `Casebook.stream`; leave it early under `contextlib.aclosing`."""
        call = wire.ask(question, filters, conversation, explain)
        async with self._events(call) as events:
            async for name, data in events:
                event = wire.answer_event(name, data)
                if event is not None:
                    yield event
                if isinstance(event, Final):
                    return
        raise broken_off(self._http.base_url)

    async def search(self, query: str, k: int = 10) -> SearchResult:
        """As `Casebook.search`."""
        return await self._do(wire.search(query, k))

    async def documents(self) -> DocumentList:
        """As `Casebook.documents`."""
        return await self._do(wire.documents())

    async def document(self, document_id: str) -> DocumentDetail:
        """As `Casebook.document`."""
        return await self._do(wire.document(document_id))

    async def sources(self) -> SourceList:
        """As `Casebook.sources`."""
        return await self._do(wire.sources())

    async def ingest(self) -> Ingestion:
        """As `Casebook.ingest`."""
        return await self._do(wire.ingest())

    async def ingestion(self, job: Ingestion | str) -> Ingestion:
        """As `Casebook.ingestion`."""
        return await self._do(wire.ingestion(job))

    async def wait(self, job: Ingestion | str) -> Ingestion:
        """As `Casebook.wait`."""
        async with self._events(wire.ingestion(job)) as events:
            async for _, data in events:
                told = wire.read_as(Ingestion, data)
                if told.state != "running":
                    return wire.ended(told)
        raise broken_off(self._http.base_url)

    async def _do(self, call: Call[T]) -> T:
        async with self._reached():
            response = await self._http.request(
                call.method, call.path, params=call.params, json=call.body
            )
        return call.read(response)

    @asynccontextmanager
    async def _events(self, call: Call[T]) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        async with (
            self._reached(),
            self._http.stream(call.method, call.path, json=call.body, headers=EVENTS) as response,
        ):
            if not response.is_success:
                await response.aread()
                raise_for(response)
            reader = wire.EventReader()
            yield (event async for line in response.aiter_lines() if (event := reader.feed(line)))

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(error, self._http.base_url, self._timeout) from error

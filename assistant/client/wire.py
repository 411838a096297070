"""The client's side of the wire: requests as values, and answers and events read back.

Nothing here waits or connects, so that the two clients differ in nothing but how they wait.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from assistant.client.errors import IngestionFailed, ServiceError, error_of, raise_for
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.schema import (
    Answer,
    AnswerSentence,
    AskRequest,
    Citation,
    DocumentDetail,
    DocumentList,
    Filters,
    SearchResult,
    SourceList,
    Turn,
)
from index.errors import InvalidInput

T = TypeVar("T", bound=BaseModel)

CONNECT_SECONDS = 5.0
"""To connect: a machine that is there answers in far less, and one that is not never does."""


class Ingestion(BaseModel):
    """An ingestion under way or done; `progress` and `summary` as `POST /ingest` documents them."""

    model_config = ConfigDict(frozen=True)

    job: str
    sources: list[str] | None = None
    state: Literal["running", "done", "failed"]
    progress: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    error: str | None = None


# --- requests ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and the model that its answer is read as."""

    method: str
    path: str
    result: type[T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None

    def read(self, response: httpx.Response) -> T:
        """The answer; raises what the service says went wrong."""
        raise_for(response)
        return read_as(self.result, response.content)


def ask(
    question: str, filters: Filters | None, conversation: Sequence[Turn], explain: bool
) -> Call[Answer]:
    """`POST /ask`; raises `InvalidInput` for what the service would refuse."""
    try:
        request = AskRequest(
            question=question, filters=filters, conversation=list(conversation), explain=explain
        )
    except ValidationError as error:
        raise InvalidInput(_first(error)) from error
    return Call("POST", "/ask", Answer, body=request.model_dump(exclude_none=True))


def search(query: str, k: int) -> Call[SearchResult]:
    """`GET /search`."""
    return Call("GET", "/search", SearchResult, {"q": query, "k": k})


def documents() -> Call[DocumentList]:
    """`GET /documents`."""
    return Call("GET", "/documents", DocumentList)


def document(document_id: str) -> Call[DocumentDetail]:
    """`GET /documents/{id}`."""
    return Call("GET", f"/documents/{quote(document_id, safe='')}", DocumentDetail)


def sources() -> Call[SourceList]:
    """`GET /sources`."""
    return Call("GET", "/sources", SourceList)


def ingest() -> Call[Ingestion]:
    """`POST /ingest`."""
    return Call("POST", "/ingest", Ingestion)


def ingestion(job: Ingestion | str) -> Call[Ingestion]:
    """`GET /ingest/{job}`."""
    job_id = job if isinstance(job, str) else job.job
    return Call("GET", f"/ingest/{quote(job_id, safe='')}", Ingestion)


def settings(address: str, key: str | None, timeout: float) -> dict[str, Any]:
    """What an httpx client is made with; raises `InvalidInput` for an address or a key that can't be one."""
    url = httpx.URL(address) if _is_url(address) else None
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(f"{address!r} is no address: give one like http://127.0.0.1:8000")
    headers = {}
    if key is not None:
        if not key.isascii() or not key.isprintable() or not key.strip():
            raise InvalidInput("the key is no key: give one from `casebook keys create`, or none")
        headers["Authorization"] = f"Bearer {key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
    }


def _is_url(address: str) -> bool:
    try:
        httpx.URL(address)
    except httpx.InvalidURL:
        return False
    return True


# --- answers ----------------------------------------------------------------------------------


def read_as(model: type[T], text: bytes | str) -> T:
    """JSON as a model. Fields that a newer service adds are passed over."""
    try:
        return model.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        raise ServiceError(
            f"what came back is no {model.__name__} of Casebook ({_first(error)}): is the address "
            "right, and the service of the same version?"
        ) from error


class EventReader:
    """Reads server-sent events line by line: `feed` gives an event's name and data when it is complete."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> tuple[str, str] | None:
        """Take the next line, without its end."""
        if not line:
            name, data = self._name, "\n".join(self._data)
            self._name, self._data = "", []
            return (name, data) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        return None


def answer_event(name: str, data: str) -> AnswerEvent | None:
    """An event of an answer, None for one of a kind not known here; raises what an `error` event tells."""
    if name == "citations":
        return Citations(tuple(_CITATIONS.validate_json(data, extra="ignore")))
    if name == "sentence":
        return Said(read_as(AnswerSentence, data))
    if name == "answer":
        return Final(read_as(Answer, data))
    if name == "error":
        raise error_of(json.loads(data), 500, {})
    return None


_CITATIONS = TypeAdapter(list[Citation])


def ended(job: Ingestion) -> Ingestion:
    """A job that has ended well; raises `IngestionFailed` for one that has not."""
    if job.state == "failed":
        raise IngestionFailed(job.error or "the service does not say why: its log does")
    return job


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said

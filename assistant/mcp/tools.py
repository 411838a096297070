"""What an MCP client may have done: search for passages, fetch a document, ask a question.

`search` and `fetch` answer with the fields that clients of such tools have agreed on (`results` of `id`,
`title`, `url`; then `id`, `title`, `text`, `url`, `metadata`) and with what makes a citation exact.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant.access.caller import Caller
from assistant.schema import MAX_QUESTION, AskRequest, Citation, QuestionText
from assistant.urls import url_of

if TYPE_CHECKING:
    from assistant.answering import Answering

MAX_HITS = 50
"""Passages of a search at most: about 10,000 tokens, which a model still reads."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchArguments(_Model):
    """What to look for."""

    query: Annotated[str, Field(max_length=MAX_QUESTION)] = Field(
        description="what to look for, in plain words"
    )
    k: int = Field(10, ge=1, le=MAX_HITS, description="how many passages")


class FetchArguments(_Model):
    """Which document."""

    id: str = Field(max_length=1000, description="a document's id, as search and ask give it")


class AskArguments(_Model):
    """What to answer."""

    question: QuestionText = Field(description="one question, complete in itself")


class Found(_Model):
    """A passage: `text` is `[start, end)` of the document with this id."""

    id: str
    title: str
    url: str
    section: str
    text: str
    start: int
    end: int
    score: float


class SearchOutput(_Model):
    """The passages that fit, best first."""

    results: list[Found]
    index_state: str
    notice: str | None = None


class FetchOutput(_Model):
    """A document."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any]


class Cited(_Model):
    """What `[n]` in the answer stands for: `quote` is `[start, end)` of the document with this id."""

    n: int
    id: str
    title: str
    section: str
    url: str
    quote: str
    start: int
    end: int
    modified_at: str | None
    stale: bool


class AskOutput(_Model):
    """An answer, each sentence with the citations that support it, or an abstention: then `citations`
    are the nearest passages, which do not answer the question.
    """

    status: Literal["answered", "partial", "abstained"]
    answer: str
    notice: str | None
    citations: list[Cited]
    confidence: float
    index_state: str


@dataclass(frozen=True)
class Tool:
    """A tool: its arguments and output as models, and what it does for a caller. `run` gets valid
    arguments, the caller, and the address of this service where it has one; raises `CasebookError`.
    """

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    output: type[BaseModel]
    run: Callable[[Any, Caller, str | None], Awaitable[BaseModel]]


def tools(answering: "Answering") -> tuple[Tool, ...]:
    """The tools over one assistant."""
    return (
        Tool(
            "search",
            "Search the sources",
            "Passages of the organisation's own documents that fit a query, best first.",
            SearchArguments,
            SearchOutput,
            partial(_search, answering),
        ),
        Tool(
            "fetch",
            "Fetch a document",
            "The whole text of one document, with its metadata.",
            FetchArguments,
            FetchOutput,
            partial(_fetch, answering),
        ),
        Tool(
            "ask",
            "Ask a question",
            "A short answer from the organisation's own documents, each sentence with exact quotes "
            "that support it, or an honest word that the documents do not answer the question.",
            AskArguments,
            AskOutput,
            partial(_ask, answering),
        ),
    )


async def _search(
    answering: "Answering", asked: SearchArguments, caller: Caller, service: str | None
) -> SearchOutput:
    result = await answering.search(asked.query, asked.k, caller)
    found = [
        Found(
            id=hit.document_id,
            title=hit.title,
            url=url_of(hit.document_id, hit.source, None, service),
            section=hit.section,
            text=hit.text,
            start=hit.start,
            end=hit.end,
            score=hit.score,
        )
        for hit in result.hits
    ]
    return SearchOutput(results=found, index_state=result.index_state, notice=result.notice)


async def _fetch(
    answering: "Answering", asked: FetchArguments, caller: Caller, service: str | None
) -> FetchOutput:
    look = partial(answering.assistant.document, asked.id)
    found = await answering.looked_up(look, caller)
    own = found.model_dump(exclude={"id", "title", "text", "metadata"})
    return FetchOutput(
        id=found.id,
        title=found.title,
        text=found.text,
        url=url_of(found.id, found.source, None, service),
        metadata={**found.metadata, **own},
    )


async def _ask(
    answering: "Answering", asked: AskArguments, caller: Caller, service: str | None
) -> AskOutput:
    answer = await answering.answer(AskRequest(question=asked.question), caller)
    return AskOutput(
        status=answer.status,
        answer=answer.answer,
        notice=answer.notice,
        citations=[_cited(citation, service) for citation in answer.citations],
        confidence=answer.confidence,
        index_state=answer.index_state,
    )


def _cited(citation: Citation, service: str | None) -> Cited:
    return Cited(
        n=citation.n,
        id=citation.document_id,
        title=citation.title,
        section=citation.section,
        url=url_of(citation.document_id, citation.source, citation.link, service),
        quote=citation.quote,
        start=citation.start,
        end=citation.end,
        modified_at=citation.modified_at,
        stale=citation.stale,
    )

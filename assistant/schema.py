"""What goes over the wire: questions, answers, citations and traces, as in the contract."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

MAX_QUESTION = 4000
"""Characters; a longer text is a document, not a question."""

MAX_TURNS = 20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


QuestionText = Annotated[str, StringConstraints(strict=True, max_length=MAX_QUESTION)]


NOT_BLANK: dict[str, Any] = {"pattern": r"[^\s\x1c-\x1f\x85]"}
"""What OpenAPI says of a text that must hold more than white space."""


class Turn(_Model):
    """One earlier exchange of the conversation."""

    question: QuestionText
    answer: Annotated[str, StringConstraints(strict=True, max_length=20 * MAX_QUESTION)] = ""


class Filters(_Model):
    """Only documents that match every filter given; a list means any of its values."""

    kind: list[str] | None = Field(
        None, description="kinds of document, like case-study or runbook"
    )
    tags: list[str] | None = Field(None, description="tags from front matter")
    document_id: list[str] | None = Field(None, description="documents by id")
    source: str | None = Field(None, description="what the source's path begins with")
    source_name: list[str] | None = Field(
        None, description="sources by name, as GET /sources lists"
    )
    changed_since: str | None = Field(
        None,
        description="ISO date: documents changed then or later",
        json_schema_extra={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    )

    @field_validator("changed_since")
    @classmethod
    def _a_date(cls, stated: str | None) -> str | None:
        if stated is not None:
            datetime.fromisoformat(stated)
        return stated


class AskRequest(_Model):
    """A question, with what was said before it."""

    question: QuestionText = Field(json_schema_extra=NOT_BLANK)
    explain: Annotated[bool, Field(strict=True)] = False
    filters: Filters | None = None
    conversation: list[Turn] = Field(default=[], max_length=MAX_TURNS)

    @field_validator("question")
    @classmethod
    def _not_blank(cls, question: str) -> str:
        if not question.strip():
            raise ValueError("the question is blank: ask something, in up to 4,000 characters")
        return question


class Citation(_Model):
    """An exact span of one revision of a document: `quote == document.text[start:end]`."""

    n: int
    document_id: str
    title: str
    section: str
    heading_path: list[str]
    source_name: str
    source: str
    link: str | None = Field(
        description="where just this can be opened: lines, a comment, a commit"
    )
    kind: str
    revision: str
    start: int
    end: int
    quote: str
    score: float
    modified_at: str | None
    ingested_at: str
    stale: bool
    candidate: bool = Field(False, description="nearest passage of an abstention, not an answer")


Mode = Literal["extractive", "generated"]


class AnswerSentence(_Model):
    """A sentence of the answer and the numbers of the citations that support it; `mode` tells whether
    it is the sources' own or a model's.
    """

    text: str
    citations: list[int]
    mode: Mode = "extractive"


class AnswerUsage(_Model):
    """What a model was given and gave, in tokens, and its cost in US dollars where the price is known.

    `estimated`: counted here, as the model's provider told nothing.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: str | None
    estimated: bool
    attempts: int
    from_cache: bool


class TraceQuery(_Model):
    """What was asked and what was searched for in its place."""

    asked: str
    searched: str
    corrections: dict[str, str]
    from_conversation: bool


class TraceCandidate(_Model):
    """A passage that was weighed: its ranks (1 is best) and scores at each stage."""

    document_id: str
    title: str
    section: str
    start: int
    end: int
    ranks: dict[str, int]
    scores: dict[str, float]


class TraceConfidence(_Model):
    """The probability that the sources hold the answer, and what it is made of."""

    value: float
    threshold: float
    parts: dict[str, float]


class TraceSentence(_Model):
    """A sentence that a model wrote, and what became of it; `citations` are passages as the model
    numbered them.
    """

    text: str
    kept: bool
    reason: str | None
    probability: float
    citations: list[int]


class TracePassage(_Model):
    """A passage that the model was given, numbered from 1 in their order."""

    document_id: str
    start: int
    end: int


class TraceGeneration(_Model):
    """What a model was asked and what became of its answer. `outcome` is a word for how it ended,
    `attempts` how each model that was tried failed.
    """

    prompt_version: str
    prompt_sha256: str
    prompt_tokens: int
    passages: list[TracePassage]
    model: str | None
    outcome: str
    attempts: list[str]
    sentences: list[TraceSentence]
    times_ms: dict[str, float]


class Trace(_Model):
    """How an answer came about."""

    query: TraceQuery
    shelves: list[list[str]]
    candidates: list[TraceCandidate]
    considered: list[Citation] = Field(
        description="what the answer is made of, or was to be made of before the assistant abstained"
    )
    confidence: TraceConfidence
    reason: str | None
    models: dict[str, str]
    times_ms: dict[str, float]
    generation: TraceGeneration | None = None


class Answer(_Model):
    """The answer, or an honest word that the sources don't hold one."""

    status: Literal["answered", "partial", "abstained"]
    mode: Mode
    answer: str
    sentences: list[AnswerSentence]
    citations: list[Citation]
    confidence: float
    index_state: str
    model: str | None = None
    usage: AnswerUsage | None = None
    notice: str | None = None
    trace: Trace | None = None


class SearchHit(_Model):
    """A passage, as `GET /search` returns it: `text == document.text[start:end]`."""

    document_id: str
    title: str
    section: str
    source: str
    start: int
    end: int
    text: str
    score: float


class SearchResult(_Model):
    """The passages found, best first."""

    hits: list[SearchHit]
    index_state: str
    notice: str | None = None


class DocumentSummary(_Model):
    """A document without its text."""

    id: str
    title: str
    source_name: str
    source: str
    kind: str
    revision: str
    modified_at: str | None
    ingested_at: str
    stale: bool
    access: list[str]
    metadata: dict[str, Any]


class DocumentDetail(DocumentSummary):
    """A document with the text that citations point into."""

    text: str


class DocumentList(_Model):
    """The documents that the caller may read."""

    documents: list[DocumentSummary]
    total: int
    index_state: str


class SourceInfo(_Model):
    """A source as a caller may know it: what it holds for them, and how fresh that is.

    `stale` tells that it was not read for longer than its `stale_after`. What stands under `sync` is
    for administrators: it speaks of documents that others may not read.
    """

    name: str
    type: str
    documents: int
    kinds: dict[str, int]
    newest: str | None = Field(description="when the newest of its documents was changed")
    synced_at: str | None
    stale: bool
    sync: dict[str, Any] | None = Field(
        None, description="revision, failures, last error, next run: for administrators"
    )


class SourceList(_Model):
    """The sources that hold anything for the caller; administrators see all."""

    sources: list[SourceInfo]


class CallerInfo(_Model):
    """Who the service takes the caller for."""

    name: str
    kind: str
    administrator: bool
    labels: list[str]


class Suggestions(_Model):
    """Questions to begin with, made from what is in the index."""

    questions: list[str]


Standing = Literal["well", "impaired", "down"]
WORSE: tuple[Standing, ...] = ("well", "impaired", "down")


class Part(_Model):
    """One thing that may be well or not, in words."""

    name: str
    standing: Standing
    words: str


class Health(_Model):
    """How the service is: as well as the worst of its parts. `down`: it can't answer questions."""

    standing: Standing
    words: str
    parts: list[Part]

"""Non-interference: for any caller, what it gets is byte for byte what it would get if the documents
that it may not read had never been there.
"""

import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assistant.access.caller import Caller
from assistant.assistant import Assistant
from assistant.freshness import Freshness
from assistant.models import Models
from assistant.schema import AskRequest, Filters
from assistant.sources import Sources
from index.embedder import Embedder
from index.errors import NotFound
from index.reader import IndexReader
from index.reranker import Reranker
from index.schema import Document, DocumentId, Revision, content_hash
from index.span_reader import Reading, SpanReader
from ingest.sync import sync_documents
from tests.conftest import quiet

LABELS = ("public", "platform", "sre", "payments")

SUBJECTS = ("restore drill", "error budget", "certificates", "deploy freeze", "gateway token")
FACTS = (
    "The {0} is run every quarter by the platform team.",
    "The {0} is owned by payments and renewed after 90 days.",
    "When the {0} fails, page the on-call engineer and open a ticket.",
    "Nobody may skip the {0}, because an audit found it missing in 2023.",
    "The {0} was replaced by a nightly job; see the runbook.",
)
TEXTS = [
    f"# {subject.capitalize()}\n\n{fact.format(subject)}\n"
    for subject, fact in itertools.product(SUBJECTS, FACTS)
]
QUESTIONS = (
    "How often is the restore drill run?",
    "Who owns the certificates?",
    "What happens when the gateway token fails?",
    "certificats renewl",
    "error budget",
    "How do I bake bread?",
)


@dataclass
class Remembering:
    """The real embedder, which computes no text twice."""

    embedder: Embedder
    known: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    asked: dict[str, object] = field(default_factory=dict)

    def __getattr__(self, name: str) -> object:
        return getattr(self.embedder, name)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        for text in texts:
            if text not in self.known:
                self.known[text] = self.embedder.embed([text])[0]
        return np.stack([self.known[text] for text in texts])

    def embed_question(self, text: str) -> object:
        if text not in self.asked:
            self.asked[text] = self.embedder.embed_question(text)
        return self.asked[text]


@dataclass
class RememberingReranker:
    """The real reranker, which reads no pair twice."""

    reranker: Reranker
    known: dict[tuple[str, str], np.float32] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.reranker.name

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        for text in texts:
            if (question, text) not in self.known:
                self.known[question, text] = self.reranker.score(question, [text])[0]
        return np.array([self.known[question, text] for text in texts], dtype=np.float32)


@dataclass
class RememberingReader:
    """The real reader, which reads no pair twice."""

    reader: SpanReader
    known: dict[tuple[str, str], Reading] = field(default_factory=dict)

    def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        for text in texts:
            if (question, text) not in self.known:
                (self.known[question, text],) = self.reader.read(question, [text])
        return [self.known[question, text] for text in texts]


@pytest.fixture(scope="module")
def remembering(models: Models) -> Models:
    return Models(
        Remembering(models.embedder),  # type: ignore[arg-type]
        RememberingReranker(models.reranker),
        RememberingReader(models.span_reader),  # type: ignore[arg-type]
    )


def a_document(number: int, text: str, access: frozenset[str]) -> Document:
    return Document(
        id=DocumentId(f"doc-{number}"),
        title=text.splitlines()[0].removeprefix("# "),
        text=text,
        source_name=("runbooks", "notes")[number % 2],
        source=f"docs/{number}.md",
        kind=("runbook", "note")[number % 2],
        revision=Revision(content_hash(text)[:8]),
        modified_at=f"2025-01-{number + 1:02d}T00:00:00+00:00",
        ingested_at="2026-01-01T00:00:00+00:00",
        access=access,
        metadata={"tags": [text.split()[1]]},
    )


labels = st.frozensets(st.sampled_from(LABELS), max_size=3)
corpora = st.lists(st.tuples(st.sampled_from(TEXTS), labels), min_size=1, max_size=12)


@pytest.mark.slow
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    corpora, corpora, st.frozensets(st.sampled_from(LABELS), max_size=2), st.sampled_from(QUESTIONS)
)
def test_hidden_documents_change_not_a_byte(
    remembering: Models,
    first: list[tuple[str, frozenset[str]]],
    then: list[tuple[str, frozenset[str]]],
    held: frozenset[str],
    question: str,
) -> None:
    caller = Caller("someone", held, administrator=False, kind="key")
    revisions = [
        [
            # One that everyone may read, so that neither index is empty.
            a_document(
                20, "# Welcome\n\nAsk about runbooks.\n", frozenset(LABELS) | held | {"all"}
            ),
            *(a_document(number, text, access) for number, (text, access) in enumerate(corpus)),
        ]
        for corpus in (first, then)
    ]
    caller = Caller("someone", held | {"all"}, administrator=False, kind="key")
    with tempfile.TemporaryDirectory() as folder:
        whole, visible = Path(folder, "whole"), Path(folder, "visible")
        for documents in revisions:
            sync_documents(documents, whole, remembering.embedder, report=quiet)
            readable = [document for document in documents if caller.may_read(document.access)]
            sync_documents(readable, visible, remembering.embedder, report=quiet)
        ids = [document.id for document in revisions[0] + revisions[1]]
        assert everything(whole, remembering, caller, question, ids) == everything(
            visible, remembering, caller, question, ids
        )


def everything(
    folder: Path,
    remembering: Models,
    caller: Caller,
    question: str,
    ids: Sequence[str],
) -> str:
    """All that a caller can be told, as one text; only how long it took is left out."""
    assistant = Assistant(IndexReader(folder), remembering, Freshness(folder))
    sources = Sources(assistant.reader, {})
    told = [
        assistant.ask(AskRequest(question=question, explain=True), caller),
        assistant.ask(
            AskRequest(question=question, explain=True, filters=Filters(kind=["runbook"])), caller
        ),
        assistant.search(question, 20, caller),
        assistant.search(question, 5, caller, rerank=False),
        assistant.documents(caller),
        assistant.suggestions(caller),
        sources.listed(caller),
    ]
    for document_id in ids:
        try:
            told.append(assistant.document(document_id, caller))
        except NotFound as error:
            told.append(str(error))  # type: ignore[arg-type]
    assistant.close()
    return json.dumps([each if isinstance(each, str) else _untimed(each) for each in told])


def _untimed(model: object) -> object:
    dumped = model.model_dump()  # type: ignore[attr-defined]
    if dumped.get("trace"):
        del dumped["trace"]["times_ms"]
    for source in dumped.get("sources", ()):
        del source["synced_at"]
    return dumped

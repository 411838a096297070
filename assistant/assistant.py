"""The assistant: from a question to an answer of cited passages, or an abstention with its reason."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assistant import compose
from assistant.access.caller import Caller
from assistant.confidence import JUDGED, judge
from assistant.conflict import Conflict, settle
from assistant.extract import Quote, extract, names_only, overview
from assistant.freshness import Freshness, as_time
from assistant.models import Models, load_models
from assistant.question import Question, correct, last_subject, leans_on_conversation
from assistant.rank import RERANK_TOKENS, Ranking, by_promise, rank
from assistant.schema import (
    Answer,
    AskRequest,
    DocumentDetail,
    DocumentList,
    Filters,
    SearchHit,
    SearchResult,
    Suggestions,
    Turn,
)
from assistant.settings import Settings
from assistant.suggest import suggestions
from assistant.support import PassageTokens, word_support
from assistant.telemetry.content import tell
from assistant.telemetry.instruments import stage
from index.catalog import DocumentRow
from index.errors import InvalidInput, NotFound
from index.reader import IndexReader
from index.retriever import Candidate, retrieve
from index.schema import Document
from index.span_reader import Reading
from index.store import OpenState, Segment

log = logging.getLogger("casebook.assistant")

SUGGESTED = 4
SUPPORTING = 3
"""Passages in which support for the question's words is looked for."""


@dataclass(frozen=True)
class _Reading:
    """What one request may see: a state, what of it the caller may read, and the filter as ids."""

    state: OpenState
    caller: Caller
    shelves: tuple[Segment, ...]
    only: frozenset[str] | None = None

    @property
    def view_id(self) -> str:
        """The index state as this caller may know it."""
        return self.state.view_id(self.caller.may_read)

    @property
    def documents(self) -> list[DocumentRow]:
        """The documents that the caller may read."""
        return [each for each in self.state.documents if self.caller.may_read(each.access)]


@dataclass(frozen=True)
class Prepared:
    """A question as it was understood, what was retrieved for it, best first, the extractive answer and
    the quotes that it is, or was to be, made of. `conflict`: two of them disagree.
    """

    answer: Answer
    question: Question
    candidates: tuple[Candidate, ...] = ()
    quotes: tuple[Quote, ...] = ()
    conflict: Conflict | None = None


class Assistant:
    """Answers from one index with one set of models. Safe to share between threads."""

    def __init__(
        self,
        reader: IndexReader,
        models: Models,
        freshness: Freshness,
    ) -> None:
        self.reader = reader
        self.embedder = models.embedder
        self.reranker = models.reranker
        self.span_reader = models.span_reader
        self.models = models
        self.freshness = freshness
        self._tokens = PassageTokens(models.embedder)

    def close(self) -> None:
        """Let go of the index."""
        self.reader.close()

    def warm_up(self) -> None:
        """Load what is otherwise loaded with the first question."""
        self.span_reader.read("Is anything loaded?", ["Yes."])

    def ready(self) -> str:
        """The id of the state that questions are answered from; raises `IndexUnavailable`."""
        return self.reader.current().state.id

    # --- asking -------------------------------------------------------------------------------

    def ask(self, request: AskRequest, caller: Caller) -> Answer:
        """Answer a question from what the caller may read, in the sources' own words."""
        return self.prepare(request, caller).answer

    def prepare(self, request: AskRequest, caller: Caller) -> Prepared:
        """Retrieve for a question from what the caller may read, and answer it extractively."""
        began = time.perf_counter()
        reading = self._reading(caller, request.filters)
        tell("question", request.question)
        question = self._understand(request.question, request.conversation, reading)
        with stage("embed"):
            vector, tokens = self.embedder.embed_question(question.searched)
        embedded = time.perf_counter()
        ranking = rank(
            question.searched,
            vector,
            reading.shelves,
            self.reader.catalog,
            self.reranker,
            reading.only,
        )
        if not ranking.candidates:
            silence = compose.nothing(
                question, reading.view_id, self._shelves_shown(reading), request.explain
            )
            return Prepared(silence, question)
        tell("passages", [each.passage.text for each in ranking.candidates[:JUDGED]])
        extracting = time.perf_counter()
        with stage("read"):
            read = self.span_reader.read(
                question.searched,
                [each.passage.contextual_text for each in ranking.candidates[:JUDGED]],
            )
        reading_done = time.perf_counter()
        with stage("extract"):
            quotes = self._quotes(question, ranking, reading, read)
        judging = time.perf_counter()
        supporting = [
            candidate.passage.contextual_text for candidate in ranking.candidates[:SUPPORTING]
        ]
        with stage("judge"):
            support = word_support(question.searched, tokens, self._tokens.of(supporting))
            confidence = judge(question.searched, ranking.candidates, quotes, support, read)
        quotes, conflict = settle(question.searched, quotes, ranking.candidates)
        done = time.perf_counter()
        times = {
            "understand_and_embed": 1000 * (embedded - began),
            **ranking.times_ms,
            "read": 1000 * (reading_done - extracting),
            "extract": 1000 * (judging - reading_done),
            "judge": 1000 * (done - judging),
            "total": 1000 * (done - began),
        }
        log.info("%s in %.0f ms", "answered" if confidence.enough else "abstained", times["total"])
        answer = compose.answer(
            question=question,
            ranking=replace(ranking, times_ms=times),
            confidence=confidence,
            considered=quotes,
            state_id=reading.view_id,
            shelves=self._shelves_shown(reading),
            models={"embedder": self.embedder.name, "reranker": self.reranker.name},
            stale=self.freshness.is_stale,
            explain=request.explain,
            notices=self._notices(quotes, conflict),
        )
        return Prepared(answer, question, ranking.candidates, tuple(quotes), conflict)

    def _notices(self, quotes: Sequence[Quote], conflict: Conflict | None) -> list[str]:
        """What must be said beside an answer: that its sources disagree, or are old."""
        old = self.age_notice([quote.passage.document for quote in quotes])
        return [
            each for each in (compose.disagreement(conflict) if conflict else None, old) if each
        ]

    def age_notice(self, documents: Sequence[Document]) -> str | None:
        """A word of warning where documents, cited from [1] on, are older than they should be."""
        statuses = self.reader.catalog.source_statuses() if self.freshness.stale_after else {}
        synced = {name: status.get("synced_at") for name, status in statuses.items()}
        return self.freshness.notice(list(enumerate(documents, 1)), synced)

    def _understand(self, asked: str, conversation: Sequence[Turn], reading: _Reading) -> Question:
        """Mend typos, and take the subject from the conversation where the question has none."""
        shelves = [shelf.lexical for shelf in reading.shelves]
        mended, corrections = correct(asked, shelves, self.embedder.is_word)
        if not conversation or not leans_on_conversation(mended):
            return Question(asked, mended, corrections)
        earlier = last_subject([turn.question for turn in conversation])
        if earlier is None:
            return Question(asked, mended, corrections)
        topic = self._topic(correct(earlier, shelves, self.embedder.is_word)[0], reading)
        return Question(asked, f"{topic}: {mended}", corrections, from_conversation=True)

    def _topic(self, question: str, reading: _Reading) -> str:
        """What an earlier question was about: the title of the document that answers it best."""
        vector = self.embedder.embed_question(question)[0]
        ranking = rank(
            question, vector, reading.shelves, self.reader.catalog, self.reranker, reading.only
        )
        return ranking.candidates[0].passage.document.title if ranking.candidates else question

    def _quotes(
        self,
        question: Question,
        ranking: Ranking,
        reading: _Reading,
        read: Sequence[Reading],
    ) -> list[Quote]:
        best = ranking.candidates[0]
        if names_only(question.searched, best.passage.document.title):
            passages = self.reader.catalog.passages_of(
                reading.state.state.id, best.passage.document.id
            )
            return overview(passages, best.scores["final"])
        return extract(question.searched, ranking.candidates, self.reranker, read)

    # --- looking ------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        k: int,
        caller: Caller,
        *,
        rerank: bool = True,
        rerank_tokens: int = RERANK_TOKENS,
    ) -> SearchResult:
        """The best passages for a query, by retrieval and, unless told otherwise, reranking."""
        if not query.strip():
            raise InvalidInput("the query is blank: say what to look for, like /search?q=restore")
        reading = self._reading(caller)
        tell("question", query)
        with stage("embed"):
            vector = self.embedder.embed_question(query)[0]
        found: list[Candidate] = []
        if rerank:
            ranking = rank(
                query,
                vector,
                reading.shelves,
                self.reader.catalog,
                self.reranker,
                tokens=rerank_tokens,
            )
            found = list(ranking.candidates)
        if k > len(found):
            seen = {candidate.passage.row for candidate in found}
            with stage("retrieve"):
                more = retrieve(query, vector, reading.shelves, self.reader.catalog, k)
            unseen = [candidate for candidate in more if candidate.passage.row not in seen]
            found += by_promise(query, unseen)
        hits = [
            SearchHit(
                document_id=candidate.passage.document.id,
                title=candidate.passage.document.title,
                section=candidate.passage.chunk.section,
                source=candidate.passage.document.source,
                start=candidate.passage.chunk.start,
                end=candidate.passage.chunk.end,
                text=candidate.passage.text,
                score=compose.score(candidate),
            )
            for candidate in found[:k]
        ]
        return SearchResult(hits=hits, index_state=reading.view_id)

    def documents(self, caller: Caller) -> DocumentList:
        """The documents that the caller may read."""
        reading = self._reading(caller)
        summaries = [
            compose.summary(document, self.freshness.is_stale(document), caller.shown)
            for document in reading.documents
        ]
        return DocumentList(documents=summaries, total=len(summaries), index_state=reading.view_id)

    def document(self, document_id: str, caller: Caller) -> DocumentDetail:
        """One document; raises `NotFound` alike for one that is absent and one that is hidden."""
        state = self.reader.current().state
        document = self.reader.catalog.document(state.id, document_id)
        if document is None or not caller.may_read(document.access):
            raise NotFound(f"no document {document_id!r}: GET /documents lists those there are")
        return compose.detail(document, self.freshness.is_stale(document), caller.shown)

    def suggestions(self, caller: Caller) -> Suggestions:
        """Questions to begin with."""
        reading = self._reading(caller)
        documents = reading.documents
        step = max(1, len(documents) // SUGGESTED)
        passages = [
            passage
            for document in documents[::step][:SUGGESTED]
            for passage in self.reader.catalog.passages_of(reading.state.state.id, document.id)
        ]
        return Suggestions(questions=suggestions(passages, SUGGESTED))

    def _reading(self, caller: Caller, filters: Filters | None = None) -> _Reading:
        state = self.reader.current()
        reading = _Reading(state, caller, state.readable(caller.may_read))
        if filters is None:
            return reading
        return replace(
            reading,
            only=frozenset(each.id for each in reading.documents if _matches(each, filters)),
        )

    def _shelves_shown(self, reading: _Reading) -> list[list[str]]:
        """The shelves that were searched, by those of their labels that are the caller's own."""
        shown = {tuple(sorted(reading.caller.shown(each.labels))) for each in reading.shelves}
        return [list(labels) for labels in sorted(shown)]


def _matches(document: DocumentRow, filters: Filters) -> bool:
    tags = document.metadata.get("tags") or []
    changed = document.modified_at or document.ingested_at
    return (
        (filters.kind is None or document.kind in filters.kind)
        and (filters.tags is None or bool(set(filters.tags) & {str(tag) for tag in tags}))
        and (filters.document_id is None or document.id in filters.document_id)
        and (filters.source is None or document.source.startswith(filters.source))
        and (filters.source_name is None or document.source_name in filters.source_name)
        and (filters.changed_since is None or as_time(changed) >= as_time(filters.changed_since))
    )


def open_assistant(settings: Settings) -> Assistant:
    """Load the models side by side and open the index when first asked; raises `ModelUnavailable`."""
    return Assistant(
        reader=IndexReader(settings.index),
        models=load_models(settings),
        freshness=Freshness(
            Path.cwd(),
            frozenset({"", *(each.name for each in settings.sources if each.type == "folder")}),
            {entry.name: entry.stale_after for entry in settings.sources if entry.stale_after},
        ),
    )

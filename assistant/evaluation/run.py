"""Runs: every question searched for and asked, and what came of each."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter

from assistant.access.caller import LOCAL
from assistant.assistant import Assistant, open_assistant
from assistant.evaluation.dataset import DataSet
from assistant.evaluation.generated import Ask, Judged, in_a_models_words, in_place, judge
from assistant.evaluation.gold import GoldQuestion, is_right
from assistant.evaluation.lists import resolve
from assistant.evaluation.source import Source, index_folder
from assistant.schema import Answer, AskRequest, SearchHit
from assistant.settings import Settings
from index.errors import InvalidInput
from ingest.sync import Progress, Report, sync_documents

DEPTH = 50
"""Passages that a ranking is judged on."""

KEPT_HITS = 10


@dataclass(frozen=True)
class Outcome:
    """What came of one question. `pages` are the documents found, best first; `passage_rank` is
    that of the first gold passage; `answer` is None where only the search is measured; `judged` is what
    a model wrote, where one was asked.
    """

    question: GoldQuestion
    hits: tuple[SearchHit, ...]
    pages: tuple[str, ...]
    passage_rank: int | None
    search_ms: float
    answer: Answer | None
    right: bool | None
    judged: Judged | None = None


@dataclass(frozen=True)
class Run:
    """The outcomes of one embedder and one reranker (None: without reranking)."""

    name: str
    split: str | None
    embedder: str
    reranker: str | None
    index_state: str
    documents: int
    left_out: int
    outcomes: tuple[Outcome, ...]


def measure(
    source: Source, settings: Settings, *, rerank: bool, report: Report, generate: bool = False
) -> Run:
    """Ask every question, for answers in a model's words where `generate` says so; raises `InvalidInput`,
    `IndexUnavailable` and `ModelUnavailable`.
    """
    content = source.content
    with (
        _opened(source, settings, report) as (assistant, questions),
        _asking(assistant, settings, generate) as ask,
    ):
        return Run(
            name=content.name,
            split=content.split if isinstance(content, DataSet) else None,
            embedder=assistant.embedder.name,
            reranker=assistant.reranker.name if rerank else None,
            index_state=assistant.ready(),
            documents=assistant.documents(LOCAL).total,
            left_out=content.left_out if isinstance(content, DataSet) else 0,
            outcomes=ask_all(
                assistant, spread(questions, source.limit), ask if rerank else None, report
            ),
        )


@contextmanager
def _opened(
    source: Source, settings: Settings, report: Report
) -> Iterator[tuple[Assistant, Sequence[GoldQuestion]]]:
    """The assistant over the right index, and the questions as that index knows them."""
    content = source.content
    if isinstance(content, DataSet):
        folder = index_folder(source, content, settings.embedder)
        settings = settings.model_copy(update={"index": folder, "anonymous_access": ["public"]})
    assistant = open_assistant(settings)
    try:
        if isinstance(content, DataSet):
            sync_documents(content.documents, settings.index, assistant.embedder, report=report)
            yield assistant, content.questions
        else:
            _check_embedder(assistant)
            listed = [
                assistant.document(each.id, LOCAL) for each in assistant.documents(LOCAL).documents
            ]
            yield assistant, resolve(content, listed)
    finally:
        assistant.close()


def _asking(
    assistant: Assistant, settings: Settings, generate: bool
) -> AbstractContextManager[Ask]:
    if generate:
        return in_a_models_words(assistant, settings.gateway)
    return nullcontext(lambda request: assistant.ask(request, LOCAL))


def _check_embedder(assistant: Assistant) -> None:
    built_with = assistant.reader.current().state.model
    if built_with != assistant.embedder.name:
        raise InvalidInput(
            f"the index at {assistant.reader.folder} was built with {built_with!r}, not "
            f"{assistant.embedder.name!r}: ingest with that embedder into another --index first"
        )


def spread(questions: Sequence[GoldQuestion], limit: int | None) -> Sequence[GoldQuestion]:
    """At most `limit` of the questions, at even distances: answerable ones keep their share."""
    if limit is None or limit >= len(questions):
        return questions
    return [questions[position * len(questions) // limit] for position in range(limit)]


def ask_all(
    assistant: Assistant, questions: Sequence[GoldQuestion], ask: Ask | None, report: Report
) -> tuple[Outcome, ...]:
    """The outcome of each question, after one that warms up and is not timed; without `ask` only the
    search is measured.
    """
    assistant.search(questions[0].text, DEPTH, LOCAL, rerank=ask is not None)
    if ask is not None:
        # A model costs time and money: it is not asked twice.
        assistant.ask(AskRequest(question=questions[0].text), LOCAL)
    outcomes = []
    for done, question in enumerate(questions):
        report(Progress("asking", done, len(questions)))
        outcomes.append(_outcome(assistant, question, ask))
    report(Progress("asking", len(questions), len(questions)))
    return tuple(outcomes)


def _outcome(assistant: Assistant, question: GoldQuestion, ask: Ask | None) -> Outcome:
    began = perf_counter()
    hits = assistant.search(question.text, DEPTH, LOCAL, rerank=ask is not None).hits
    search_ms = 1000 * (perf_counter() - began)
    answer = ask(AskRequest(question=question.text, explain=True)) if ask else None

    def passage(document_id: str, start: int, end: int) -> str:
        document = assistant.document(document_id, LOCAL)
        place = (str(document.metadata.get("project", "")), document.title)
        return in_place(place, document.text[start:end])

    gold = (
        rank
        for rank, hit in enumerate(hits, 1)
        if question.is_gold(hit.document_id, hit.start, hit.end)
    )
    return Outcome(
        question=question,
        hits=tuple(hits[:KEPT_HITS]),
        pages=tuple(dict.fromkeys(hit.document_id for hit in hits)),
        passage_rank=next(gold, None),
        search_ms=search_ms,
        answer=answer,
        right=is_right(answer, question) if answer else None,
        judged=judge(answer, passage) if answer else None,
    )

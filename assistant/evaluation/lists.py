"""A user's own list of questions, CSV or JSONL, asked of the index that there is."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.evaluation.gold import GoldQuestion, GoldSpan, quoted
from assistant.evaluation.rows import Row, jsonl_rows, table_rows
from assistant.schema import DocumentDetail
from index.errors import InvalidInput

UNANSWERABLE = "unanswerable"
YES = ("true", "yes", "1")
NO = ("false", "no", "0", "")


@dataclass(frozen=True)
class Entry:
    """A row of the list: a question, and what is known of its answer."""

    row: Row
    question: str
    document: str
    passage: str
    answers: tuple[str, ...]
    unanswerable: bool


@dataclass(frozen=True)
class QuestionList:
    """The questions of a file, not yet looked up in an index."""

    name: str
    entries: tuple[Entry, ...]


def load_list(file: Path) -> QuestionList:
    """Read and check a list; raises `InvalidInput` with the line that is wrong.

    Columns: `question`; `document` (id, title or source of the expected one, or `unanswerable`);
    `passage` (a text that the right passage contains); `answers` (in CSV separated by `|`);
    `unanswerable` (true or false). All but the question may be left out where another says what is
    expected.
    """
    if file.suffix.lower() == ".csv":
        entries = [
            _entry(row, row.optional("answers").split("|"))
            for row in table_rows(file, ("question",))
        ]
    elif file.suffix.lower() == ".jsonl":
        entries = [_entry(row, row.texts("answers")) for row in jsonl_rows(file)]
    else:
        raise InvalidInput(f"{file} is neither .csv nor .jsonl: give a list of questions as either")
    if not entries:
        raise InvalidInput(f"{file} holds no question: give one a line")
    return QuestionList(file.stem, tuple(entries))


def _entry(row: Row, answers: Sequence[str]) -> Entry:
    document, passage = row.optional("document").strip(), row.optional("passage").strip()
    entry = Entry(
        row=row,
        question=row.question("question"),
        document="" if document.lower() == UNANSWERABLE else document,
        passage=passage,
        answers=tuple(answer.strip() for answer in answers if answer.strip()),
        unanswerable=document.lower() == UNANSWERABLE or _is_set(row),
    )
    expects = bool(entry.document or passage or entry.answers)
    if expects and entry.unanswerable:
        raise row.wrong("both unanswerable and with an expected answer: keep one of the two")
    if not expects and not entry.unanswerable:
        raise row.wrong(
            "nothing says what is expected: give `document`, `passage` or `answers`, or write "
            f"{UNANSWERABLE} as the document"
        )
    return entry


def _is_set(row: Row) -> bool:
    value = row.values.get(UNANSWERABLE)
    word = "" if value is None else str(value).strip().lower()
    if word not in YES + NO:
        raise row.wrong(f"`{UNANSWERABLE}` must be true or false, not {value!r}")
    return word in YES


def resolve(
    questions: QuestionList, documents: Sequence[DocumentDetail]
) -> tuple[GoldQuestion, ...]:
    """Look up what is expected in the documents of an index; raises `InvalidInput`."""
    names = _names(documents)
    return tuple(_resolved(entry, documents, names) for entry in questions.entries)


def _names(documents: Sequence[DocumentDetail]) -> dict[str, list[DocumentDetail]]:
    """Documents by each of their names, in lower case."""
    names: dict[str, list[DocumentDetail]] = {}
    for document in documents:
        for name in {document.id, document.title.casefold(), document.source.casefold()}:
            names.setdefault(name, []).append(document)
    return names


def _resolved(
    entry: Entry, documents: Sequence[DocumentDetail], names: dict[str, list[DocumentDetail]]
) -> GoldQuestion:
    named = [_document(entry, names)] if entry.document else []
    spans = _spans(entry, named or documents) if entry.passage else []
    pages = [document.id for document in named] or [span.document_id for span in spans]
    expected = [" | ".join(entry.answers), entry.document, quoted(entry.passage)]
    return GoldQuestion(
        id=f"line {entry.row.line}",
        text=entry.question,
        answerable=not entry.unanswerable,
        pages=dict.fromkeys(pages, 1),
        spans=tuple(spans),
        answers=entry.answers,
        expected="\n".join(line for line in expected if line),
    )


def _document(entry: Entry, names: dict[str, list[DocumentDetail]]) -> DocumentDetail:
    """The document that an entry names."""
    found = names.get(entry.document) or names.get(entry.document.casefold(), [])
    if len(found) > 1:
        ids = ", ".join(document.id for document in found)
        raise entry.row.wrong(f"{entry.document!r} names several documents: give an id, of {ids}")
    if not found:
        near = difflib.get_close_matches(entry.document.casefold(), names, n=1)
        hint = f"did you mean {names[near[0]][0].title!r}? " if near else ""
        raise entry.row.wrong(
            f"no document {entry.document!r} in the index: {hint}give the id, title or source of "
            "one that is ingested"
        )
    return found[0]


def _spans(entry: Entry, documents: Sequence[DocumentDetail]) -> list[GoldSpan]:
    """Where the passage stands, in any case and with any white space between its words."""
    pattern = re.compile(r"\s+".join(map(re.escape, entry.passage.split())), re.IGNORECASE)
    spans = [
        GoldSpan(document.id, found.start(), found.end())
        for document in documents
        for found in pattern.finditer(document.text)
    ]
    if not spans:
        place = f"document {entry.document!r}" if entry.document else "any document"
        raise entry.row.wrong(
            f"the passage {quoted(entry.passage)[:80]!r} is not in {place}: copy it from the text "
            "that `casebook export` writes"
        )
    return spans

"""Judgments: which pages and passages of a data set answer which of its queries."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from assistant.evaluation.gold import GoldQuestion, GoldSpan, quoted
from assistant.evaluation.rows import Row, optional_rows, table_rows
from index.schema import Document


def read_qrels(
    file: Path, asked: Mapping[str, Row], corpus: Mapping[str, Document]
) -> dict[str, dict[str, int]]:
    """Relevant pages with their grades by query; raises `InvalidInput`."""
    pages: dict[str, dict[str, int]] = {}
    for row in table_rows(file, ("query-id", "corpus-id", "score"), delimiter="\t"):
        query, page, grade = (
            _known(row, "query-id", asked),
            row.text("corpus-id"),
            row.whole("score"),
        )
        if page not in corpus:
            raise row.wrong(f"no page {page!r} in the corpus: mend the corpus-id, or add the page")
        if grade > 0:
            pages.setdefault(query, {})[page] = grade
    return pages


def read_sections(
    file: Path, asked: Mapping[str, Row], corpus: Mapping[str, Document]
) -> dict[str, list[GoldSpan]]:
    """Spans of the passages that answer by query; raises `InvalidInput`."""
    spans: dict[str, list[GoldSpan]] = {}
    for row in optional_rows(file):
        query, page = _known(row, "query-id", asked), row.text("page-id")
        start, end = row.whole("start"), row.whole("end")
        if page not in corpus:
            raise row.wrong(f"no page {page!r} in the corpus: mend the page-id, or add the page")
        text = corpus[page].text
        if not 0 <= start < end <= len(text):
            raise row.wrong(
                f"no span [{start}, {end}) in a page of {len(text)} characters: mend it"
            )
        if row.optional("text") not in ("", text[start:end]):
            raise row.wrong("`text` is not what stands at [start, end) of the page: mend the span")
        spans.setdefault(query, []).append(GoldSpan(page, start, end))
    return spans


def _known(row: Row, name: str, asked: Mapping[str, Row]) -> str:
    query = row.text(name)
    if query not in asked:
        raise row.wrong(f"no query {query!r} in queries.jsonl: mend the {name}, or add the query")
    return query


def judged(
    row: Row, pages: Mapping[str, int], spans: Sequence[GoldSpan], kept: Mapping[str, Document]
) -> GoldQuestion:
    """A query with the judgments that name pages kept."""
    present = {page: grade for page, grade in pages.items() if page in kept}
    there = tuple(span for span in spans if span.document_id in kept)
    answers = row.texts("answers")
    return GoldQuestion(
        id=row.text("_id"),
        text=row.question("text"),
        answerable=True,
        pages=present,
        spans=there,
        answers=answers,
        expected=_expected(answers, there, present, kept),
    )


def unanswerable(row: Row, corpus: Mapping[str, Document]) -> GoldQuestion:
    """A question that nothing in the corpus answers, with the page that comes near, if known."""
    near_miss = corpus.get(row.optional("paragraph"))
    return GoldQuestion(
        id=row.text("_id"),
        text=row.question("text"),
        answerable=False,
        expected=f"near miss {near_miss.id}: {quoted(near_miss.text)}" if near_miss else "",
    )


def _expected(
    answers: Sequence[str],
    spans: Sequence[GoldSpan],
    pages: Mapping[str, int],
    corpus: Mapping[str, Document],
) -> str:
    """What a person would want to see: the gold passage, or else the answers and their page."""
    places = [
        f"{span.document_id}: {quoted(corpus[span.document_id].text[span.start : span.end])}"
        for span in spans
    ] or [f"{page}: {quoted(corpus[page].text)}" for page in pages]
    return "\n".join([*([" | ".join(answers)] if answers else []), *places[:2]])

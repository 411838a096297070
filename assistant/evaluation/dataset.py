"""Data sets: a folder with a corpus, queries and judgments, as `shared/eval/README.md` lays out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assistant.evaluation.gold import GoldQuestion
from assistant.evaluation.judgments import judged, read_qrels, read_sections, unanswerable
from assistant.evaluation.rows import Row, by_id, jsonl_rows, optional_rows, read_text
from index.catalog import utc_now
from index.errors import InvalidInput
from index.schema import Document, DocumentId, Revision, content_hash

QUERIES = "queries.jsonl"
DEFAULT_SPLIT = "dev"
PUBLIC = frozenset({"public"})


@dataclass(frozen=True)
class DataSet:
    """A corpus with questions about it; `left_out` queries have their page outside the corpus."""

    name: str
    split: str | None
    documents: tuple[Document, ...]
    questions: tuple[GoldQuestion, ...]
    left_out: int


def load_dataset(folder: Path, split: str | None = None, corpus_ids: Path | None = None) -> DataSet:
    """Read and check a data set; raises `InvalidInput` with the file and line that is wrong.

    `corpus_ids` names a file of the ids, one a line, of the pages to keep.
    """
    place = _split_folder(folder, split)
    corpus = _read_corpus(folder)
    kept = _kept(corpus, corpus_ids)
    asked = by_id(jsonl_rows(place / QUERIES))
    pages = read_qrels(place / "qrels.tsv", asked, corpus)
    spans = read_sections(place / "sections.jsonl", asked, corpus)
    silent = by_id(optional_rows(place / "unanswerable.jsonl"), taken=asked)
    answerable = [
        judged(row, pages.get(key, {}), spans.get(key, []), kept) for key, row in asked.items()
    ]
    questions = [question for question in answerable if question.pages]
    questions += [unanswerable(row, kept) for row in silent.values() if _is_hard(row, kept)]
    left_out = len(asked) + len(silent) - len(questions)
    if not questions:
        raise InvalidInput(f"{place}: no question has a judged page: check qrels.tsv")
    name = folder.resolve().name
    return DataSet(
        name=name if corpus_ids is None else f"{name}-{corpus_ids.stem}",
        split=place.name if place != folder else None,
        documents=tuple(kept.values()),
        questions=tuple(questions),
        left_out=left_out,
    )


def _is_hard(row: Row, kept: Mapping[str, Document]) -> bool:
    """Whether the near miss of an unanswerable question, if one is named, is in the corpus."""
    near_miss = row.optional("paragraph")
    return not near_miss or near_miss in kept


def _split_folder(folder: Path, split: str | None) -> Path:
    """The folder that holds the queries."""
    splits = sorted(child.name for child in folder.iterdir() if (child / QUERIES).is_file())
    choice = f"choose with --split from {', '.join(splits)}" if splits else "it has no splits"
    if split is not None:
        if split not in splits:
            raise InvalidInput(f"{folder} has no split {split!r}: {choice}")
        return folder / split
    if DEFAULT_SPLIT in splits:
        return folder / DEFAULT_SPLIT
    if (folder / QUERIES).is_file():
        return folder
    if len(splits) == 1:
        return folder / splits[0]
    if splits:
        raise InvalidInput(f"{folder} has several splits: {choice}")
    raise InvalidInput(
        f"{folder} is no data set: it needs corpus.jsonl (or corpus.jsonl.gz), and {QUERIES} and "
        "qrels.tsv beside it or in a folder of a split"
    )


def _read_corpus(folder: Path) -> dict[str, Document]:
    files = [folder / "corpus.jsonl", folder / "corpus.jsonl.gz"]
    for file in files:
        if file.is_file():
            now = utc_now().isoformat(timespec="seconds")
            return {key: _document(key, row, now) for key, row in by_id(jsonl_rows(file)).items()}
    raise InvalidInput(f"{folder} has no corpus: it needs {' or '.join(f.name for f in files)}")


def _document(key: str, row: Row, now: str) -> Document:
    """A page as a document; its id is its source too, because sources need not differ."""
    title, text = row.optional("title"), row.optional("text")
    project = row.optional("project")
    return Document(
        id=DocumentId(key),
        title=title,
        text=text,
        source=key,
        kind="page",
        revision=Revision(content_hash(title, text)[:16]),
        modified_at=None,
        ingested_at=now,
        access=PUBLIC,
        metadata={"project": project} if project else {},
    )


def _kept(corpus: Mapping[str, Document], corpus_ids: Path | None) -> Mapping[str, Document]:
    """The part of the corpus that is ingested."""
    if corpus_ids is None:
        return corpus
    kept = {}
    for number, line in enumerate(read_text(corpus_ids).splitlines(), 1):
        key = line.strip()
        if not key:
            continue
        if key not in corpus:
            raise InvalidInput(f"{corpus_ids}:{number}: no page {key!r} in the corpus: remove it")
        kept[key] = corpus[key]
    if not kept:
        raise InvalidInput(f"{corpus_ids} names no page: write one id a line")
    return kept

"""Question sets for measuring: our own over the case studies, and the shared evaluation data."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SHARED_EVAL = ROOT.parent / "shared" / "eval"


@dataclass(frozen=True)
class Asked:
    """A question and what is known of its answer; `answerable` is False where none is there."""

    question: str
    answerable: bool
    title: str | None = None
    section: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuestionSet:
    """A folder of documents and the questions asked of it."""

    name: str
    documents: Path
    questions: tuple[Asked, ...]


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, plain or gzipped."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.splitlines()]


def case_studies() -> QuestionSet:
    """Questions that the developers wrote over the 22 case studies."""
    stored = rows(ROOT / "tests" / "data" / "case-study-questions.jsonl")
    asked = tuple(
        Asked(row["question"], bool(row["case"]), row["case"], row["facet"], tuple(row["answers"]))
        for row in stored
    )
    return QuestionSet("case studies", ROOT / "corpus", asked)


def squad(folder: Path, count: int) -> QuestionSet:
    """The first questions of SQuAD 2.0's dev half, each unanswerable one with a near miss."""
    source = SHARED_EVAL / "squad2"
    _write_documents(rows(source / "corpus.jsonl.gz"), folder)
    answerable = rows(source / "dev" / "queries.jsonl")[:count]
    unanswerable = rows(source / "dev" / "unanswerable.jsonl")[:count]
    asked = [Asked(r["text"], True, answers=tuple(r["answers"])) for r in answerable]
    asked += [Asked(row["text"], False) for row in unanswerable]
    return QuestionSet("squad2 dev", folder, tuple(asked))


def infra_faq(folder: Path, pages: int) -> QuestionSet:
    """The dev questions of infra-faq over their own pages and the first others of the small set."""
    source = SHARED_EVAL / "infra-faq"
    judged = (source / "dev" / "qrels.tsv").read_text().splitlines()[1:]
    wanted = {line.split("\t")[1] for line in judged}
    wanted |= set((source / "corpus_small_ids.txt").read_text().split()[:pages])
    _write_documents([r for r in rows(source / "corpus.jsonl.gz") if r["_id"] in wanted], folder)
    asked = [Asked(row["text"], True) for row in rows(source / "dev" / "queries.jsonl")]
    asked += [Asked(row["text"], False) for row in rows(source / "dev" / "unanswerable.jsonl")]
    return QuestionSet("infra-faq dev", folder, tuple(asked))


def _write_documents(documents: Iterable[dict[str, Any]], folder: Path) -> None:
    """One markdown file a document, so that they go through ingestion like a user's own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, document in enumerate(documents):
        front = f"---\ntitle: {json.dumps(document['title'])}\n---\n"
        (folder / f"{number:05}.md").write_text(front + document["text"], encoding="utf-8")

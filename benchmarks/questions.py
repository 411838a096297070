"""What is measured on: our own questions over the case studies, and the shared evaluation data."""

import gzip
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SHARED_EVAL = ROOT.parent / "shared" / "eval"
CASE_STUDY_QUESTIONS = ROOT / "tests" / "data" / "case-study-questions.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, plain or gzipped."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.splitlines()]


def write_case_study_list(path: Path) -> None:
    """The questions over the case studies as a list that `casebook eval` reads.

    The passage expected is the facet, found by an expected answer; a few answers stand in other
    words than the document's, and are judged as answers alone.
    """
    lines = []
    for row in rows(CASE_STUDY_QUESTIONS):
        entry = {"question": row["question"], "document": row["case"], "answers": row["answers"]}
        if row["case"] is None:
            entry = {"question": row["question"], "unanswerable": True}
        lines.append(json.dumps(entry))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_infra_ids(path: Path, pages: int) -> None:
    """Ids of the pages that infra-faq's dev questions are judged on, and others up to `pages`."""
    source = SHARED_EVAL / "infra-faq"
    judged = (source / "dev" / "qrels.tsv").read_text().splitlines()[1:]
    small = (source / "corpus_small_ids.txt").read_text().splitlines()
    ids = dict.fromkeys([*sorted(line.split("\t")[1] for line in judged), *small])
    path.write_text("\n".join(list(ids)[:pages]) + "\n", encoding="utf-8")

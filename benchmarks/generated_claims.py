"""Sentences that gemma3-270m wrote from passages, each judged by reading it against them."""

import re
from dataclasses import dataclass
from functools import lru_cache

from assistant.generation.claims import Claim
from benchmarks.questions import ROOT, SHARED_EVAL, rows
from index.schema import Chunk, Document, DocumentId, Passage, Revision

GENERATED_CLAIMS = ROOT / "tests" / "data" / "generated-claims.jsonl"
"""Rows of question, claim, markers, the passages given as `[document, start, end, heading path]`, and
whether they support the claim."""

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.S)


@dataclass(frozen=True)
class Judged:
    """A claim, the passages that its model was given, and whether they support it."""

    question: str
    claim: Claim
    passages: tuple[Passage, ...]
    supported: bool


def generated_claims() -> list[Judged]:
    """All that were judged; where the shared evaluation data is missing, those on the case studies."""
    return [
        Judged(
            row["question"],
            Claim(row["claim"], tuple(row["markers"])),
            tuple(_passage(*place) for place in row["passages"]),
            row["supported"],
        )
        for row in rows(GENERATED_CLAIMS)
        if all(place[0] in _documents() for place in row["passages"])
    ]


def _passage(key: str, start: int, end: int, heading_path: list[str]) -> Passage:
    """A passage; its row is made of where it stands."""
    return Passage(
        hash((key, start)), _documents()[key], Chunk(start, end, start, tuple(heading_path), 0)
    )


@lru_cache(maxsize=1)
def _documents() -> dict[str, Document]:
    """The case studies by file name, and infra-faq's pages by id."""
    found = {}
    for path in (ROOT / "corpus").rglob("*.md"):
        text = _FRONT_MATTER.sub("", path.read_text(encoding="utf-8")).strip()
        found[path.stem] = document_of(path.stem, text.partition("\n")[0].lstrip("# "), text)
    corpus = SHARED_EVAL / "infra-faq" / "corpus.jsonl.gz"
    for row in rows(corpus) if corpus.exists() else ():
        found[row["_id"]] = document_of(row["_id"], row["title"], row["text"], row["project"])
    return found


def document_of(key: str, title: str, text: str, project: str | None = None) -> Document:
    """A page as a document that anybody may read."""
    return Document(
        id=DocumentId(key),
        title=title,
        text=text,
        source=key,
        kind="page",
        revision=Revision("1"),
        modified_at=None,
        ingested_at="",
        access=frozenset({"public"}),
        metadata={"project": project} if project else {},
    )

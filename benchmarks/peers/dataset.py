"""The corpus, the questions and their judgments: infra-faq dev, cut to a number of pages."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.peers.contract import Page, Query
from benchmarks.questions import SHARED_EVAL, rows

SOURCE = SHARED_EVAL / "infra-faq"

WARM_UP_QUERIES = 5
"""Asked before the clock starts; taken from the unanswerable ones, so that no cache knows a timed
query."""

ANSWERS = 2
"""The grade of the page that holds the answer; 1 is a page that also helps."""


@dataclass(frozen=True)
class Span:
    """The characters `[start, end)` of a page."""

    page: str
    start: int
    end: int


@dataclass(frozen=True)
class Dataset:
    """Pages, queries and what answers them.

    `grades` are the judged pages of each query. `gold` is the answering passage, of those queries
    that have one.
    """

    pages: tuple[Page, ...]
    queries: tuple[Query, ...]
    warm_up: tuple[Query, ...]
    grades: Mapping[str, Mapping[str, int]]
    gold: Mapping[str, Span]

    @property
    def characters(self) -> int:
        """How long all pages are together."""
        return sum(len(page.text) for page in self.pages)


def infra_faq(pages: int) -> Dataset:
    """The judged pages, then others of the small corpus in its order, up to `pages`.

    Fewer pages than judged ones leave only the queries whose answering page is among them.
    """
    judgments = _judgments()
    judged = dict.fromkeys(page for grades in judgments.values() for page in grades)
    # Page ids hold spaces: one id a line.
    others = (SOURCE / "corpus_small_ids.txt").read_text(encoding="utf-8").splitlines()
    kept = list(dict.fromkeys([*judged, *others]))[:pages]
    texts = {row["_id"]: row for row in rows(SOURCE / "corpus.jsonl.gz")}
    present = set(kept)
    grades = {
        query: {page: grade for page, grade in judged.items() if page in present}
        for query, judged in judgments.items()
        if any(grade == ANSWERS and page in present for page, grade in judged.items())
    }
    return Dataset(
        pages=tuple(
            Page(each, *(texts[each][name] for name in ("title", "project", "text")))
            for each in kept
        ),
        queries=tuple(query for query in _queries("queries") if query.id in grades),
        warm_up=_queries("unanswerable")[:WARM_UP_QUERIES],
        grades=grades,
        gold={
            row["query-id"]: Span(row["page-id"], row["start"], row["end"])
            for row in rows(SOURCE / "dev" / "sections.jsonl")
            if row["query-id"] in grades
        },
    )


def _judgments() -> dict[str, dict[str, int]]:
    """The grade of each judged page by query, in the order of the file."""
    judgments: dict[str, dict[str, int]] = {}
    for line in (SOURCE / "dev" / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, page, grade = line.split("\t")
        judgments.setdefault(query, {})[page] = int(grade)
    return judgments


def _queries(name: str) -> tuple[Query, ...]:
    return tuple(Query(row["_id"], row["text"]) for row in rows(SOURCE / "dev" / f"{name}.jsonl"))

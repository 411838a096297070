"""Ranking: candidates from retrieval, read by the cross-encoder, matched to the part asked for."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.roles import asked_roles, heading_roles
from index.catalog import Catalog
from index.reranker import Reranker
from index.retriever import Candidate, retrieve
from index.store import Shelf

RETRIEVED = 20
"""Passages that retrieval hands to the reranker."""

RERANK_TOKENS = 1200
"""What the reranker reads for one question, in tiktoken tokens: about 100 ms on two cores."""

FEWEST_RERANKED = 4

ROLE_WEIGHT = 4.7
"""Logits that a passage gains when its heading announces the part the question asks for. This and
the next were fitted on question sets of three kinds: docs/retrieval.md."""

DENSE_WEIGHT = 10.0
"""Logits a unit of cosine is worth: it decides where the reranker knows none of the words."""


@dataclass(frozen=True)
class Ranking:
    """Candidates best first; times in milliseconds."""

    candidates: tuple[Candidate, ...]
    times_ms: dict[str, float]


def rank(
    question: str,
    vector: Any,
    shelves: Sequence[Shelf],
    catalog: Catalog,
    reranker: Reranker,
    only: frozenset[str] | None = None,
) -> Ranking:
    """Rank the passages of some shelves for a question whose embedding is `vector`.

    `only` restricts the search to some document ids.
    """
    began = time.perf_counter()
    found = retrieve(question, vector, shelves, catalog, RETRIEVED, only)
    retrieved = time.perf_counter()
    read = found[: _affordable(found)]
    scores = reranker.score(question, [each.passage.contextual_text for each in read])
    roles = asked_roles(question)
    judged = [
        _judged(candidate, float(score), roles)
        for candidate, score in zip(read, scores, strict=True)
    ]
    ranked = _with_ranks(judged)
    reranked = time.perf_counter()
    times = {"retrieve": 1000 * (retrieved - began), "rerank": 1000 * (reranked - retrieved)}
    return Ranking((*ranked, *found[len(read) :]), times)


def _affordable(found: Sequence[Candidate]) -> int:
    """How many of the candidates the reranker can read within its budget."""
    spent = 0
    for position, candidate in enumerate(found):
        spent += candidate.passage.chunk.tokens
        if spent > RERANK_TOKENS and position >= FEWEST_RERANKED:
            return position
    return len(found)


def _judged(candidate: Candidate, logit: float, asked: dict[str, float]) -> Candidate:
    role = sum(asked.get(name, 0.0) for name in heading_roles(candidate.passage.chunk.heading_path))
    final = logit + ROLE_WEIGHT * role + DENSE_WEIGHT * candidate.scores["dense"]
    scores = {**candidate.scores, "rerank": logit, "role": role, "final": final}
    return replace(candidate, scores=scores)


def _with_ranks(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best final score first, with the ranks by reranker and in all."""

    def order(stage: str) -> list[int]:
        keys = [(-each.scores[stage], each.passage.row) for each in candidates]
        return sorted(range(len(candidates)), key=keys.__getitem__)

    ranks = {
        stage: {at: rank for rank, at in enumerate(order(stage), 1)}
        for stage in ("rerank", "final")
    }
    return [
        replace(
            candidates[at],
            ranks={**candidates[at].ranks, **{stage: of[at] for stage, of in ranks.items()}},
        )
        for at in order("final")
    ]

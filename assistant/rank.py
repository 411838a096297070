"""Ranking: candidates from retrieval, read by the cross-encoder, matched to the part asked for."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.roles import answers_questions, asked_roles, asks_for_help, heading_roles
from assistant.telemetry.instruments import stage
from index.catalog import Catalog
from index.reranker import Reranker
from index.retriever import Candidate, retrieve
from index.schema import Passage
from index.store import Segment

RETRIEVED = 40
"""Passages that retrieval hands on."""

RERANK_TOKENS = 1200
"""What the reranker reads for one question at most, in tiktoken tokens: about ten passages. Reading more
adds half a point (`docs/retrieval.md`)."""

FIRST_READ_TOKENS = 400
"""What it reads at first: three to five passages, some 80 ms on two cores."""

CLEAR_MARGIN = 2.0
"""Logits by which the best passage must lead the next for that to be enough. Three questions in five end
there; reading as much for all of them takes as long on average, and finds less."""

FEWEST_RERANKED = 4

ROLE_WEIGHT = 4.7
"""Logits that a passage gains when its heading announces the part the question asks for. This and
the next were fitted on question sets of three kinds: docs/retrieval.md."""

FUSED_WEIGHT = 15.0
"""Logits a unit of the fused retrieval score is worth: it decides where the reranker knows none of
the words."""

HELP_WEIGHT = 2.0
HELP_FUSED = 0.05
"""What a passage gains, in logits and in fused score, when it stands in a FAQ or a guide to
troubleshooting and the text is a question or a symptom."""


@dataclass(frozen=True)
class Ranking:
    """Candidates best first; times in milliseconds."""

    candidates: tuple[Candidate, ...]
    times_ms: dict[str, float]


def rank(
    question: str,
    vector: Any,
    shelves: Sequence[Segment],
    catalog: Catalog,
    reranker: Reranker,
    only: frozenset[str] | None = None,
    tokens: int = RERANK_TOKENS,
) -> Ranking:
    """Rank the passages of some shelves for a question whose embedding is `vector`.

    `only` restricts the search to some document ids; `tokens` is what the reranker reads.
    """
    began = time.perf_counter()
    with stage("retrieve"):
        found = retrieve(question, vector, shelves, catalog, RETRIEVED, only)
    retrieved = time.perf_counter()
    found = by_promise(question, found)
    first, last = (_affordable(found, most) for most in (min(FIRST_READ_TOKENS, tokens), tokens))
    with stage("rerank") as reading:
        judged = _read(question, found[:first], reranker)
        if not _is_clear(judged):
            judged += _read(question, found[first:last], reranker)
        reading.set_attribute("passages", len(judged))
    ranked = _with_ranks(judged)
    reranked = time.perf_counter()
    times = {"retrieve": 1000 * (retrieved - began), "rerank": 1000 * (reranked - retrieved)}
    return Ranking((*ranked, *found[len(judged) :]), times)


def by_promise(question: str, found: Sequence[Candidate]) -> list[Candidate]:
    """Candidates by what the fused score and the place of a passage promise before it is read."""
    asked = _Asked(asked_roles(question), asks_for_help(question))
    return sorted(found, key=lambda each: (-_promise(each, asked), each.passage.row))


def _read(question: str, candidates: Sequence[Candidate], reranker: Reranker) -> list[Candidate]:
    """The candidates with what the reranker, and the places that they stand at, make of them."""
    asked = _Asked(asked_roles(question), asks_for_help(question))
    texts = [each.passage.contextual_text for each in candidates]
    scores = reranker.score(question, texts) if texts else ()
    return [
        _judged(candidate, float(score), asked)
        for candidate, score in zip(candidates, scores, strict=True)
    ]


def _is_clear(judged: Sequence[Candidate]) -> bool:
    """Whether the best of the candidates leads the next by so much that no other need be read."""
    finals = sorted((each.scores["final"] for each in judged), reverse=True)
    return len(finals) > 1 and finals[0] - finals[1] >= CLEAR_MARGIN


def _affordable(found: Sequence[Candidate], tokens: int) -> int:
    """How many of the candidates the reranker can read within its budget."""
    spent = 0
    for position, candidate in enumerate(found):
        spent += candidate.passage.chunk.tokens
        if spent > tokens and position >= FEWEST_RERANKED:
            return position
    return len(found)


@dataclass(frozen=True)
class _Asked:
    """What kind of place a question wants its answer from."""

    roles: Mapping[str, float]
    for_help: bool

    def helps(self, passage: Passage) -> float:
        """1 where the question is one and the passage stands among answers to such, else 0."""
        place = passage.document.title, passage.chunk.heading_path
        return float(self.for_help and answers_questions(*place))


def _promise(candidate: Candidate, asked: _Asked) -> float:
    return candidate.scores["fused"] + HELP_FUSED * asked.helps(candidate.passage)


def _judged(candidate: Candidate, logit: float, asked: _Asked) -> Candidate:
    headings = heading_roles(candidate.passage.chunk.heading_path)
    role = sum(asked.roles.get(name, 0.0) for name in headings)
    helps = asked.helps(candidate.passage)
    final = (
        logit
        + ROLE_WEIGHT * role
        + HELP_WEIGHT * helps
        + FUSED_WEIGHT * (candidate.scores["fused"] + HELP_FUSED * helps)
    )
    scores = {**candidate.scores, "rerank": logit, "role": role, "help": helps, "final": final}
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

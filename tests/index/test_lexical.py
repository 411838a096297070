"""BM25: the formula, shelves that add up, and files that come back as they were."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.lexical import K1, B, LexicalShelf, bm25, build_shelf, from_bytes, to_bytes
from index.text import terms

TEXTS = ["restore the database", "restore restore backup", "alerts wake the on-call"]

texts = st.lists(st.text(alphabet="abcde ", min_size=0, max_size=30), min_size=1, max_size=8)


def test_score_is_that_of_the_published_formula() -> None:
    (scores,) = bm25(terms("backup"), [build_shelf(TEXTS)])
    weight = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    average = np.mean([len(terms(text)) for text in TEXTS])
    expected = weight * (K1 + 1) / (1 + K1 * (1 - B + B * 3 / average))
    assert scores.tolist() == pytest.approx([0, expected, 0])


@given(texts, texts, st.text(alphabet="abcde ", max_size=20))
def test_two_shelves_score_as_one_would(left: list[str], right: list[str], query: str) -> None:
    apart = bm25(terms(query), [build_shelf(left), build_shelf(right)])
    together = bm25(terms(query), [build_shelf(left + right)])
    np.testing.assert_array_equal(np.concatenate(apart), together[0])


@given(st.lists(st.text(max_size=60), max_size=6))
def test_shelf_comes_back_from_its_bytes(contents: list[str]) -> None:
    shelf = build_shelf(contents)
    assert_same(from_bytes(to_bytes(shelf)), shelf)


@given(st.lists(st.text(alphabet="abcde ", max_size=30), max_size=8), st.data())
def test_shelf_without_some_chunks_is_as_if_they_had_never_been_in_it(
    contents: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from(range(len(contents))))) if contents else set()
    left = build_shelf(contents).without(np.array(sorted(gone), dtype=np.int64))
    never = build_shelf([text for at, text in enumerate(contents) if at not in gone])
    assert left.chunk_count == never.chunk_count
    assert left.terms.vocabulary == never.terms.vocabulary
    assert left.words.vocabulary == never.words.vocabulary
    for query in contents:
        (with_gaps,), (plain,) = bm25(terms(query), [left]), bm25(terms(query), [never])
        kept = [at for at in range(len(contents)) if at not in gone]
        np.testing.assert_array_equal(with_gaps[kept], plain)
        assert not with_gaps[sorted(gone)].any()


def assert_same(again: LexicalShelf, shelf: LexicalShelf) -> None:
    assert again.chunk_count == shelf.chunk_count
    for postings, others in ((again.terms, shelf.terms), (again.words, shelf.words)):
        assert postings.vocabulary == others.vocabulary
        np.testing.assert_array_equal(postings.starts, others.starts)
        np.testing.assert_array_equal(postings.chunks, others.chunks)
    np.testing.assert_array_equal(again.counts, shelf.counts)
    np.testing.assert_array_equal(again.lengths, shelf.lengths)


def test_compounds_are_found_whole_and_in_parts() -> None:
    found = terms("ArgoCD syncs kube-system at v1.29.3")
    assert {"argocd", "argo", "cd", "kube-system", "kube", "system", "v1.29.3"} <= set(found)


def test_word_forms_share_a_term() -> None:
    assert terms("restoring restores restored") == ["restor"] * 3

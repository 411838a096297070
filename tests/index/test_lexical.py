"""BM25: the formula, shelves that add up, and files that come back as they were."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.lexical import K1, B, bm25, build_shelf, from_bytes, to_bytes
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
    again = from_bytes(to_bytes(shelf))
    assert again.vocabulary == shelf.vocabulary
    assert again.words == shelf.words
    for name in ("starts", "chunks", "counts", "lengths", "word_chunks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(shelf, name))


def test_compounds_are_found_whole_and_in_parts() -> None:
    found = terms("ArgoCD syncs kube-system at v1.29.3")
    assert {"argocd", "argo", "cd", "kube-system", "kube", "system", "v1.29.3"} <= set(found)


def test_word_forms_share_a_term() -> None:
    assert terms("restoring restores restored") == ["restor"] * 3

"""Readers while states are published: no error, and no result that is of two states."""

from pathlib import Path

import pytest

from benchmarks.readers import PROCESSES, THREADS, measure

QUERIES = 10_000
"""A tenth of what `python -m benchmarks.readers` asks, which also tells what it costs; see
docs/benchmarks.md."""


@pytest.mark.slow
def test_readers_see_no_error_and_no_mixture_during_a_hundred_publishes(tmp_path: Path) -> None:
    outcome = measure(tmp_path / "index", documents=300, queries=QUERIES, publishes=100, rest=0)
    print(f"\n{outcome.view()}")
    assert outcome.published == 100
    assert outcome.mixed == ()
    assert len(outcome.busy.seconds) == QUERIES
    assert len(outcome.busy.fitting) > 50  # states of the hundred that were read from
    assert THREADS + PROCESSES == 10

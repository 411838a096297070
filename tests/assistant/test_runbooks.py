"""The assistant answers on its own incidents: the runbooks are in the corpus that `make run` reads."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.assistant import Assistant
from assistant.freshness import Freshness
from assistant.models import Models
from assistant.settings import load_settings
from index.reader import IndexReader
from ingest.sync import sync_paths
from tests.conftest import PUBLIC, ROOT, ask, quiet

QUESTIONS = {
    "What do I do when CasebookSnapshotOld fires?": "snapshot-old",
    "What does the alert CasebookIndexUnavailable mean?": "index-unavailable",
    "Where do I look first when first sentences come late?": "answers-late",
    "What should I do when requests are turned away?": "overloaded",
    "How do I restore a damaged catalog?": "index-unavailable",
    "What do I do when a source's token has expired?": "source-stale",
    "What do people see when a language model is left alone?": "model-unreachable",
    "What do I do if a budget is nearly spent because of one key in a loop?": "budget-nearly-spent",
    "How is the certificate renewed before it expires?": "certificate-expiring",
    "What does CasebookIndexDamaged mean?": "index-damaged",
}


@pytest.fixture(scope="module")
def with_runbooks(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Assistant]:
    index = tmp_path_factory.mktemp("runbooks") / "index"
    paths = [ROOT / path for path in load_settings().corpus_paths]
    sync_paths(paths, index, models.embedder, base=ROOT, labels=PUBLIC, report=quiet)
    assistant = Assistant(IndexReader(index), models, Freshness(ROOT))
    yield assistant
    assistant.close()


def test_runbooks_are_read_where_nothing_else_is_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert [str(path) for path in load_settings().corpus_paths] == ["corpus", "docs/runbooks"]
    monkeypatch.chdir(tmp_path)
    assert [str(path) for path in load_settings().corpus_paths] == ["corpus"]


@pytest.mark.parametrize(("question", "page"), QUESTIONS.items())
def test_an_incident_is_answered_from_its_runbook(
    with_runbooks: Assistant, question: str, page: str
) -> None:
    answer = ask(with_runbooks, question)
    assert answer.status == "answered", answer.notice
    assert page in answer.citations[0].source

"""Shared parts of the tests: the real models, the real corpus, a real server and a real browser."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from assistant.access.caller import anonymous
from assistant.assistant import Assistant
from assistant.freshness import Freshness
from assistant.models import Models
from assistant.schema import Answer, AskRequest, Turn
from index.embedder import Embedder, load_embedder
from index.reader import IndexReader
from index.reranker import Reranker, load_reranker
from index.span_reader import SpanReader
from ingest.sync import Progress, Summary, sync_paths

ROOT = Path(__file__).parent.parent
PUBLIC = frozenset({"public"})
READER = anonymous(PUBLIC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests come last: Playwright leaves an event loop running, beside which no other runs."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


def quiet(progress: Progress) -> None:
    """A report that shows nothing."""


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="session")
def reranker() -> Reranker:
    return load_reranker()


@pytest.fixture(scope="session")
def models(embedder: Embedder, reranker: Reranker) -> Models:
    return Models(embedder, reranker, SpanReader())


class World:
    """A folder of documents with an index beside it, for tests that change documents."""

    def __init__(self, base: Path, models: Models) -> None:
        self.base = base
        self.docs = base / "docs"
        self.docs.mkdir(exist_ok=True)
        self.index = base / "index"
        self.models = models
        self.embedder = models.embedder

    def write(self, name: str, text: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def ingest(self, *paths: Path) -> Summary:
        return sync_paths(
            paths or (self.docs,),
            self.index,
            self.embedder,
            base=self.base,
            labels=PUBLIC,
            report=quiet,
        )

    def assistant(self) -> Assistant:
        return Assistant(IndexReader(self.index), self.models, Freshness(self.base))

    def ask(
        self,
        question: str,
        labels: frozenset[str] = PUBLIC,
        assistant: Assistant | None = None,
    ) -> Answer:
        request = AskRequest(question=question, explain=True)
        return (assistant or self.assistant()).ask(request, anonymous(labels))


@pytest.fixture
def world(tmp_path: Path, models: Models) -> World:
    return World(tmp_path, models)


@pytest.fixture(scope="session")
def case_studies_index(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    folder = tmp_path_factory.mktemp("case-studies") / "index"
    sync_paths([ROOT / "corpus"], folder, embedder, base=ROOT, labels=PUBLIC, report=quiet)
    return folder


@pytest.fixture(scope="session")
def assistant(case_studies_index: Path, models: Models) -> Iterator[Assistant]:
    assistant = Assistant(IndexReader(case_studies_index), models, Freshness(ROOT))
    yield assistant
    assistant.close()


def ask(assistant: Assistant, question: str, *earlier: str) -> Answer:
    """Ask with an explanation, after some earlier questions."""
    turns = [Turn(question=question) for question in earlier]
    request = AskRequest(question=question, explain=True, conversation=turns)
    return assistant.ask(request, READER)


def casebook(
    *arguments: str, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "assistant.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def serving(cwd: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """The address of a real server, stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant.cli", "serve", "--port", "0", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"ready: (http://\S+)", line):
            break
    else:
        pytest.fail("the server did not start:\n" + "".join(lines))
    try:
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def live_server(case_studies_index: Path) -> Iterator[str]:
    """The address of a real server over the case studies."""
    where = {"CASEBOOK_INDEX": str(case_studies_index), "CASEBOOK_CORPUS": '["corpus"]'}
    with serving(ROOT, **where) as address:
        yield address


@pytest.fixture(scope="session")
def artifacts_dir() -> Path:
    """Where screenshots are kept after the tests."""
    folder = ROOT / "build" / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium: one that is installed, or Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    installed = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()

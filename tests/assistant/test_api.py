"""The HTTP service over a real socket: the contract, and bad input met with a remedy."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import serving


@pytest.fixture(scope="module")
def client(live_server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server, timeout=60) as client:
        yield client


def events(text: str) -> list[tuple[str, object]]:
    blocks = [block for block in text.split("\n\n") if block.strip()]
    parsed = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        parsed.append((fields["event"], json.loads(fields["data"])))
    return parsed


QUESTION = "What coordinates backup and restore actions?"


def test_answer_follows_the_contract(client: httpx.Client) -> None:
    answer = client.post("/ask", json={"question": QUESTION}).json()
    assert answer["status"] == "answered"
    assert answer["mode"] == "extractive"
    assert answer["answer"].startswith("Kanister blueprints coordinate backup actions")
    assert answer["sentences"][0]["citations"] == [1]
    assert answer["trace"] is None
    first = answer["citations"][0]
    assert (first["title"], first["section"]) == ("Kanister Backup Restore", "Architecture")
    assert first["source"] == "corpus/case-studies/kanister-backup-restore.md"
    document = client.get(f"/documents/{first['document_id']}").json()
    assert document["text"][first["start"] : first["end"]] == first["quote"]
    assert document["revision"] == first["revision"]
    assert first["stale"] is False


def test_streamed_answer_ends_with_the_plain_one(client: httpx.Client) -> None:
    plain = client.post("/ask", json={"question": QUESTION}).json()
    response = client.post(
        "/ask", json={"question": QUESTION}, headers={"Accept": "text/event-stream"}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events(response.text)]
    assert names == ["citations", *["sentence"] * len(plain["sentences"]), "answer"]
    assert events(response.text)[-1][1] == plain


def test_explanation_shows_ranks_scores_confidence_and_times(client: httpx.Client) -> None:
    trace = client.post("/ask", json={"question": QUESTION, "explain": True}).json()["trace"]
    best = trace["candidates"][0]
    assert set(best["ranks"]) == {"dense", "lexical", "fused", "rerank", "final"}
    assert {"dense", "lexical", "fused", "rerank", "role", "final"} <= set(best["scores"])
    assert trace["confidence"]["parts"]["kind_missing"] == 0
    assert trace["times_ms"]["total"] > 0
    assert trace["shelves"] == [["public"]]


def test_filter_keeps_to_the_documents_named(client: httpx.Client) -> None:
    filters = {"tags": ["gitops"]}
    answer = client.post("/ask", json={"question": QUESTION, "filters": filters}).json()
    titles = {citation["title"] for citation in answer["citations"]}
    assert titles
    assert all("GitOps" in t or "Argo" in t or "Developer" in t for t in titles)
    nothing = client.post("/ask", json={"question": QUESTION, "filters": {"kind": ["ticket"]}})
    assert nothing.json()["status"] == "abstained"
    assert "filters" in nothing.json()["notice"]


def test_search_gives_passages_best_first(client: httpx.Client) -> None:
    hits = client.get("/search", params={"q": "burn-rate alerts", "k": 5}).json()["hits"]
    assert len(hits) == 5
    assert hits[0]["title"] == "SLO Driven Monitoring"
    document = client.get(f"/documents/{hits[0]['document_id']}").json()
    assert document["text"][hits[0]["start"] : hits[0]["end"]] == hits[0]["text"]
    assert len(client.get("/search", params={"q": "restore", "k": 60}).json()["hits"]) == 60


def test_documents_are_listed(client: httpx.Client) -> None:
    listed = client.get("/documents").json()
    assert listed["total"] == len(listed["documents"]) == 22
    assert {document["kind"] for document in listed["documents"]} == {"case-study"}


def test_suggested_questions_are_answered(client: httpx.Client) -> None:
    questions = client.get("/suggestions").json()["questions"]
    assert len(questions) == 4
    for question in questions:
        assert client.post("/ask", json={"question": question}).json()["status"] == "answered"


def test_ingestion_runs_as_a_job(client: httpx.Client) -> None:
    started = client.post("/ingest")
    assert started.status_code == 202
    for _ in range(100):
        job = client.get(started.headers["location"]).json()
        if job["state"] != "running":
            break
        time.sleep(0.1)
    assert job["state"] == "done"
    assert job["summary"]["unchanged"] == 22
    last = events(
        client.get(started.headers["location"], headers={"Accept": "text/event-stream"}).text
    )[-1]
    assert last[0] == "done"


def test_server_without_an_index_says_so_and_can_build_it(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "drill.md").write_text("# Drill\n\nThe drill runs every quarter.\n")
    question = {"question": "How often does the drill run?"}
    with serving(tmp_path) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/health/live").status_code == 200
        for refused in (client.get("/health/ready"), client.post("/ask", json=question)):
            assert refused.status_code == 503
            assert "casebook ingest" in refused.json()["detail"]
        job = client.post("/ingest").headers["location"]
        client.get(job, headers={"Accept": "text/event-stream"}).read()
        assert client.get(job).json()["summary"]["new"] == 1
        assert "every quarter" in client.post("/ask", json=question).json()["answer"]


def test_failed_ingestion_says_why(tmp_path: Path) -> None:
    with serving(tmp_path) as address, httpx.Client(base_url=address, timeout=60) as client:
        job = client.post("/ingest").headers["location"]
        client.get(job, headers={"Accept": "text/event-stream"}).read()
        failed = client.get(job).json()
        assert failed["state"] == "failed"
        assert "corpus" in failed["error"]


def test_health_tells_live_and_ready(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json()["status"] == "ready"


BAD = [
    ({"json": {"question": ""}}, 422, "blank"),
    ({"json": {"question": " \n\t"}}, 422, "blank"),
    ({"json": {"question": "x" * 4001}}, 422, "4000"),
    ({"json": {"question": 7}}, 422, "string"),
    ({"json": {}}, 422, "required"),
    ({"json": {"question": "a", "explain": "yes"}}, 422, "boolean"),
    ({"json": {"question": "a", "model": "x"}}, 422, "not permitted"),
    ({"json": {"question": "a", "conversation": "x"}}, 422, "list"),
    ({"json": ["a"]}, 422, "dictionary"),
    ({"content": b'{"question": "\xff"}'}, 400, "UTF-8"),
    ({"content": b"{not json"}, 422, "valid JSON"),
    ({"content": b'{"question": "\\ud800"}'}, 422, "UTF-8"),
    ({"content": b""}, 422, "required"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=[str(b[0])[:40] for b in BAD])
def test_bad_question_is_a_problem_with_a_remedy(
    client: httpx.Client, body: dict[str, object], status: int, words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/ask", headers=headers, **body)  # type: ignore[arg-type]
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert words in problem["detail"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/documents/nope", 404, "GET /documents"),
        ("GET", "/documents/..%2f..%2fetc%2fpasswd", 404, "/openapi.json"),
        ("GET", "/nowhere", 404, "/openapi.json"),
        ("GET", "/static/../api.py", 404, "/openapi.json"),
        ("GET", "/static/%2e%2e/api.py", 404, ""),
        ("DELETE", "/ask", 405, "DELETE"),
        ("GET", "/ingest/nope", 404, "POST /ingest"),
        ("GET", "/search", 422, "q"),
        ("GET", "/search?q=%20", 422, "blank"),
        ("GET", "/search?q=a&k=0", 422, "k"),
        ("GET", "/search?q=a&k=x", 422, "k"),
        ("GET", f"/search?q={'x' * 4001}", 422, "4000"),
        ("GET", "/search?q=%ff", 200, ""),
    ],
)
def test_bad_request_is_a_problem(
    client: httpx.Client, method: str, path: str, status: int, words: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert words in response.json()["detail"]


def test_body_that_is_too_large_is_refused_unread(client: httpx.Client) -> None:
    response = client.post("/ask", content=b" " * 2_000_000)
    assert response.status_code == 413
    assert "1 MiB" in response.json()["detail"]


def test_every_response_forbids_what_the_page_does_not_need(client: httpx.Client) -> None:
    for path in ("/", "/static/app.js", "/documents", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_openapi_describes_the_routes(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/ask", "/search", "/documents", "/documents/{document_id}", "/ingest"} <= set(paths)

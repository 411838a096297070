"""`casebook eval` as a person uses it, on a tiny data set and on questions about the case studies."""

import contextlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assistant.cli import main
from index.embedder import PACKAGED, packaged_path
from tests.conftest import casebook

HOSTILE = "Where is <script>alert(1)</script> & the \"drill\" 'log' kept?"
CORPUS = {
    "restore": "The restore drill runs every quarter. It takes two hours.",
    "backup": "Backups of the ledger are kept for 90 days in another region.",
    "alerts": "Alerts for the payment service page the on-call engineer by phone.",
    "deploy": "Deployments are rolled out by Argo CD after two approvals.",
    "certs": "Certificates are renewed by cert-manager thirty days before they expire.",
    "cost": "Token costs are capped at forty dollars a day for each team.",
}
QUERIES = [
    ("q1", "How often does the restore drill run?", "restore", ["every quarter"]),
    ("q2", "How long are backups of the ledger kept?", "backup", ["90 days"]),
    ("q3", "Who renews certificates before they expire?", "certs", []),
    ("q4", HOSTILE, "restore", ["in the vault"]),
]
NOBODY = [("u1", "Which colour is the moon?"), ("u2", "Who won the football cup in 1974?")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six documents and six questions, in a folder to run in."""
    folder = tmp_path_factory.mktemp("eval")
    split = folder / "tiny" / "dev"
    split.mkdir(parents=True)
    documents = [{"_id": key, "title": key.title(), "text": text} for key, text in CORPUS.items()]
    _write(folder / "tiny" / "corpus.jsonl", documents)
    queries = [{"_id": key, "text": text, "answers": a} for key, text, _, a in QUERIES]
    _write(split / "queries.jsonl", queries)
    _write(split / "unanswerable.jsonl", [{"_id": key, "text": text} for key, text in NOBODY])
    rows = "".join(f"{key}\t{page}\t1\n" for key, _, page, _ in QUERIES)
    (split / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    gold = {"query-id": "q3", "page-id": "certs", "start": 0, "end": len(CORPUS["certs"])}
    _write(split / "sections.jsonl", [gold])
    return folder


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """The JSON of a first run, which writes report.html too."""
    done = casebook("eval", "tiny", "--json", "--report", "report.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "embedding: 6/6 chunks" in done.stderr
    assert "asking: 6/6 questions" in done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def run_eval(folder: Path, *arguments: str) -> Result:
    """The command in this process, where the models' libraries are loaded already."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, ["eval", *arguments], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def report(folder: Path, result: dict[str, Any]) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_json_holds_every_figure_with_its_interval(result: dict[str, Any]) -> None:
    (run,) = result["runs"]
    assert (run["name"], run["split"], run["documents"]) == ("tiny", "dev", 6)
    assert (run["questions"], run["answerable"]) == (6, 4)
    wanted = {
        "passage_hit@1", "passage_hit@5", "passage_hit@10", "ndcg@10", "mrr", "recall@1",
        "recall@5", "recall@10", "answer_span_hit", "answer_sentences", "answer_words", "auroc",
        "coverage", "error", "refused_answerable", "answered_unanswerable", "aurc",
        "calibration_error",
    }  # fmt: skip
    assert wanted <= set(run["figures"])
    for figure in run["figures"].values():
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["n"] > 0
    assert {"search", "ask: retrieve", "ask: rerank", "ask: total"} <= set(run["latency_ms"])
    assert all(
        stage["p50"]["value"] <= stage["p95"]["value"] for stage in run["latency_ms"].values()
    )


def test_plain_questions_are_found_and_answered(result: dict[str, Any]) -> None:
    (run,) = result["runs"]
    outcomes = {outcome["id"]: outcome for outcome in run["outcomes"]}
    for key in ("q1", "q2", "q3"):
        assert outcomes[key]["passage_rank"] == 1
        assert outcomes[key]["right"] is True
    assert all(outcomes[key]["status"] == "abstained" for key in ("u1", "u2"))
    assert run["figures"]["auroc"]["value"] > 0.7
    assert [each["id"] for each in run["worst"]] == ["q4"]
    assert run["worst"][0]["trace"]["candidates"]


def test_second_run_embeds_nothing_and_prints_tables(folder: Path, result: dict[str, Any]) -> None:
    done = run_eval(folder, "tiny", "--limit", "3")
    assert done.exit_code == 0, done.stderr
    assert "embedding" not in done.stderr
    assert "asking: 3/3 questions" in done.stderr
    for words in ("tiny, split dev", "passage hit@1", "AUROC", "ask: total", "95 % interval"):
        assert words in done.stdout
    assert (folder / ".casebook" / "eval" / "tiny-all-MiniLM-L6-v2").is_dir()


def test_rerankers_are_compared_and_the_best_is_marked(
    folder: Path, result: dict[str, Any]
) -> None:
    names = ("--reranker", "ms-marco-MiniLM-L-12-v2", "--reranker", "none")
    done = run_eval(folder, "tiny", *names, "--limit", "3")
    assert done.exit_code == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "all-MiniLM-L6-v2-int8 +" in line]
    reranked, plain = rows
    assert "+ ms-marco-MiniLM-L-12-v2" in reranked
    assert "+ no reranker" in plain
    assert plain.split()[-4:-2] == ["–", "–"]
    assert sum(" * " in row for row in rows) == 1


class _Loads(HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "style"):
                self.loads += [] if name == "style" and "url(" not in str(value) else [str(value)]


def test_report_is_one_file_that_loads_and_runs_nothing(report: str) -> None:
    page = _Loads()
    page.feed(report)
    local = re.compile(r"#|clip-path: url\(#|.*url\(#")
    assert [each for each in page.loads if not local.match(each)] == []
    assert not page.tags & {"script", "link", "iframe", "img", "object", "embed", "base"}
    assert "@import" not in report
    assert "default-src &#39;none&#39;" in report or "default-src 'none'" in report
    assert report.count("<svg ") == 3


def test_report_escapes_what_questions_say(report: str) -> None:
    assert "<script" not in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; the" in report


def test_report_shows_why(report: str) -> None:
    for words in (
        "passage hit@1",
        "Error as more is answered",
        "How it came about",
        "in the vault",
    ):
        assert words in report
    assert "reliability_diagram" not in report


def test_own_questions_are_asked_of_the_index_there_is(
    case_studies_index: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text(
        "question,document,passage\n"
        "What coordinates backup and restore actions?,Kanister Backup Restore,"
        "Kanister blueprints coordinate\n"
        "Who won the football cup in 1974?,unanswerable,\n"
    )
    index = ("--index", str(case_studies_index))
    done = run_eval(tmp_path, "mine.csv", "--json", *index)
    assert done.exit_code == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["name"], run["documents"]) == ("mine", 22)
    assert run["outcomes"][0]["right"] is True
    assert run["figures"]["passage_hit@1"]["value"] == 1
    assert not (tmp_path / ".casebook").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), ("nowhere is not there",)),
        (("tiny", "--split", "test"), ("no split 'test'", "dev")),
        (("tiny", "--report", "absent/report.html"), ("no folder absent",)),
        (("tiny", "--report", "tiny"), ("tiny is a folder",)),
        (("tiny", "--corpus-ids", "none.txt"), ("none.txt can't be read",)),
    ],
)
def test_bad_arguments_end_in_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    done = run_eval(folder, *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("casebook: ")
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_list_without_an_index_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,document\nWhy?,unanswerable\n")
    done = run_eval(tmp_path, "mine.csv")
    assert done.exit_code == 5
    assert "casebook ingest" in done.stderr


def test_list_is_not_asked_with_an_embedder_that_its_index_was_not_built_with(
    case_studies_index: Path, tmp_path: Path
) -> None:
    """A folder with the same model is another embedder by name."""
    known = PACKAGED["all-MiniLM-L6-v2"]
    model = packaged_path(known.package, known.folder)
    (tmp_path / "mine.csv").write_text("question,document\nWhy?,unanswerable\n")
    arguments = ("mine.csv", "--index", str(case_studies_index), "--embedder", str(model))
    done = run_eval(tmp_path, *arguments)
    assert done.exit_code == 2
    assert "was built with 'all-MiniLM-L6-v2-int8'" in done.stderr

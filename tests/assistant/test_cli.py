"""The command line as a person uses it, in a process of its own."""

import json
import socket
from pathlib import Path

import pytest

from tests.conftest import casebook


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one document, ingested."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "drill.md").write_text(
        "---\ntags: [dr]\n---\n# Restore drill\n\nThe restore drill runs every quarter.\n"
    )
    done = casebook("ingest", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 new" in done.stdout
    assert "embedding: 1/1 chunks" in done.stderr
    return folder


def test_help_is_a_manual() -> None:
    done = casebook("--help")
    assert done.returncode == 0
    assert {"ingest", "ask", "search", "serve", "export"} <= set(done.stdout.split())


def test_ask_prints_a_cited_answer(folder: Path) -> None:
    done = casebook("ask", "How often does the restore drill run?", cwd=folder)
    assert done.returncode == 0
    assert "The restore drill runs every quarter. [1]" in done.stdout
    assert "corpus/drill.md:" in done.stdout
    assert done.stderr == ""


def test_json_is_for_programs(folder: Path) -> None:
    asked = casebook("ask", "--json", "How often does the restore drill run?", cwd=folder)
    assert json.loads(asked.stdout)["status"] == "answered"
    found = casebook("search", "--json", "drill", cwd=folder)
    assert json.loads(found.stdout)["hits"][0]["title"] == "Restore drill"
    ingested = casebook("ingest", "--json", cwd=folder)
    assert json.loads(ingested.stdout)["unchanged"] == 1


def test_export_writes_markdown_that_can_be_ingested_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert casebook("export", str(out), cwd=folder).returncode == 0
    (file,) = out.iterdir()
    assert file.read_text().endswith("# Restore drill\n\nThe restore drill runs every quarter.\n")
    again = casebook("ingest", str(out), "--index", str(tmp_path / "index"), cwd=tmp_path)
    assert "1 new" in again.stdout


def test_export_writes_chunks_for_another_embedder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert casebook("export", str(out), "--format", "jsonl", cwd=folder).returncode == 0
    (row,) = [json.loads(line) for line in (out / "chunks.jsonl").read_text().splitlines()]
    assert row["text"].startswith("# Restore drill")
    assert row["embedded_text"] == "Restore drill\nThe restore drill runs every quarter."
    assert row["metadata"] == {"tags": ["dr"]}


def refused(done: object, code: int, *words: str) -> None:
    assert done.returncode == code, done  # type: ignore[attr-defined]
    message = done.stderr.strip()  # type: ignore[attr-defined]
    assert len(message.splitlines()) == 1
    assert message.startswith("casebook: ")
    for word in words:
        assert word in message


def test_missing_index_is_named_with_the_remedy(tmp_path: Path) -> None:
    refused(casebook("ask", "Anything?", cwd=tmp_path), 5, "no index", "casebook ingest")


def test_absent_path_is_named(tmp_path: Path) -> None:
    refused(casebook("ingest", "absent", cwd=tmp_path), 2, "absent")


def test_missing_model_is_named_with_the_remedy(folder: Path) -> None:
    asked = casebook(
        "ask", "Anything?", cwd=folder, CASEBOOK_EMBEDDER="./no-model", HF_HUB_OFFLINE="1"
    )
    refused(asked, 6, "./no-model", "CASEBOOK_EMBEDDER")
    asked = casebook(
        "ask", "Anything?", cwd=folder, CASEBOOK_RERANKER="./no-model", HF_HUB_OFFLINE="1"
    )
    refused(asked, 6, "./no-model", "CASEBOOK_RERANKER")


@pytest.mark.parametrize("question", ["", "  ", "x" * 4001])
def test_bad_question_is_refused(folder: Path, question: str) -> None:
    refused(casebook("ask", question, cwd=folder), 2)


def test_wrong_setting_is_named(folder: Path) -> None:
    refused(casebook("serve", cwd=folder, CASEBOOK_PORT="many"), 2, "port", "CASEBOOK_PORT")


def test_settings_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "casebook.toml").write_text("index = \n")
    refused(casebook("ask", "Anything?", cwd=tmp_path), 2, "casebook.toml", "TOML")


def test_taken_port_is_named_with_the_remedy(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(casebook("serve", "--port", port, cwd=folder), 7, port, "--port")


def test_unreadable_file_sets_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Good text.\n")
    (tmp_path / "bad.md").write_bytes(b"\xff")
    done = casebook("ingest", ".", cwd=tmp_path)
    assert done.returncode == 4
    assert "1 new" in done.stdout
    assert "failed: bad.md is not UTF-8" in done.stdout

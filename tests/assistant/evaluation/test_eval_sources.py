"""Data sets and lists of questions: read right, or refused with the place and the remedy."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.access.caller import LOCAL
from assistant.assistant import Assistant
from assistant.evaluation.dataset import load_dataset
from assistant.evaluation.gold import GoldQuestion, GoldSpan
from assistant.evaluation.lists import load_list, resolve
from assistant.evaluation.run import spread
from assistant.evaluation.source import open_source
from index.errors import InvalidInput


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


CORPUS = jsonl(
    {"_id": "a", "title": "Restore", "text": "Restores run nightly. Drills run weekly."},
    {"_id": "b", "title": "Backup", "text": "Backups are kept for a month."},
)
QUERIES = jsonl({"_id": "1", "text": "When?"}, {"_id": "2", "text": "How long?", "answers": ["x"]})
QRELS = "query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\tb\t1\n"


class Layout:
    """A data set in a folder, written by its parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, split: str = "dev", corpus: str = CORPUS, **parts: str) -> Path:
        (self.folder / split).mkdir(parents=True, exist_ok=True)
        (self.folder / "corpus.jsonl").write_text(corpus)
        contents = {"queries.jsonl": QUERIES, "qrels.tsv": QRELS}
        names = {name: next(n for n in FILES if n.startswith(name)) for name in parts}
        for name, text in {**contents, **{names[k]: text for k, text in parts.items()}}.items():
            (self.folder / split / name).write_text(text)
        return self.folder


FILES = ("queries.jsonl", "qrels.tsv", "sections.jsonl", "unanswerable.jsonl")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "set")


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


# --- data sets --------------------------------------------------------------------------------


def test_data_set_is_read_with_its_judgments(layout: Layout) -> None:
    section = {
        "query-id": "1",
        "page-id": "a",
        "start": 22,
        "end": 40,
        "text": "Drills run weekly.",
    }
    nobody = {"_id": "3", "text": "Who?"}
    data = load_dataset(layout.write(sections=jsonl(section), unanswerable=jsonl(nobody)))
    when, how_long, who = data.questions
    assert (data.name, data.split, data.left_out) == ("set", "dev", 0)
    assert when.pages == {"a": 2}
    assert when.spans == (GoldSpan("a", 22, 40),)
    assert when.expected == "a: Drills run weekly."
    assert how_long.answers == ("x",)
    assert not who.answerable
    assert data.documents[0].text.startswith("Restores")


def test_split_is_dev_or_the_top_or_the_only_one(layout: Layout) -> None:
    layout.write("test")
    assert load_dataset(layout.folder).split == "test"
    layout.write("train")
    refused(lambda: load_dataset(layout.folder), "several splits", "--split", "test, train")
    assert load_dataset(layout.folder, "train").split == "train"
    refused(lambda: load_dataset(layout.folder, "../set"), "no split '../set'", "test, train")
    layout.write(".")
    assert load_dataset(layout.folder).split is None
    layout.write("dev")
    assert load_dataset(layout.folder).split == "dev"


def test_corpus_may_be_gzipped(layout: Layout) -> None:
    folder = layout.write()
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(CORPUS.encode()))
    assert len(load_dataset(folder).documents) == 2
    (folder / "corpus.jsonl.gz").write_bytes(b"plain text")
    refused(lambda: load_dataset(folder), "corpus.jsonl.gz can't be read")


def test_a_smaller_corpus_leaves_out_the_queries_it_cannot_answer(
    layout: Layout, tmp_path: Path
) -> None:
    ids = tmp_path / "few.txt"
    ids.write_text("b\n\n")
    near_misses = jsonl(
        {"_id": "3", "text": "Who?", "paragraph": "a"},
        {"_id": "4", "text": "Why?", "paragraph": "b"},
    )
    data = load_dataset(layout.write(unanswerable=near_misses), corpus_ids=ids)
    assert [question.id for question in data.questions] == ["2", "4"]
    assert (data.name, data.left_out) == ("set-few", 2)
    ids.write_text("b\nc\n")
    refused(lambda: load_dataset(layout.folder, corpus_ids=ids), "few.txt:2", "'c'")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"qrels": QRELS + "1\tzz\t1\n"}, ("qrels.tsv:5", "no page 'zz'", "add the page")),
        ({"qrels": QRELS + "9\ta\t1\n"}, ("qrels.tsv:5", "no query '9'", "add the query")),
        ({"qrels": QRELS + "1\ta\thigh\n"}, ("qrels.tsv:5", "`score`", "whole number")),
        ({"qrels": "1\ta\t1\n"}, ("qrels.tsv:1", "no column `query-id`")),
        ({"qrels": QRELS.splitlines()[0]}, ("no question has a judged page",)),
        ({"queries": QUERIES + '{"_id": "3"\n'}, ("queries.jsonl:3", "not JSON", "a line")),
        ({"queries": QUERIES + "[]\n"}, ("queries.jsonl:3", "not a JSON object")),
        ({"queries": QUERIES + '{"_id": "1", "text": "?"}\n'}, ("queries.jsonl:3", "'1'", ":1")),
        ({"queries": QUERIES + '{"_id": "3", "text": " "}'}, ("queries.jsonl:3", "`text`")),
        ({"queries": QUERIES.replace("When?", "x" * 5000)}, ("queries.jsonl:1", "4,000 at most")),
        ({"queries": QUERIES.replace("When?", "\\ud800")}, ("queries.jsonl:1", "surrogate")),
        ({"unanswerable": jsonl({"_id": "2", "text": "?"})}, ("unanswerable.jsonl:1", "'2'")),
        ({"corpus": CORPUS + '{"title": "x"}\n'}, ("corpus.jsonl:3", "`_id` is missing")),
        ({"corpus": CORPUS + '{"_id": "c", "text": 5}\n'}, ("corpus.jsonl:3", "`text`", "5")),
    ],
)
def test_bad_data_is_refused_with_its_place(
    layout: Layout, parts: dict[str, str], words: tuple[str, ...]
) -> None:
    refused(lambda: load_dataset(layout.write(**parts)), *words)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"text": "Drills"}, "`text` is not what stands"),
        ({"end": 99}, "no span [22, 99)"),
        ({"end": 22}, "no span [22, 22)"),
        ({"page-id": "c"}, "no page 'c'"),
        ({"start": None}, "`start` must be a whole number"),
    ],
)
def test_a_section_that_does_not_hold_is_refused(
    layout: Layout, change: dict[str, Any], word: str
) -> None:
    section = {
        "query-id": "1",
        "page-id": "a",
        "start": 22,
        "end": 40,
        "text": "Drills run weekly.",
    }
    folder = layout.write(sections=jsonl(section, {**section, **change}))
    refused(lambda: load_dataset(folder), "sections.jsonl:2", word)


def test_what_is_no_data_set_says_what_one_is(tmp_path: Path) -> None:
    refused(lambda: open_source(tmp_path), "no data set", "corpus.jsonl", "qrels.tsv")
    refused(lambda: open_source(tmp_path / "absent"), "is not there")


def test_limit_spreads_over_all_kinds() -> None:
    asked = [GoldQuestion(str(n), "?", answerable=n < 80) for n in range(100)]
    some = spread(asked, 10)
    assert len(some) == len({question.id for question in some}) == 10
    assert sum(question.answerable for question in some) == 8
    assert spread(asked, 1000) == asked


# --- lists ------------------------------------------------------------------------------------

SPAN_WORDS = "Kanister blueprints\ncoordinate   backup ACTIONS"


def test_list_names_documents_by_title_source_and_id(assistant: Assistant, tmp_path: Path) -> None:
    (first, *_) = assistant.documents(LOCAL).documents
    listed = tmp_path / "mine.csv"
    listed.write_text(
        "\ufeffquestion,document,passage,answers,unanswerable\n"
        f"By title?,{first.title.upper()},,,\n"
        f"By source?,{first.source},,,no\n"
        f"By id?,{first.id},,,\n"
        f'"By\npassage?",,"{SPAN_WORDS}",,\n'
        "By answer?,,,one| two words |,\n"
        "Nobody?,unanswerable,,,\n"
        "Nobody again?,,,,TRUE\n",
        encoding="utf-8",
    )
    details = [assistant.document(each.id, LOCAL) for each in assistant.documents(LOCAL).documents]
    by_title, by_source, by_id, by_passage, by_answer, *nobody = resolve(load_list(listed), details)
    assert by_title.pages == by_source.pages == by_id.pages == {first.id: 1}
    assert by_passage.id == "line 5"
    (span,) = by_passage.spans
    assert by_passage.pages == {span.document_id: 1}
    quote = assistant.document(span.document_id, LOCAL).text[span.start : span.end]
    assert re.fullmatch(r"Kanister blueprints\s+coordinate\s+backup actions", quote)
    assert by_answer.answers == ("one", "two words")
    assert by_answer.answerable
    assert not by_answer.pages
    assert [question.answerable for question in nobody] == [False, False]


def test_jsonl_says_the_same(assistant: Assistant, tmp_path: Path) -> None:
    listed = tmp_path / "mine.jsonl"
    listed.write_text(
        jsonl(
            {"question": "Which?", "answers": ["one", "two"]},
            {"question": "Nobody?", "unanswerable": True},
        )
    )
    first, second = resolve(load_list(listed), [])
    assert first.answers == ("one", "two")
    assert not second.answerable


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("q.csv", "text,document\nWhy?,a\n", ("q.csv:1", "no column `question`", "text, document")),
        ("q.csv", "", ("q.csv:1", "no column `question`")),
        ("q.csv", "question,document\n", ("holds no question",)),
        ("q.csv", "question,document\nWhy?,unanswerable\nWhat?,\n", ("q.csv:3", "expected")),
        ("q.csv", "question,document\n,a\n", ("q.csv:2", "`question` is missing")),
        ("q.csv", "question,document\nWhy, then?,a\n", ("q.csv:2", "more fields", "quote")),
        ("q.csv", 'question,document\n"Why?"x,a\n', ("q.csv:2", "not a table")),
        ("q.csv", "question,answers,unanswerable\nWhy?,x,yes\n", ("q.csv:2", "keep one")),
        ("q.csv", "question,unanswerable\nWhy?,maybe\n", ("q.csv:2", "true or false", "maybe")),
        ("q.jsonl", '{"question": "Why?"\n', ("q.jsonl:1", "not JSON")),
        ("q.jsonl", '{"question": 5}\n', ("q.jsonl:1", "must be a text")),
        ("q.jsonl", '{"question": "?", "answers": [5]}\n', ("q.jsonl:1", "`answers`")),
        ("q.txt", "Why?", ("neither .csv nor .jsonl",)),
    ],
)
def test_bad_list_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    refused(lambda: load_list(tmp_path / name), *words)


def test_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_bytes("question,document\nWürde?,a\n".encode("latin-1"))
    refused(lambda: load_list(tmp_path / "q.csv"), "not UTF-8", "save it as UTF-8")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"document": "kanister backup restor"}, ("did you mean", "Kanister Backup Restore")),
        ({"document": "zzzz"}, ("no document 'zzzz'", "id, title or source")),
        ({"passage": "no such words at all"}, ("not in any document", "casebook export")),
        ({"document": "SBOM Integration", "passage": SPAN_WORDS}, ("not in document",)),
    ],
)
def test_unknown_document_or_passage_is_refused_with_a_remedy(
    assistant: Assistant, tmp_path: Path, row: dict[str, str], words: tuple[str, ...]
) -> None:
    (tmp_path / "q.jsonl").write_text("\n" + jsonl({"question": "Which?", **row}))
    details = [assistant.document(each.id, LOCAL) for each in assistant.documents(LOCAL).documents]
    refused(lambda: resolve(load_list(tmp_path / "q.jsonl"), details), "q.jsonl:2", *words)


def test_a_list_takes_no_split(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("question,document\nWhy?,unanswerable\n")
    refused(lambda: open_source(tmp_path / "q.csv", split="dev"), "--split", "list")

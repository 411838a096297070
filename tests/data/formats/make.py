"""How the catalogs here were made, by the code that wrote their formats:

    git archive REVISION index | tar -x -C OLD
    PYTHONPATH=OLD python tests/data/formats/make.py NUMBER

with e745dc2 for format 1 and 3963c3d for format 2. Vectors are of eight numbers, so that files are small.
Beside each lies what that code read from it.
"""

import gzip
import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import numpy as np

from index.catalog import Catalog
from index.retriever import retrieve
from index.schema import Chunk, Document, DocumentId, EmbeddingKey, Revision
from index.store import catalog_path, open_current, publish

HERE = Path(__file__).parent
PUBLIC, TEAM = frozenset({"public"}), frozenset({"team", "platform"})

PAGES = [
    ("restore", "Restore", "The drill runs every {}.", PUBLIC, {"project": "velero"}),
    ("freeze", "Freeze – Änderungsstopp", "The freeze lasts a {} ❄.", PUBLIC, {}),
    ("secret", "Budget", "The drill costs a lot each {}.", TEAM, {"included": {"a.txt": "12"}}),
    ("empty", "Empty", "", PUBLIC, {}),
    ("old", "Old", "Gone after a {}.", PUBLIC, {}),
]


def vector(key):
    found = np.random.default_rng(sum(key.encode())).standard_normal(8).astype(np.float32)
    return found / np.linalg.norm(found)


def add(catalog, number, name, title, body, access, metadata, fact):
    text = f"# {title}\n\n{body.format(fact)}\n\n## Owner\n\nThe {name} team.\n" if body else ""
    cut = text.find("## Owner")
    spans = [(0, cut, (title,)), (cut, len(text), (title, "Owner"))] if text else []
    document = Document(
        DocumentId(name), title, text, f"docs/{name}.md", "runbook", Revision(f"{fact}1"),
        "2026-11-20T00:00:00+00:00" if name != "old" else None, "2026-11-24T10:00:00+00:00",
        access, metadata=metadata,
    )  # fmt: skip
    chunks = [
        (Chunk(start, end, start, path, 10 + start), EmbeddingKey(f"key {text[start:end]}"))
        for start, end, path in spans
    ]
    given = (f"docs/{name}.md", f"recipe:{fact}") if number == 2 else (f"recipe:{fact}",)
    with catalog.transaction():
        row = catalog.add_document(document, *given, chunks)
    keys = [key for _, key in chunks]
    if keys:
        catalog.add_embeddings(keys, np.stack([vector(key) for key in keys]))
    return row


def told(folder, catalog):
    state = open_current(folder, catalog)
    documents = [
        [each.id, each.title, each.text, each.source, each.kind, each.revision, each.modified_at,
         each.ingested_at, sorted(each.access), dict(each.metadata)]
        for each in catalog.documents(state.state.id)
    ]  # fmt: skip
    passages = [
        [passage.document.id, passage.chunk.start, passage.chunk.end,
         list(passage.chunk.heading_path), passage.chunk.tokens, passage.text]
        for document in documents
        for passage in catalog.passages_of(state.state.id, document[0])
    ]  # fmt: skip
    shelves = getattr(state, "segments", None) or state.shelves
    found = retrieve("how often is the drill", vector("ask"), shelves, catalog, 10)
    hits = [[each.passage.text, round(each.scores["fused"], 4)] for each in found]
    return {"documents": documents, "passages": passages, "hits": hits}


def main(number):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        catalog = Catalog(catalog_path(folder), create=True)
        rows = [add(catalog, number, *page, "quarter") for page in PAGES]
        publish(folder, catalog, "model", 8, rows)
        rows[0] = add(catalog, number, *PAGES[0], "week")
        publish(folder, catalog, "model", 8, rows[:-1])
        add(catalog, number, *PAGES[1], "sprint")  # staged
        if number == 2:
            catalog.set_source_status("docs", {"state": "done", "at": "2026-11-24T10:00:00+00:00"})
        golden = told(folder, catalog)
        catalog.close()
        with sqlite3.connect(catalog_path(folder)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("VACUUM")
        database.close()
        data = catalog_path(folder).read_bytes()
    (HERE / f"format{number}.sqlite.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    golden_text = json.dumps(golden, indent=1, ensure_ascii=False)
    (HERE / f"format{number}.json").write_text(golden_text + "\n", encoding="utf-8")


main(int(sys.argv[1]))

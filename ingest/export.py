"""Export: the curated corpus as files for people, or as chunks for another embedder."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from index.catalog import Catalog
from index.errors import IndexUnavailable, InvalidInput
from index.schema import Document, DocumentId, Passage, StateId
from index.store import catalog_path
from ingest.reading import document_id

_PLAIN = re.compile(r"\w[\w-]{0,199}", re.ASCII)


def export_markdown(folder: Path, directory: Path) -> int:
    """Write each document as `<id>.md`, its text unchanged behind front matter; returns how many.

    Raises `IndexUnavailable` where there is no index, `InvalidInput` where the directory holds
    files already.
    """
    catalog, state_id = _open(folder)
    _empty_directory(directory)
    documents = catalog.documents(state_id)
    for document in documents:
        (directory / _file_name(document.id)).write_text(_markdown(document), encoding="utf-8")
    catalog.close()
    return len(documents)


def export_jsonl(folder: Path, directory: Path) -> int:
    """Write `chunks.jsonl`, one chunk a line with its metadata; returns how many."""
    catalog, state_id = _open(folder)
    _empty_directory(directory)
    count = 0
    with (directory / "chunks.jsonl").open("w", encoding="utf-8") as file:
        for document in catalog.documents(state_id):
            for passage in catalog.passages_of(state_id, document.id):
                file.write(json.dumps(_chunk(passage), ensure_ascii=False) + "\n")
                count += 1
    catalog.close()
    return count


def _open(folder: Path) -> tuple[Catalog, StateId]:
    catalog = Catalog(catalog_path(folder))
    state_id = catalog.current_state_id()
    if state_id is None:
        raise IndexUnavailable(f"the index at {folder} is empty: run `casebook ingest`")
    return catalog, state_id


def _empty_directory(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InvalidInput(f"{directory} is not empty: name a new or an empty folder")


def _file_name(name: DocumentId) -> str:
    """The id, or one like it where it was not made here and could lead out of the directory."""
    return f"{name if _PLAIN.fullmatch(name) else document_id(name)}.md"


def _markdown(document: Document) -> str:
    front = {
        **document.metadata,
        "title": document.title,
        "kind": document.kind,
        "access": sorted(document.access),
        "source": document.source,
        "revision": document.revision,
        "modified": document.modified_at,
    }
    return f"---\n{yaml.safe_dump(front, allow_unicode=True, sort_keys=False)}---\n{document.text}"


def _chunk(passage: Passage) -> dict[str, Any]:
    document, chunk = passage.document, passage.chunk
    return {
        "id": f"{document.id}:{chunk.start}-{chunk.end}",
        "document_id": document.id,
        "title": document.title,
        "source": document.source,
        "kind": document.kind,
        "revision": document.revision,
        "modified_at": document.modified_at,
        "ingested_at": document.ingested_at,
        "access": sorted(document.access),
        "metadata": dict(document.metadata),
        "heading_path": list(chunk.heading_path),
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "text": passage.text,
        "embedded_text": passage.contextual_text,
    }

"""The documents of the catalog, and the chunks that they are cut into."""

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from index.catalog.database import Database
from index.catalog.directory import Directory
from index.catalog.rows import ChunkRow, DocumentRow, document_digest, labels_of
from index.catalog.seal import Value
from index.catalog.tables import CHUNKS, DOCUMENTS
from index.schema import (
    Chunk,
    Document,
    DocumentId,
    EmbeddingKey,
    Passage,
    Revision,
    StateId,
    content_hash,
)

REMEMBERED = 256
"""Documents kept in memory: a question draws on a dozen or two."""

BY_ROW = "WHERE row IN (SELECT value FROM json_each(?))"


class Documents:
    """The part of the catalog that holds documents and chunks."""

    _db: Database
    _directory: Directory
    _recent: dict[tuple[int, int], Document]

    # --- documents --------------------------------------------------------------------------------

    def document_rows(self, state_id: StateId) -> list[DocumentRow]:
        """Every document of a state, without texts, by id."""
        return list(self._directory.of_state(state_id))

    def documents(self, state_id: StateId) -> list[Document]:
        """Every document of a state, by id."""
        rows = [row.row for row in self._directory.of_state(state_id)]
        texts = self._read_documents(rows)
        return [texts[row] for row in rows]

    def document(self, state_id: StateId, document_id: str) -> Document | None:
        """One document of a state by its id, or None."""
        row = self._row(state_id, document_id)
        return self._documents([row.row])[row.row] if row else None

    def counts(self, document_rows: Sequence[int]) -> tuple[int, int]:
        """`(chunks, tokens)` over some documents."""
        rows = self._directory.of_rows(document_rows)
        return sum(len(row.chunks) for row in rows), sum(row.tokens for row in rows)

    def unlabelled(self, document_rows: Sequence[int]) -> int:
        """How many of some documents carry no access label."""
        return sum(not row.access for row in self._directory.of_rows(document_rows))

    def _row(self, state_id: StateId, document_id: str) -> DocumentRow | None:
        rows = self._directory.of_state(state_id)
        position = bisect_left(rows, document_id, key=lambda row: row.id)
        found = rows[position : position + 1]
        return found[0] if found and found[0].id == document_id else None

    def _documents(self, rows: Sequence[int]) -> dict[int, Document]:
        """Documents by row; those read lately are remembered, because a text costs a checksum."""
        keys = {
            row["row"]: (row["row"], row["seal"])
            for row in self._db.all(
                f"SELECT row, seal FROM documents {BY_ROW}", json.dumps(list(rows))
            )
        }
        with self._db.lock:
            known = {key: self._recent[key] for key in keys.values() if key in self._recent}
        missing = [row for row in rows if keys.get(row) not in known]
        known |= {keys[row]: document for row, document in self._read_documents(missing).items()}
        with self._db.lock:
            kept = {key: each for key, each in self._recent.items() if key not in known} | known
            self._recent = dict(list(kept.items())[-REMEMBERED:])
        return {row: known[key] for row, key in keys.items()}

    def _read_documents(self, rows: Sequence[int]) -> dict[int, Document]:
        found = self._db.sealed(DOCUMENTS, BY_ROW, json.dumps(list(rows)), aside=True)
        documents = {row["row"]: self._document(row) for row in found}
        if lost := set(rows) - documents.keys():
            raise self._db.damaged(f"{len(lost)} of its documents are missing")
        return documents

    def _document(self, row: sqlite3.Row) -> Document:
        if content_hash(str(row["text"])) != row["text_sha256"]:
            raise self._db.damaged(f"the text of {row['source']} is not what was written")
        return Document(
            id=DocumentId(row["id"]),
            title=row["title"],
            text=row["text"],
            source_name=row["source_name"],
            source=row["source"],
            kind=row["kind"],
            revision=Revision(row["revision"]),
            modified_at=row["modified_at"],
            ingested_at=row["ingested_at"],
            access=labels_of(row["access"]),
            metadata=json.loads(row["metadata"]),
        )

    # --- writing ----------------------------------------------------------------------------------

    def add_document(
        self,
        document: Document,
        item: str,
        source_digest: str,
        chunks: Sequence[tuple[Chunk, EmbeddingKey]],
    ) -> int:
        """Write one document revision with its chunks; returns its row (the old one if known).

        `item` is what its source calls it; `source_digest` tells the bytes it was read from and the
        recipe it was chunked by. Call it inside a transaction.
        """
        digest = document_digest(document, source_digest)
        if known := self._known(document.id, digest):
            return known
        numbers = self._db.fact("numbers")
        row: int = numbers["documents"] + 1
        first: int = numbers["chunks"] + 1
        self._db.set_fact("numbers", {"documents": row, "chunks": first - 1 + len(chunks)})
        values: dict[str, Value] = {
            "row": row,
            "id": document.id,
            "digest": digest,
            "source_name": document.source_name,
            "item": item,
            "source_digest": source_digest,
            "title": document.title,
            "text_sha256": content_hash(document.text),
            "source": document.source,
            "kind": document.kind,
            "revision": document.revision,
            "modified_at": document.modified_at,
            "ingested_at": document.ingested_at,
            "access": json.dumps(sorted(document.access)),
            "metadata": json.dumps(document.metadata, sort_keys=True),
            "first_chunk": first,
            "chunk_count": len(chunks),
            "tokens": sum(chunk.tokens for chunk, _ in chunks),
        }
        self._db.insert(DOCUMENTS, [[*(values[name] for name in DOCUMENTS.columns), document.text]])
        self._db.insert(
            CHUNKS,
            (
                (
                    number,
                    row,
                    chunk.start,
                    chunk.end,
                    chunk.body_start,
                    json.dumps(chunk.heading_path),
                    chunk.tokens,
                    key,
                )
                for number, (chunk, key) in enumerate(chunks, first)
            ),
        )
        return row

    def _known(self, document_id: DocumentId, digest: str) -> int | None:
        found = self._db.all(
            "SELECT row FROM documents WHERE id = ? AND digest = ?", document_id, digest
        )
        if not found:
            return None
        number = int(found[0]["row"])  # as an index says: whether it is true, the row itself does
        rows = self._db.sealed(DOCUMENTS, "WHERE row = ?", number)
        if [(row["id"], row["digest"]) for row in rows] != [(document_id, digest)]:
            raise self._db.damaged("its index of documents is not what was written")
        return number

    # --- chunks -----------------------------------------------------------------------------------

    def chunk_rows(self, document_rows: Sequence[int]) -> list[ChunkRow]:
        """The chunks of some documents, in the order of documents and then of their text."""
        documents = sorted(self._directory.of_rows(document_rows), key=lambda row: row.id)
        chunks = self._chunks(chain.from_iterable(row.chunks for row in documents))
        return [
            ChunkRow(chunk["row"], document.access, EmbeddingKey(chunk["embedding_key"]))
            for document in documents
            for chunk in sorted(
                (chunks[row] for row in document.chunks), key=lambda row: row["start"]
            )
        ]

    def embedding_keys(self, chunk_rows: Sequence[int]) -> list[EmbeddingKey]:
        """The key of each chunk's vector, in the order given."""
        chunks = self._chunks(chunk_rows)
        return [EmbeddingKey(chunks[row]["embedding_key"]) for row in chunk_rows]

    def searched_rows(self, state_id: StateId) -> NDArray[np.int64]:
        """The chunk rows of a state, `(n,) int64`, ascending."""
        rows = self._directory.of_state(state_id)
        numbers = [np.arange(row.chunks.start, row.chunks.stop, dtype=np.int64) for row in rows]
        return np.sort(np.concatenate(numbers)) if numbers else np.empty(0, dtype=np.int64)

    def passages(self, chunk_rows: Sequence[int]) -> list[Passage]:
        """The passages behind chunk rows, in the order given."""
        wanted = [int(row) for row in chunk_rows]
        chunks = self._chunks(wanted)
        documents = self._documents(sorted({row["document_row"] for row in chunks.values()}))
        return [_passage(chunks[row], documents[chunks[row]["document_row"]]) for row in wanted]

    def passages_of(self, state_id: StateId, document_id: str) -> list[Passage]:
        """All passages of one document of a state, in the order of its text."""
        row = self._row(state_id, document_id)
        passages = self.passages(row.chunks) if row else []
        return sorted(passages, key=lambda passage: passage.chunk.start)

    def rows_of(self, document_ids: Iterable[str]) -> frozenset[int]:
        """The chunk rows of some documents, in their revisions of the states that were read here."""
        return frozenset(
            chain.from_iterable(row.chunks for row in self._directory.named(document_ids))
        )

    def _chunks(self, rows: Iterable[int]) -> dict[int, sqlite3.Row]:
        wanted = list(rows)
        found = {row["row"]: row for row in self._db.sealed(CHUNKS, BY_ROW, json.dumps(wanted))}
        if lost := set(wanted) - found.keys():
            raise self._db.damaged(f"{len(lost)} of its chunks are missing")
        return found


def _passage(row: sqlite3.Row, document: Document) -> Passage:
    chunk = Chunk(
        start=row["start"],
        end=row["end"],
        body_start=row["body_start"],
        heading_path=tuple(json.loads(row["heading_path"])),
        tokens=row["tokens"],
    )
    return Passage(row["row"], document, chunk)

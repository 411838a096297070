"""Ingests a folder as `casebook ingest` does, and notes the key of each text that it embeds.

python ingester.py DOCUMENTS INDEX LOG
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ingest.sync
from index.embedder import load_embedder
from index.schema import content_hash


def main() -> None:
    """Commit after every eight texts, so that there is much to be cut off in the midst of."""
    documents, index, log = map(Path, sys.argv[1:])
    ingest.sync.EMBED_AT_ONCE = 8
    embedder = load_embedder()
    embed = embedder.embed

    def noted(texts: Sequence[str]) -> NDArray[np.float32]:
        with log.open("a") as file:
            file.writelines(content_hash(embedder.name, text) + "\n" for text in texts)
        return embed(texts)

    embedder.embed = noted  # type: ignore[method-assign]
    ingest.sync.sync_paths(
        [documents],
        index,
        embedder,
        base=documents.parent,
        labels=frozenset({"public"}),
        report=lambda progress: None,
    )


if __name__ == "__main__":
    main()

"""Sources: what a path on the command line names, read and checked."""

import re
from dataclasses import dataclass
from pathlib import Path

from assistant.evaluation.dataset import DataSet, load_dataset
from assistant.evaluation.lists import QuestionList, load_list
from index.errors import InvalidInput

INDEXES = Path(".casebook/eval")
"""Where the indexes of data sets are kept, so that the next run embeds nothing again."""


@dataclass(frozen=True)
class Source:
    """What is measured: a data set with the folder that its indexes are kept in, or a list; and
    how many of its questions.
    """

    content: DataSet | QuestionList
    indexes: Path
    limit: int | None = None


def open_source(
    path: Path,
    *,
    split: str | None = None,
    corpus_ids: Path | None = None,
    limit: int | None = None,
    indexes: Path | None = None,
) -> Source:
    """A folder as a data set, a file as a list of questions; raises `InvalidInput`."""
    indexes = indexes or INDEXES
    if path.is_dir():
        return Source(load_dataset(path, split, corpus_ids), indexes, limit)
    if not path.exists():
        raise InvalidInput(
            f"{path} is not there: name a data set's folder, or a .csv or .jsonl file"
        )
    if split or corpus_ids:
        raise InvalidInput(
            f"{path} is a list: --split and --corpus-ids are for a data set's folder"
        )
    return Source(load_list(path), indexes, limit)


def index_folder(source: Source, content: DataSet, embedder: str) -> Path:
    """Where the index of a data set by one embedder is kept."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{content.name}-{embedder}").strip("._")
    return source.indexes / (name or "_")

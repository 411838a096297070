"""Rows of JSONL, CSV and TSV files, each of which knows its file and line for the error it causes."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.schema import MAX_QUESTION
from index.errors import InvalidInput

csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Row:
    """One record of a file."""

    file: Path
    line: int
    values: Mapping[str, Any]

    def wrong(self, what: str) -> InvalidInput:
        """The error that says what is wrong with this row and where it stands."""
        return InvalidInput(f"{self.file}:{self.line}: {what}")

    def text(self, name: str) -> str:
        """A text that must be there; raises `InvalidInput`."""
        text = self.optional(name)
        if not text.strip():
            there = ", ".join(str(key) for key in self.values) or "nothing"
            raise self.wrong(f"`{name}` is missing or blank: give it (the row has {there})")
        return text

    def optional(self, name: str) -> str:
        """A text, or an empty one; raises `InvalidInput` for what is no text."""
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(f"`{name}` must be a text, not {value!r}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(f"`{name}` holds half a surrogate pair: mend the escape") from error
        return value

    def question(self, name: str) -> str:
        """A text that can be asked; raises `InvalidInput`."""
        text = self.text(name)
        if len(text) > MAX_QUESTION:
            raise self.wrong(f"`{name}` has {len(text):,} characters: {MAX_QUESTION:,} at most")
        return text

    def whole(self, name: str) -> int:
        """A whole number, written as one or as text; raises `InvalidInput`."""
        value = self.values.get(name)
        try:
            if isinstance(value, str | int) and not isinstance(value, bool):
                return int(value)
        except ValueError:
            pass
        raise self.wrong(f"`{name}` must be a whole number, not {value!r}")

    def texts(self, name: str) -> tuple[str, ...]:
        """A text or a list of them, blank ones left out; raises `InvalidInput`."""
        value = self.values.get(name)
        if not isinstance(value, list):
            value = [self.optional(name)]
        if not all(isinstance(each, str) for each in value):
            raise self.wrong(f"`{name}` must be a text or a list of texts, not {value!r}")
        return tuple(each for each in value if each.strip())


def read_text(file: Path) -> str:
    """A file's text, unpacked where it is gzipped; raises `InvalidInput`."""
    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 ({error}): save it as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{file} can't be read ({error}): name a file that can") from error


def jsonl_rows(file: Path) -> Iterator[Row]:
    """The objects of a JSONL file, one a line; raises `InvalidInput`."""
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                f"{file}:{number}: not JSON ({error}): write one JSON object a line"
            ) from error
        if not isinstance(values, dict):
            raise InvalidInput(f"{file}:{number}: not a JSON object: write one a line")
        yield Row(file, number, values)


def optional_rows(file: Path) -> Iterator[Row]:
    """The objects of a JSONL file that need not be there."""
    return jsonl_rows(file) if file.is_file() else iter(())


def by_id(rows: Iterable[Row], taken: Mapping[str, Row] | None = None) -> dict[str, Row]:
    """Rows by `_id`, which none may share with another or with those taken; raises `InvalidInput`."""
    found: dict[str, Row] = {}
    for row in rows:
        key = row.text("_id")
        earlier = found.get(key) or (taken or {}).get(key)
        if earlier:
            raise row.wrong(f"_id {key!r} was given at {earlier.file}:{earlier.line}: rename one")
        found[key] = row
    return found


def table_rows(file: Path, columns: tuple[str, ...], delimiter: str = ",") -> Iterator[Row]:
    """The rows of a CSV or TSV file under a header with at least `columns`; raises `InvalidInput`."""
    plain = {"quoting": csv.QUOTE_NONE} if delimiter == "\t" else {"strict": True}
    table = csv.DictReader(
        io.StringIO(read_text(file), newline=""), delimiter=delimiter, restval="", **plain
    )
    line = 1
    try:
        header = table.fieldnames or []
        for missing in (name for name in columns if name not in header):
            raise InvalidInput(
                f"{file}:1: no column `{missing}`: the first line must name the columns "
                f"{', '.join(columns)} (it has {', '.join(header) or 'none'})"
            )
        line = table.line_num + 1
        for values in table:
            row = Row(file, line, values)
            if None in values:
                raise row.wrong(
                    "more fields than the header has columns: quote fields that hold the separator"
                )
            yield row
            line = table.line_num + 1
    except csv.Error as error:
        raise InvalidInput(f"{file}:{line}: not a table ({error}): mend the quotes") from error

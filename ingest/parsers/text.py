"""Text: its bytes decoded, markdown with its front matter, and what a document is called.

Front matter is YAML between `---`, TOML between `+++`, or a JSON object, as Hugo reads them.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

from index.errors import ParseError
from ingest.parsers.parsed import DAMAGE, Parsed

MAX_FRONT_MATTER = 64 * 1024
"""Bytes; what is longer is no front matter but an attack or an accident."""

MAX_DEPTH = 50

MAX_TITLE = 200
"""Characters; it stands in front of each chunk that is embedded, as headings do."""

_FRONT_MATTER = re.compile(
    r"(?P<mark>---|\+\+\+)[ \t]*\n(?P<inside>.*?)^(?P=mark)[ \t]*(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_JSON_FRONT = re.compile(r'\{\s*"')
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_TOP_HEADING = re.compile(r"^#[ \t]+(\S.*)$", re.MULTILINE)
FENCED = re.compile(
    # `{3,}+` gives nothing back: a line of 100,000 tildes is tried once, not at every length.
    r"^[ \t]*(?P<fence>`{3,}+|~{3,}+)[^\n`]*\n(?:.*?^[ \t]*(?P=fence)[`~]*[ \t]*$|.*)",
    re.DOTALL | re.MULTILINE,
)


def decode(name: str, data: bytes, encoding: str = "utf-8-sig") -> str:
    """Text with `\\n` line ends."""
    shown = "UTF-8" if encoding == "utf-8-sig" else encoding
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise ParseError(f"{name} declares the unknown charset {shown}: save as UTF-8") from error
    except UnicodeError as error:
        # A byte order mark is cut before decoding, so the offset is that in the file without it.
        mark = 3 if shown == "UTF-8" and data.startswith(b"\xef\xbb\xbf") else 0
        at = getattr(error, "start", 0) + mark
        raise ParseError(
            f"{name} is not {shown} (byte {at} can't be read): save it as UTF-8"
        ) from error
    if "\0" in text:
        raise ParseError(f"{name} holds NUL bytes: it is no text file; save it as UTF-8 text")
    return storable(text).replace("\r\n", "\n").replace("\r", "\n")


def storable(text: str) -> str:
    """Without lone surrogates, which no UTF-8 file or database takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def printable(name: str) -> str:
    """A file's name for messages: control characters and bytes that are no UTF-8 are escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in name
    )


def read_markdown(name: str, data: bytes) -> Parsed:
    metadata, body = split_front_matter(name, decode(name, data))
    return Parsed(title_of(name, metadata, body), body, metadata)


def split_front_matter(name: str, text: str) -> tuple[dict[str, Any], str]:
    """The metadata at the top of a text, and the text below; raises `ParseError`, which names it.

    A `{` that begins no JSON object with a line end behind it begins the text.
    """
    if found := _FRONT_MATTER.match(text):
        load = _from_yaml if found["mark"] == "---" else _from_toml
        return _metadata(name, found["inside"], load), _BLANK_LINES.sub("", text[found.end() :])
    if end := _json_end(text):
        return _metadata(name, text[:end], _from_json), _BLANK_LINES.sub("", text[end:])
    return {}, text


def without_front_matter(text: str) -> str:
    """The text below the front matter, which is not read."""
    found = _FRONT_MATTER.match(text)
    end = found.end() if found else _json_end(text)
    return _BLANK_LINES.sub("", text[end:]) if end else text


def _json_end(text: str) -> int:
    """Where the JSON object at the top of a text ends, or 0."""
    if not _JSON_FRONT.match(text):
        return 0
    try:
        _, end = json.JSONDecoder().raw_decode(text[: MAX_FRONT_MATTER + 1])
    except (ValueError, RecursionError):
        return 0
    rest_of_line = text[end:].partition("\n")[0]
    return 0 if rest_of_line.strip() else end


def first_line(data: bytes, text: str) -> int:
    """The number of a file's line that its text begins at, below the front matter."""
    return 1 + data.count(b"\n") - text.count("\n")


def read_text(name: str, data: bytes) -> Parsed:
    text = decode(name, data)
    return Parsed(title_of(name, {}, text), text)


def _metadata(name: str, text: str, load: Callable[[str, str], Any]) -> dict[str, Any]:
    if len(text.encode()) > MAX_FRONT_MATTER:
        raise ParseError(f"{name}: its front matter is over 64 KiB: move the text below it")
    try:
        loaded = load(name, text)
    except RecursionError as error:
        raise ParseError(f"{name}: its front matter is nested too deeply: flatten it") from error
    except DAMAGE as error:  # in YAML `a: !!bool x` is a KeyError, `a: 2024-99-99` a ValueError
        raise ParseError(
            f"{name}: a value in its front matter does not fit its type ({error}): quote it"
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ParseError(f"{name}: its front matter must be `name: value` lines between ---")
    return {str(_plain(key)): _plain(value) for key, value in loaded.items()}


def _from_yaml(name: str, text: str) -> Any:
    import yaml

    flow = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
    opens = (*flow, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
    closes = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
    try:
        depth = 0
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                # An alias can repeat itself a billionfold; front matter has no need of any.
                raise ParseError(f"{name}: its front matter uses a YAML alias: write the value out")
            depth += isinstance(token, opens) - isinstance(token, closes)
            if depth > MAX_DEPTH:  # scanning takes the square of the depth
                raise RecursionError
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParseError(
            f"{name}: its front matter is not valid YAML{_where(error, text)}: mend or quote it"
        ) from error


def _from_toml(name: str, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParseError(
            f"{name}: its front matter is not valid TOML ({error}): mend it"
        ) from error


def _from_json(name: str, text: str) -> Any:
    return json.loads(text)


def _where(error: Exception, text: str) -> str:
    """The line in the file, counted with the `---` above the front matter."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f" at line {mark.line + 2}"
    position = getattr(error, "position", None)  # of a character that YAML does not allow
    if isinstance(position, int):
        return f" at line {text.count(chr(10), 0, position) + 2}"
    return ""


def _plain(value: Any) -> Any:
    """A YAML value as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):  # past 64 bits neither JSON readers nor databases agree
        return value if abs(value) < 2**63 else hex(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return storable(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


def title_of(name: str, metadata: Mapping[str, Any], text: str, own: str = "") -> str:
    stated = metadata.get("title")
    if isinstance(stated, str | int | float) and str(stated).strip():
        return str(stated).strip()[:MAX_TITLE]
    heading = _TOP_HEADING.search(FENCED.sub("", text))
    # The marks that may close a heading are cut here: as a pattern they take the square of its length.
    closed = heading[1].rstrip(" \t").rstrip("#").rstrip(" \t") if heading else ""
    words = _without_marks(closed or (heading[1] if heading else ""))
    return (words or " ".join(own.split()) or _readable_stem(name))[:MAX_TITLE]


def _without_marks(heading: str) -> str:
    """A heading's words, without the markdown of links, bold, code and escapes."""
    words = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", heading)
    return re.sub(r"\\([^\w\s])|\*\*|`", r"\1", words).strip()


def _readable_stem(name: str) -> str:
    words = re.sub(r"[-_\s]+", " ", PurePosixPath(name).stem).strip()
    return words[:1].upper() + words[1:] or name

"""Text: its bytes decoded, markdown with its front matter, and what a document is called."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

from index.errors import ParseError
from ingest.parsers.parsed import DAMAGE, Parsed

MAX_FRONT_MATTER = 64 * 1024
"""Bytes; what is longer is no front matter but an attack or an accident."""

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_TOP_HEADING = re.compile(r"^#[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?:.*?^[ \t]*(?P=fence)[`~]*[ \t]*$|.*)",
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


def read_markdown(name: str, data: bytes) -> Parsed:
    text = decode(name, data)
    found = _FRONT_MATTER.match(text)
    if not found:
        return Parsed(title_of(name, {}, text), text)
    metadata = _front_matter(name, found[1])
    body = re.sub(r"\A(?:[ \t]*\n)+", "", text[found.end() :])
    return Parsed(title_of(name, metadata, body), body, metadata)


def read_text(name: str, data: bytes) -> Parsed:
    text = decode(name, data)
    return Parsed(title_of(name, {}, text), text)


def _front_matter(name: str, text: str) -> dict[str, Any]:
    import yaml

    if len(text.encode()) > MAX_FRONT_MATTER:
        raise ParseError(f"{name}: its front matter is over 64 KiB: move the text below the ---")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # An alias can repeat itself a billionfold; front matter has no need of any.
            raise ParseError(f"{name}: its front matter uses a YAML alias: write the value out")
        loaded = yaml.safe_load(text)
    except RecursionError as error:
        raise ParseError(f"{name}: its front matter is nested too deeply: flatten it") from error
    except yaml.YAMLError as error:
        raise ParseError(
            f"{name}: its front matter is not valid YAML{_where(error, text)}: mend or quote it"
        ) from error
    except DAMAGE as error:  # `a: !!bool x` is a KeyError, `a: 2024-99-99` a ValueError
        raise ParseError(
            f"{name}: a value in its front matter does not fit its type ({error}): quote it"
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ParseError(f"{name}: its front matter must be `name: value` lines between ---")
    return {str(_plain(key)): _plain(value) for key, value in loaded.items()}


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
        return str(stated).strip()
    heading = _TOP_HEADING.search(FENCED.sub("", text))
    words = _without_marks(heading[1]) if heading else ""
    return words or " ".join(own.split()) or _readable_stem(name)


def _without_marks(heading: str) -> str:
    """A heading's words, without the markdown of links, bold, code and escapes."""
    words = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", heading)
    return re.sub(r"\\([^\w\s])|\*\*|`", r"\1", words).strip()


def _readable_stem(name: str) -> str:
    words = re.sub(r"[-_\s]+", " ", PurePosixPath(name).stem).strip()
    return words[:1].upper() + words[1:] or name

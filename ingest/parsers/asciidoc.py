"""AsciiDoc to markdown, by lines.

No library fits: `asciidoc` and pandoc (`pypandoc`) are GPL, and pandoc weighs 150 MB; `asciidoctrine`
is an alpha, `adparser` a reader of single elements over lxml. Asciidoctor itself is Ruby. What a
reader searches for is words and their structure, which a converter by lines keeps: attributes and
conditions first (`_preprocessed`), then blocks, each of which may hold blocks (`asciidoc_blocks`), then what stands
inside a line and in tables (`asciidoc_inline`). Nothing is included from other files here:
`includes.expand_asciidoc` does that before.
"""

import re
from collections import Counter
from collections.abc import Sequence

from ingest.parsers.asciidoc_blocks import ATTRIBUTE, Converter
from ingest.parsers.asciidoc_inline import Attributes
from ingest.parsers.parsed import Parsed
from ingest.parsers.text import decode, title_of

_DIRECTIVE = re.compile(r"(ifdef|ifndef|ifeval|endif|include)::([^\s\[]*)\[(.*)\]\s*$")


def read_asciidoc(name: str, data: bytes) -> Parsed:
    """Markdown of an AsciiDoc document; author and revision of its header as metadata."""
    dropped: Counter[str] = Counter()
    lines = _preprocessed(decode(name, data).split("\n"), dropped)
    metadata, attributes = _header(lines)
    converter = Converter(attributes, dropped)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(converter.blocks(lines, 0))).strip("\n") + "\n"
    return Parsed(title_of(name, {}, text), text, metadata, dict(dropped))


# --- lines ------------------------------------------------------------------------------------


def _preprocessed(lines: Sequence[str], dropped: Counter[str]) -> list[str]:
    """The lines whose conditions hold, without `include::`, which is counted."""
    kept: list[str] = []
    known: set[str] = set()
    shown = [True]
    for line in lines:
        found = _DIRECTIVE.match(line)
        if not found:
            if shown[-1]:
                kept.append(line.removeprefix("\\") if _DIRECTIVE.match(line[1:]) else line)
                if attribute := ATTRIBUTE.match(line):
                    unset = attribute[1] or attribute[3]
                    (known.discard if unset else known.add)(attribute[2])
        elif found[1] == "endif":
            shown = shown[:-1] if len(shown) > 1 else shown
        elif found[1] == "include":
            dropped["includes"] += shown[-1]
        else:
            holds = _holds(found[1], found[2], known)
            if found[1] == "ifeval" or not found[3]:
                shown.append(shown[-1] and holds)
            elif shown[-1] and holds:
                kept.append(found[3])
    return kept


def _holds(kind: str, names: str, known: set[str]) -> bool:
    """Whether a condition holds; of `ifeval`, whose expressions aren't read, the text is kept."""
    if kind == "ifeval":
        return True
    every = "+" in names
    found = [name in known for name in re.split(r"[+,]", names)]
    return (all(found) if every else any(found)) == (kind == "ifdef")


def _header(lines: list[str]) -> tuple[dict[str, str], Attributes]:
    """Author and revision below the document's title; their lines are taken out."""
    attributes = Attributes()
    first = next((n for n, line in enumerate(lines) if line.startswith("= ")), None)
    if first is None or any(
        line.strip() and not line.startswith((":", "//")) for line in lines[:first]
    ):
        return {}, attributes
    end = next((n for n in range(first, len(lines)) if not lines[n].strip()), len(lines))
    plain = [n for n in range(first + 1, end) if not lines[n].startswith((":", "//"))]
    metadata = {}
    if plain and re.match(r"[\w.' -]+(<[^<>]*>)?(;|$)", lines[plain[0]]):
        names = zip(("author", "revision"), (lines[n].strip() for n in plain), strict=False)
        metadata = dict(names)
        for position in plain[:2]:
            lines[position] = "//"
    return metadata, attributes

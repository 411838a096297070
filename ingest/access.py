"""Who may read what a source holds: labels from the settings, from a file of patterns, or from the
documents themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from index.errors import InvalidInput, ParseError
from index.schema import Labels, content_hash
from ingest.sources.patterns import compiled


@dataclass(frozen=True)
class AccessRules:
    """The labels of a source's documents where they state none themselves.

    `lines` are patterns as in `.gitignore`, each with its labels, and the last that matches decides,
    as in a CODEOWNERS file; where none matches it is `labels`. No labels: administrators only.
    """

    labels: Labels = frozenset()
    lines: Sequence[tuple[str, Labels]] = ()

    def of(self, item: str) -> Labels:
        """The labels of an item by its id."""
        for matcher, labels in self._matchers:
            if matcher.match_file(item):
                return labels
        return self.labels

    def digest(self, item: str) -> str:
        """What must be equal for an item's labels to be unchanged."""
        return content_hash(*sorted(self.of(item)))[:12]

    @cached_property
    def _matchers(self) -> list[tuple[Any, Labels]]:
        return [(compiled([pattern]), labels) for pattern, labels in reversed(self.lines)]


def read_rules(path: Path, labels: Labels) -> AccessRules:
    """Rules from a file of lines like `/runbooks/** platform sre`; `#` begins a comment.

    Raises `InvalidInput` where there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the access file {path} can't be read ({error}): mend it") from error
    lines = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            lines.append((words[0], frozenset(words[1:])))
    return AccessRules(labels, tuple(lines))


def stated_labels(metadata: Mapping[str, Any], name: str) -> Labels | None:
    """The labels in front matter, if any; raises `ParseError` rather than guess who may read."""
    if "access" not in metadata:
        return None
    stated = metadata["access"]
    labels = [stated] if isinstance(stated, str) else stated
    if isinstance(labels, list) and all(isinstance(label, str) and label for label in labels):
        return frozenset(labels)
    raise ParseError(
        f"{name}: `access` in its front matter must be a label or a list of labels, "
        f"like [public], not {stated!r}"
    )

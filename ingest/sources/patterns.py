"""Which items of a source are taken, by patterns as in `.gitignore`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from index.errors import InvalidInput


@dataclass(frozen=True)
class Patterns:
    """`include`: only what one of these matches, or all where there are none; `exclude`: not what one
    of these matches. Raises `InvalidInput` for a pattern that can't be read.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def take(self, path: str) -> bool:
        """Whether the item at a path, with forward slashes, is taken."""
        included = not self.include or self._included.match_file(path)
        return bool(included and not self._excluded.match_file(path))

    @cached_property
    def _included(self) -> Any:
        return compiled(self.include)

    @cached_property
    def _excluded(self) -> Any:
        return compiled(self.exclude)


def compiled(patterns: Sequence[str]) -> Any:
    """The patterns as one matcher, by Python's own expressions: others that pathspec takes where they happen
    to be installed (RE2) raise for a name that is no UTF-8.
    """
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns, backend="simple")
    except ValueError as error:
        raise InvalidInput(f"a pattern among {list(patterns)} can't be read: {error}") from error

"""What `casebook.toml` says of each source, and the source made from it."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ingest.access import AccessRules, read_rules
from ingest.parsers.code import CODE_SUFFIXES
from ingest.sources.folder import FolderSource
from ingest.sources.github import GithubSettings
from ingest.sources.jira import JiraSettings
from ingest.sources.patterns import Patterns
from ingest.sources.source import Source
from ingest.sources.web import WebSettings
from ingest.sync import Synced

UNNAMED = "files"
"""What people see in place of the name of the source that has none: files named on the command line."""

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(stated: Any) -> Any:
    """`15m`, `12h`, `30d`: what a person writes; anything else is left to pydantic to refuse."""
    found = re.fullmatch(r"(\d+)\s*([smhdw])", stated) if isinstance(stated, str) else None
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found else stated


Duration = Annotated[
    timedelta, BeforeValidator(_duration), Field(gt=timedelta(0), examples=["15m", "12h", "30d"])
]


class Common(BaseModel):
    """What every source can be told. `access`: the labels of its documents, unless `access_file` or the
    documents say otherwise; none means administrators only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case, with hyphens")
    access: list[str] = Field([], description="labels that may read what the source holds")
    access_file: Path | None = Field(None, description="patterns with labels, like CODEOWNERS")
    every: Duration | None = Field(None, description="time between two syncs with --watch")
    stale_after: Duration | None = Field(None, description="age at which an answer warns")

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == UNNAMED:
            raise ValueError(
                f"{name!r} is what files named on the command line are called: rename it"
            )
        return name

    def rules(self) -> AccessRules:
        """Who may read what; raises `InvalidInput` for an access file that can't be read."""
        labels = frozenset(self.access)
        return read_rules(self.access_file, labels) if self.access_file else AccessRules(labels)


class Patterned(Common):
    """A source of which patterns as in `.gitignore` choose a part."""

    include: list[str] = []
    exclude: list[str] = []

    @property
    def patterns(self) -> Patterns:
        return Patterns(tuple(self.include), tuple(self.exclude))


class FolderEntry(Patterned):
    """Files in a folder: runbooks, notes, the sources of a site."""

    type: Literal["folder"]
    path: Path
    project: str | None = None


class Cloned(Common):
    """A git repository. `token_file` holds the password of the user that an https URL names, or a token
    where it names none; it is read at each sync.
    """

    url: str
    ref: str | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _has_one_password(self) -> Self:
        if self.token_file and not re.match(r"https?://(?![^/]*:[^/]*@)", self.url):
            raise ValueError("`token_file` goes with an https URL that holds no password itself")
        return self


class GitEntry(Patterned, Cloned):
    """The documents, and with `code` the source files, of a git repository."""

    type: Literal["git"]
    code: bool = False
    project: str | None = None


class HistoryEntry(Cloned):
    """The commits, tags and releases of a git repository."""

    type: Literal["history"]
    project: str | None = None


class GithubEntry(Common, GithubSettings):
    """The issues and pull requests of a GitHub repository."""

    type: Literal["github"]


class JiraEntry(Common, JiraSettings):
    """The issues of a Jira project."""

    type: Literal["jira"]


class WebEntry(Common, WebSettings):
    """Pages of a web site."""

    type: Literal["web"]


Entry = Annotated[
    FolderEntry | GitEntry | HistoryEntry | GithubEntry | JiraEntry | WebEntry,
    Field(discriminator="type"),
]


def open_sources(entries: Sequence[Entry], copies: Path) -> list[Synced]:
    """The sources as configured; their copies lie in folders of `copies`."""
    return [Synced(_open(entry, copies / entry.name), entry.rules()) for entry in entries]


def _open(entry: Entry, folder: Path) -> Source:
    """Sources are imported where they are made: git and HTTP are not loaded for a folder."""
    if isinstance(entry, FolderEntry):
        return FolderSource(entry.name, (entry.path,), entry.path, entry.patterns)
    if isinstance(entry, GitEntry):
        from ingest.sources.git import GitSettings, GitSource

        settings = GitSettings(
            entry.url, entry.ref, entry.patterns, entry.code, entry.project, entry.token_file
        )
        return GitSource(entry.name, settings, folder, code_suffixes=frozenset(CODE_SUFFIXES))
    if isinstance(entry, HistoryEntry):
        from ingest.sources.history import HistorySettings, HistorySource

        return HistorySource(
            entry.name,
            HistorySettings(entry.url, entry.ref, entry.project, entry.token_file),
            folder,
        )
    if isinstance(entry, GithubEntry):
        from ingest.sources.github import GithubSource

        return GithubSource(entry.name, entry, folder)
    if isinstance(entry, JiraEntry):
        from ingest.sources.jira import JiraSource

        return JiraSource(entry.name, entry, folder)
    from ingest.sources.web import WebSource

    return WebSource(entry.name, entry, folder)

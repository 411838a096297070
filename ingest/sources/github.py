"""GitHub's issues and pull requests, from its REST API or from export files."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from index.errors import ParseError
from ingest.parsers.parsed import reading
from ingest.sources.http import Clock, HttpClient, Reply, Sleep, read_token
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable
from ingest.sources.tickets import (
    Comment,
    Data,
    Exported,
    Stored,
    Ticket,
    TicketStore,
    as_content,
    load_exports,
    one_line,
    understood,
    utc,
    web_address,
)

OVERLAP = timedelta(seconds=60)
"""Before the last change seen, this much is listed again: the list may lag behind."""

RELIST_AFTER = 24 * 3600
"""Seconds between full listings, which find what was deleted or moved away: no list says so."""

PAGE = 100
"""Rows a page, the most that GitHub gives."""

_GONE = frozenset({404, 410})
_CLOSES = re.compile(r"\b(?:close[sd]?|fix(?:es|ed)?|resolve[sd]?):?\s{1,3}#(\d{1,9})\b", re.I)
"""https://docs.github.com/en/issues/tracking-your-work-with-issues/linking-a-pull-request-to-an-issue"""


class GithubSettings(BaseModel):
    """What `casebook.toml` says of a repository's tickets: where they are, or the files they are in.

    The token is in an environment variable or a file, and read anew at each sync.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str | None = Field(None, pattern=r"^[\w-][\w.-]*/\.?[\w-][\w.-]*$")
    api_url: str = "https://api.github.com"
    token_variable: str | None = None
    token_file: Path | None = None
    export: Path | None = None
    allow_private: bool = False

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if not self.repository and not self.export:
            raise ValueError('give `repository = "owner/name"`, or `export`, a file or a folder')
        return self


class GithubSource:
    """The tickets of one repository, copied into `folder` and brought up to date at each listing.

    An item's id is its number; `owner/name#12` for tickets of other repositories in an export.
    """

    def __init__(
        self,
        name: str,
        settings: GithubSettings,
        folder: Path,
        *,
        clock: Clock = time.time,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.name = name
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._sleep = sleep

    @cached_property
    def _store(self) -> TicketStore:
        return TicketStore(self._folder / "tickets.sqlite3")

    def list(self) -> Listing:
        skipped: tuple[Skipped, ...] = ()
        if self._settings.export:
            skipped = load_exports(self._store, self._settings.export, self._exported)
        else:
            self._update()
        return Listing(self._store.items(), skipped=skipped)

    def read(self, item: Item) -> Content:
        stored = self._store.ticket(item.id)
        if stored is None:
            raise ParseError(f"{self.name}: there is no ticket {item.id} any more: sync again")
        with reading(f"{self.name}: ticket {item.id}", "not as GitHub gives it", "export it anew"):
            ticket = _ticket(stored, self._settings.repository)
            return as_content(ticket, item.revision, note=_note(stored.data))

    def relist_at_next_sync(self) -> None:
        """Have the next listing look for deleted tickets, however lately that was done."""
        with self._store.transaction():
            self._store.set_cursor("relisted", None)

    def beside(self, path: str) -> bytes | None:
        """Nothing here includes a file."""
        return None

    def close(self) -> None:
        self._store.close()

    def _update(self) -> None:
        token = read_token(self._settings.token_variable, self._settings.token_file)
        with HttpClient(
            self._settings.api_url,
            authorization=f"Bearer {token}" if token else None,
            allow_private=self._settings.allow_private,
            clock=self._clock,
            sleep=self._sleep,
        ) as client:
            _Update(client, self._store, str(self._settings.repository), self._clock).run()

    def _exported(self, name: str, data: bytes) -> Iterator[Exported]:
        for raw in _rows_of_export(name, data):
            with reading(f"{name}, number {raw['number']}", "no GitHub ticket", "export it anew"):
                yield self._one_exported(raw)

    def _one_exported(self, raw: Data) -> Exported:
        ticket = _kept_ticket(raw)
        repository = _repository(ticket, None)
        foreign = repository and repository != self._settings.repository
        prefix = f"{repository}#" if foreign else ""
        said = raw.get("comments_list", raw.get("comments"))
        return Exported(
            id=f"{prefix}{ticket['number']}",
            updated_at=utc(ticket["updated_at"]) or "",
            data=ticket,
            comments=[_kept_comment(each) for each in said] if isinstance(said, list) else [],
            resolves=[prefix + number for number in _closed_by_words(ticket)],
        )


# --- the API ----------------------------------------------------------------------------------


class _Update:
    """One run through what has changed at GitHub since the last.

    Pages go by the time of change, not by number: after each page the next listing begins at the
    last change seen. A ticket that changes meanwhile moves to the end and is met again; by numbers
    of pages the ones behind it would move up, and one would be missed at each border.
    """

    def __init__(
        self, client: HttpClient, store: TicketStore, repository: str, clock: Clock
    ) -> None:
        self._client = client
        self._store = store
        self._repository = repository
        self._root = f"{str(client.base).rstrip('/')}/repos/{repository}"
        self._home = self._root
        self._clock = clock

    def run(self) -> None:
        if self._store.cursor("issues") is None:  # the first listing is a full one
            self._set("relisted", str(self._clock()))
        self._changes("issues", {"state": "all"}, self._keep_issue)
        self._changes("issues/comments", {}, self._keep_comment)
        self._changes("pulls/comments", {}, self._keep_comment)
        relisted = self._store.cursor("relisted")
        if relisted is None or self._clock() - float(relisted) >= RELIST_AFTER:
            self._relist()
        self._recount()

    def _set(self, cursor: str, value: str | None) -> None:
        with self._store.transaction():
            self._store.set_cursor(cursor, value)

    def _changes(self, path: str, extra: Mapping[str, str], keep: Callable[[Data], None]) -> None:
        url, since = f"{self._root}/{path}", _before(self._store.cursor(path))
        query: dict[str, str | int] = {
            **extra,
            "sort": "updated",
            "direction": "asc",
            "per_page": PAGE,
        }
        asked, etag = json.loads(self._store.cursor(f"{path} etag") or "[null, null]")
        validator = {"If-None-Match": etag} if etag and asked == since else {}
        reply = self._client.get(url, params={**query, **_since(since)}, headers=validator)
        if reply.status == 304:
            return
        alone = None if reply.next_page() else json.dumps([since, reply.headers.get("etag")])
        while True:
            rows = self._rows(reply)
            with understood(url), self._store.transaction():
                newest = max((_stamp(row["updated_at"]) for row in rows), default=since)
                for row in rows:
                    keep(row)
                self._store.set_cursor(path, newest or None)
                self._store.set_cursor(f"{path} etag", alone)
            following = reply.next_page()
            if not following:
                return
            if newest > since:
                since = newest
                reply = self._client.get(url, params={**query, **_since(since)})
            else:  # a whole page of changes in one second
                reply = self._client.get(following)

    def _keep_issue(self, row: Data) -> None:
        ticket = _kept_ticket(row)
        self._home = str(row.get("repository_url") or self._home)
        self._store.put_ticket(str(ticket["number"]), ticket, _closed_by_words(ticket))

    def _keep_comment(self, row: Data) -> None:
        kind = "review" if row.get("pull_request_url") else "issue"
        under = str(row.get("pull_request_url") or row["issue_url"])
        self._store.put_comment(f"{kind}-{row['id']}", under.rpartition("/")[2], _kept_comment(row))

    def _relist(self) -> None:
        """List everything by its creation, which never changes; ask after what is not there."""
        address = self._store.cursor("relisting")
        if address is None:
            with self._store.transaction():
                self._store.forget_seen()
        query: dict[str, str | int] = {
            "state": "all",
            "sort": "created",
            "direction": "asc",
            "per_page": PAGE,
        }
        url = f"{self._root}/issues"
        reply = self._client.get(address) if address else self._client.get(url, params=query)
        while True:
            with understood(url), self._store.transaction():
                for row in self._rows(reply):
                    self._keep_issue(row)
                address = reply.next_page()
                self._store.set_cursor("relisting", address)
            if not address:
                break
            reply = self._client.get(address)
        for number in self._store.unseen():
            self._look_for(number)
        self._set("relisted", str(self._clock()))

    def _look_for(self, number: str) -> None:
        """Remove a ticket that is deleted or now another repository's: a list alone proves nothing,
        since a deletion while it is read moves tickets past the borders of its pages.
        """
        reply = self._client.get(f"{self._root}/issues/{number}")
        row = {} if reply.status in _GONE else _read_json(reply, dict)
        here = str(row.get("repository_url", "")).casefold() == self._home.casefold()
        with understood(self._root), self._store.transaction():
            if here and str(row.get("number")) == number:
                self._keep_issue(row)
            else:
                self._store.remove([number])

    def _recount(self) -> None:
        """Fetch the comments of tickets that say they have more or fewer: some were deleted."""
        for number, digest in self._store.miscounted("issue-%"):
            comments: dict[str, Data] = {}
            address: str | None = f"{self._root}/issues/{number}/comments?per_page={PAGE}"
            while address:
                reply = self._client.get(address)
                rows = [] if reply.status in _GONE else self._rows(reply)
                with understood(address):
                    comments |= {f"issue-{row['id']}": _kept_comment(row) for row in rows}
                address = reply.next_page()
            with self._store.transaction():
                self._store.replace_comments(number, comments, "issue-%")
                self._store.set_counted(number, digest)

    def _rows(self, reply: Reply) -> list[Data]:
        if reply.status in (401, 403, 404):
            raise SourceUnavailable(
                f"GitHub answers {reply.status} for {self._repository}: look whether the name is "
                "right, and whether the token is valid and may read its issues"
            )
        rows: list[Data] = _read_json(reply, list)
        return rows


def _read_json(reply: Reply, shape: type[Any]) -> Any:
    try:
        found = json.loads(reply.body) if reply.status == 200 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, shape):
        raise SourceUnavailable(
            f"{reply.url.partition('?')[0]} answers {reply.status} with no {shape.__name__} in "
            "JSON: look whether `api_url` is that of a GitHub API"
        )
    return found


def _since(stamp: str) -> dict[str, str]:
    return {"since": stamp} if stamp else {}


def _before(cursor: str | None) -> str:
    return _stamp(cursor, OVERLAP) if cursor else ""


def _stamp(time: str, earlier: timedelta = timedelta(0)) -> str:
    """A time as GitHub writes it, so that two compare as text."""
    return f"{datetime.fromisoformat(time).astimezone(UTC) - earlier:%Y-%m-%dT%H:%M:%SZ}"


# --- what is kept: REST and `gh --json` in one shape ------------------------------------------


def _rows_of_export(name: str, data: bytes) -> list[Data]:
    with reading(name, "no JSON that can be read", "export it anew"):
        found = json.loads(data)
        if isinstance(found, dict):
            found = found.get("items", found.get("issues", [found]))
        if isinstance(found, list) and all(isinstance(r, dict) and "number" in r for r in found):
            return found
    raise ParseError(
        f"{name} holds no GitHub issues: export it by `gh issue list --state all --limit 100000 "
        "--json number,title,body,state,labels,author,comments,createdAt,updatedAt,closedAt,url`"
    )


def _kept_ticket(raw: Data) -> Data:
    merged = _either(raw.get("pull_request") or raw, "merged_at", "mergedAt")
    url = web_address(_either(raw, "html_url", "url"))
    count = raw.get("comments")
    return {
        "number": int(raw["number"]),
        "title": raw.get("title") or "",
        "body": raw.get("body") or "",
        "url": url,
        "pull": bool(raw.get("pull_request")) or "/pull/" in url,
        "merged_at": merged,
        "state": "merged" if merged else str(raw.get("state") or "open").lower(),
        "reason": str(_either(raw, "state_reason", "stateReason") or "").lower(),
        "labels": [
            each["name"] if isinstance(each, dict) else str(each) for each in _list(raw, "labels")
        ],
        "author": _login(_either(raw, "user", "author")),
        "assignees": [_login(each) for each in _list(raw, "assignees")],
        "milestone": (raw.get("milestone") or {}).get("title"),
        "created_at": _either(raw, "created_at", "createdAt"),
        "updated_at": _either(raw, "updated_at", "updatedAt"),
        "closed_at": _either(raw, "closed_at", "closedAt"),
        "closed_by": _login(raw.get("closed_by")),
        "comment_count": count if isinstance(count, int) else 0,
    }


def _kept_comment(raw: Data) -> Data:
    user = _either(raw, "user", "author") or {}
    return {
        "author": _login(user),
        "by_machine": user.get("type") == "Bot" or bool(user.get("is_bot")),
        "created_at": _either(raw, "created_at", "createdAt"),
        "body": raw.get("body") or "",
        "url": web_address(_either(raw, "html_url", "url")),
        "path": raw.get("path"),
        "line": raw.get("line") or raw.get("original_line"),
        "solution": bool(_either(raw, "is_answer", "isAnswer")),
        "hidden": bool(raw.get("isMinimized")),
    }


def _either(raw: Data, one: str, other: str) -> Any:
    return raw.get(one) or raw.get(other)


def _list(raw: Data, name: str) -> list[Any]:
    found = raw.get(name)
    return found if isinstance(found, list) else []


def _login(user: Any) -> str:
    """A deleted user is null, and shown by GitHub as ghost."""
    return str((user or {}).get("login") or "ghost")


def _repository(ticket: Data, otherwise: str | None) -> str:
    found = re.match(r"https?://[^/]+/(?:repos/)?([^/]+/[^/]+)/(?:issues|pull)/", ticket["url"])
    return found[1] if found else otherwise or ""


def _closed_by_words(ticket: Data) -> list[str]:
    """The numbers of the issues that a merged pull request says it closes."""
    words = f"{ticket['title']}\n{ticket['body']}" if ticket["merged_at"] else ""
    return [str(int(number)) for number in _CLOSES.findall(words)]


# --- as a ticket ------------------------------------------------------------------------------


def _ticket(stored: Stored, configured: str | None) -> Ticket:
    data = stored.data
    project = _repository(data, configured)
    shown = sorted(
        (each for each in stored.comments if not each["hidden"]),
        key=lambda each: (utc(each["created_at"]) or "", each["url"]),
    )
    hidden = len(stored.comments) - len(shown)
    return Ticket(
        key=f"{project}#{data['number']}",
        title=data["title"],
        state=data["state"],
        body=data["body"],
        url=data["url"],
        project=project,
        author=data["author"],
        labels=tuple(data["labels"]),
        created_at=utc(data["created_at"]) or "",
        updated_at=utc(data["updated_at"]) or "",
        closed_at=utc(data["closed_at"]),
        closed_by=data["closed_by"] if data["closed_by"] != "ghost" else None,
        resolved_by=tuple(_closing_line(each) for each in stored.resolved_by),
        comments=tuple(_comment(each) for each in shown),
        dropped={"hidden comments": hidden} if hidden else {},
    )


def _comment(data: Data) -> Comment:
    where = f"On `{data['path']}`, line {data['line'] or '?'}:\n\n" if data["path"] else ""
    return Comment(
        author=data["author"],
        created_at=utc(data["created_at"]) or "",
        body=where + data["body"],
        url=data["url"],
        by_machine=data["by_machine"] or data["author"].endswith("[bot]"),
        solution=data["solution"],
    )


def _closing_line(pull: Data) -> str:
    title = one_line(pull["title"]).replace("[", "(").replace("]", ")")
    return (
        f"Closed by pull request [#{pull['number']}: {title}]({pull['url']}) of {pull['author']}, "
        f"merged on {pull['merged_at'][:10]}."
    )


def _note(data: Data) -> str:
    notes = ["Pull request." if data["pull"] else ""]
    if data["reason"] == "not_planned":
        notes.append("Closed as not planned.")
    if data["milestone"]:
        notes.append(f"Milestone: {one_line(data['milestone'])}.")
    if data["assignees"]:
        notes.append(f"Assigned to {', '.join(data['assignees'])}.")
    return " ".join(note for note in notes if note)

"""Web pages of one site: from its sitemap or a list, politely, and read again only if changed."""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from index.errors import ParseError
from ingest.sources.http import (
    API_LIMIT,
    PAGE_LIMIT,
    USER_AGENT,
    AddressRefused,
    BodyTooLarge,
    Clock,
    ComeBackLater,
    HttpClient,
    RedirectRefused,
    Reply,
    Sleep,
    joined,
    parse_address,
    same_host,
    unzipped,
)
from ingest.sources.patterns import Patterns
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable

if TYPE_CHECKING:
    from protego import Protego

SUFFIXES = {
    "text/html": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
}
"""What is read, each with the suffix of its parser."""

MAX_DEPTH = 3
MAX_SITEMAPS = 500
"""An index of sitemaps may name others, but not without end."""

ROBOTS_LIMIT = 500 * 1024
"""Bytes of a robots.txt that are heeded, as RFC 9309 asks for at least."""

RESUME_WITHIN = 6 * 3600
"""Seconds in which an interrupted run is gone on with, and what it has read is not asked for again."""

FAULTS_IN_A_ROW = 3
"""So many pages that don't come, one after the other, and the site is taken to be down."""

MAX_DELAY = 60
"""Seconds; with more between two requests, even a thousand pages take most of a day."""

MAX_ELEMENTS = 1_000_000
"""Starts and ends of elements in a sitemap, which may list 50,000 pages."""

HEAD = 256 * 1024
MAX_TAGS = 500
"""Bytes of a page in which its `<meta>` and `<link>` are looked for, and how many are."""


log = logging.getLogger("casebook.ingest")


class WebSettings(BaseModel):
    """What `casebook.toml` says of a web site: its sitemap, or pages, all on one host.

    `include` and `exclude` are patterns as in `.gitignore` for paths; `delay` is in seconds, between
    two requests, unless robots.txt asks for more; at most `limit` pages are read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sitemap: str | None = None
    pages: list[str] = []
    include: list[str] = []
    exclude: list[str] = []
    limit: int = Field(5000, gt=0)
    delay: float = Field(1.0, ge=0)
    allow_private: bool = False

    @model_validator(mode="after")
    def _has_one_host(self) -> Self:
        places = [*self.pages, *([self.sitemap] if self.sitemap else [])]
        if not places or (self.pages and self.sitemap):
            raise ValueError("give either `sitemap`, its address, or `pages`, a list of addresses")
        try:
            hosts = {parse_address(place).netloc for place in places}
        except SourceUnavailable as error:
            raise ValueError(str(error)) from error
        if len(hosts) > 1:
            raise ValueError("`pages` are on several hosts: make one source of each")
        return self


@dataclass(frozen=True)
class Page:
    """What is known of a page: `address` is where it was asked for, `id` where it says it lives.

    `suffix` is that of its parser; without one it is no document, or none that may be had. `run` is
    the number of the visit that last asked for it.
    """

    address: str
    id: str
    suffix: str
    charset: str
    etag: str
    last_modified: str
    modified_at: str | None
    digest: str
    run: int


class WebSource:
    """The pages of one site by address, their bodies kept in `folder`."""

    def __init__(
        self,
        name: str,
        settings: WebSettings,
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
    def _store(self) -> _Pages:
        return _Pages(self._folder / "pages.sqlite3")

    def list(self) -> Listing:
        start = self._settings.sitemap or self._settings.pages[0]
        with HttpClient(
            start,
            allow_private=self._settings.allow_private,
            clock=self._clock,
            sleep=self._sleep,
        ) as client:
            return _Visit(client, self._store, self._settings, self._clock, self._sleep).run()

    def read(self, item: Item) -> Content:
        page = self._store.of_item(item)
        if page is None:
            raise ParseError(f"{item.id} is not as it was listed any more: sync again")
        return Content(
            body=_in_utf8(page, self._store.body(page.address)),
            uri=page.id,
            revision=page.digest[:12],
            modified_at=page.modified_at,
            kind="page",
            metadata={"parse_as": page.suffix},
            states_access=False,
        )

    def beside(self, path: str) -> bytes | None:
        """Nothing here includes a file."""
        return None

    def close(self) -> None:
        self._store.close()


# --- a visit ----------------------------------------------------------------------------------


class _Visit:
    """One run over a site: where it lists its pages, then each page, with a pause before each."""

    def __init__(
        self,
        client: HttpClient,
        store: _Pages,
        settings: WebSettings,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._client = client
        self._store = store
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._patterns = Patterns(tuple(settings.include), tuple(settings.exclude))
        self._last = float("-inf")
        self._delay = settings.delay
        self._robots: Protego | None = None
        self._run = 0
        self._passed_over = 0
        self._skipped: list[Skipped] = []

    def run(self) -> Listing:
        self._run = self._store.begin(self._clock())
        self._robots, self._delay = self._read_robots()
        wanted = self._wanted()
        faults = 0
        for address, lastmod in wanted.items():
            try:
                self._visit(address, lastmod)
                faults = 0
            except RedirectRefused as error:
                log.warning("not on this site any more: %s", error)
                self._store.forget(address)
                self._passed_over += 1
            except BodyTooLarge as error:
                self._skipped.append(Skipped(address, str(error)))
            except (AddressRefused, ComeBackLater):
                raise
            except SourceUnavailable as error:
                # What was read before stays, unless it looks as if the whole site were down.
                faults += 1
                if faults == FAULTS_IN_A_ROW:
                    raise
                self._skipped.append(Skipped(address, str(error)))
        self._store.finish(set(wanted))
        return self._listing()

    def _get(self, address: str, limit: int, headers: Mapping[str, str] | None = None) -> Reply:
        wait = self._last + self._delay - self._clock()
        if wait > 0:
            self._sleep(wait)
        try:
            return self._client.get(address, headers=headers, limit=limit, permit=self._may_visit)
        finally:
            self._last = self._clock()

    def _may_visit(self, address: str) -> bool:
        return self._robots is None or bool(self._robots.can_fetch(address, USER_AGENT))

    def _read_robots(self) -> tuple[Protego, float]:
        """The rules of the site, and the seconds to leave between two requests.

        RFC 9309: where there are none all is allowed, and where they can't be had nothing is. That is
        no reason to drop what was read before, so it raises `SourceUnavailable`.
        """
        from protego import Protego

        reply = self._get(str(self._client.base.join("/robots.txt")), PAGE_LIMIT)
        text = reply.body[:ROBOTS_LIMIT].decode("utf-8-sig", "replace")
        robots = Protego.parse(text if reply.status == 200 else "")
        delay = max(self._settings.delay, robots.crawl_delay(USER_AGENT) or 0)
        if not delay <= MAX_DELAY:
            raise SourceUnavailable(
                f"{self._client.base.host} asks for {delay} s between two requests in its "
                "robots.txt: that is too long to read it; ask its owner for a rule for casebook"
            )
        return robots, delay

    def _wanted(self) -> dict[str, str]:
        """The addresses to read, each with when it changed if its sitemap says; counts the others."""
        listed: Iterator[tuple[str, str]]
        if self._settings.sitemap:
            listed = self._of_sitemap(self._settings.sitemap)
        else:
            listed = ((page, "") for page in self._settings.pages)
        wanted: dict[str, str] = {}
        over = 0
        for stated, lastmod in listed:
            address = self._ours(stated)
            if address is None:
                self._passed_over += 1
            elif address in wanted:
                continue
            elif len(wanted) == self._settings.limit:
                over += 1
            else:
                wanted[address] = lastmod
        if over:
            reason = f"{over} pages more than `limit`, {self._settings.limit}: raise it"
            self._skipped.append(Skipped(self._settings.sitemap or "pages", reason))
        return wanted

    def _ours(self, stated: str) -> str | None:
        """An address in one spelling, if it is on the site, and may and is to be read."""
        base = self._client.base
        try:
            url = parse_address(stated.strip())
        except SourceUnavailable:
            return None
        if base.scheme == "https" and url.scheme == "http":  # as careless sitemaps have it
            url = url.copy_with(scheme="https")
        wanted = self._patterns.take(url.path.lstrip("/") or "index.html")
        return str(url) if wanted and same_host(base, url) and self._may_visit(str(url)) else None

    def _of_sitemap(self, start: str) -> Iterator[tuple[str, str]]:
        """The pages of a sitemap and of those it names. One that fails fails all: its pages would
        otherwise look deleted.
        """
        queue, seen = [(start, 0)], {start}
        while queue:
            address, depth = queue.pop(0)
            reply = self._get(address, API_LIMIT)
            for kind, place, lastmod in _sitemap_entries(reply):
                if kind == "url":
                    yield place, lastmod
                elif place not in seen:
                    if depth == MAX_DEPTH or len(seen) == MAX_SITEMAPS:
                        raise SourceUnavailable(
                            f"{address} names sitemaps over {MAX_DEPTH} deep or {MAX_SITEMAPS} "
                            "in all: give the address of one that lists pages"
                        )
                    seen.add(place)
                    queue.append((place, depth + 1))

    def _visit(self, address: str, lastmod: str) -> None:
        known = self._store.at(address)
        if known and known.run == self._run:
            return  # read before an interruption
        headers = {}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        if known and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        reply = self._get(address, PAGE_LIMIT, headers)
        if reply.status == 304 and known:
            self._store.unchanged(address, self._run)
        else:
            self._store.put(_as_page(address, lastmod, reply, self._run), reply.body)

    def _listing(self) -> Listing:
        """One item an `id`: of pages that say they live at one place, the one that is there."""
        items: dict[str, Item] = {}
        for page in sorted(
            self._store.pages(), key=lambda page: (page.address != page.id, page.id)
        ):
            if not page.suffix or page.id in items or self._ours(page.id) is None:
                self._passed_over += 1
            else:
                items[page.id] = Item(page.id, page.digest)
        found = tuple(items[id] for id in sorted(items))
        return Listing(found, passed_over=self._passed_over, skipped=tuple(self._skipped))


# --- sitemaps ---------------------------------------------------------------------------------


def _sitemap_entries(reply: Reply) -> Iterator[tuple[str, str, str]]:
    """`("url" or "sitemap", address, time of change)` for each entry; gzipped or not."""
    from xml.etree.ElementTree import ParseError as NotXml

    from defusedxml.ElementTree import iterparse

    if reply.status != 200:
        raise SourceUnavailable(f"{reply.url} answers {reply.status}: give the sitemap's address")
    try:
        body = reply.body
        if body.startswith(b"\x1f\x8b"):
            body = unzipped(reply.url, [body], API_LIMIT)
        found: dict[str, str] = {}
        events = iterparse(BytesIO(body), events=("start", "end"), forbid_dtd=True)
        for count, (event, element) in enumerate(events):
            if count > MAX_ELEMENTS:
                raise SourceUnavailable(f"{reply.url} has too many elements: split the sitemap")
            name = element.tag.rpartition("}")[2]
            if event == "end" and name in ("loc", "lastmod"):
                found.setdefault(name, (element.text or "").strip())
            if event == "end" and name in ("url", "sitemap"):
                if found.get("loc"):
                    yield name, found["loc"], found.get("lastmod", "")
                found = {}
                element.clear()
    except (NotXml, ValueError, zlib.error) as error:
        raise SourceUnavailable(
            f"{reply.url} is no sitemap that can be read ({error or type(error).__name__}): "
            "mend it, or give `pages`"
        ) from error


# --- pages ------------------------------------------------------------------------------------

_TAG = re.compile(rb"<(?:meta|link)\b[^<>]{1,2000}>", re.IGNORECASE)
_ROBOT = re.compile(r"\s*([\w-]+)\s*:(.*)", re.DOTALL)
_VALUED = frozenset("max-snippet max-image-preview max-video-preview unavailable_after".split())


def _as_page(address: str, lastmod: str, reply: Reply, run: int) -> Page:
    """A reply as a page; without a suffix if it is gone, not to be read, or of another kind."""
    kind, charset = reply.content_type()
    suffix = SUFFIXES.get(kind, "") if reply.status == 200 else ""
    tags = _tags(reply.body) if suffix == ".html" else []
    if _forbids(reply.headers.get_list("x-robots-tag"), tags):
        suffix = ""
    changed = reply.headers.get("last-modified", "")
    return Page(
        address=address,
        id=_canonical(reply.url, tags) or reply.url,
        suffix=suffix,
        charset=charset,
        etag=reply.headers.get("etag", ""),
        last_modified=changed,
        modified_at=_time(changed) or _time(lastmod),
        digest=hashlib.sha256(f"{suffix} {charset}\n".encode() + reply.body).hexdigest(),
        run=run,
    )


def _tags(body: bytes) -> list[dict[str, Any]]:
    """The attributes of the `<meta>` and `<link>` in the head of a page.

    The tags are cut out first: an HTML parser takes half a minute for 256 KiB of `<!--`.
    """
    from bs4 import BeautifulSoup

    head = b"".join(_seen(body[:HEAD]))
    text = b"".join(_TAG.findall(head)[:MAX_TAGS]).decode("utf-8", "replace")
    return [tag.attrs for tag in BeautifulSoup(text, "html.parser").find_all(["meta", "link"])]


def _seen(html: bytes) -> Iterator[bytes]:
    """The pieces of a head without comments."""
    for piece in re.split(rb"<body\b", html, maxsplit=1, flags=re.IGNORECASE)[0].split(b"<!--"):
        before, end, after = piece.partition(b"-->")
        yield after if end else before


def _forbids(headers: list[str], tags: list[dict[str, Any]]) -> bool:
    """Whether a page asks not to be indexed, by a header or in its head, of all or of casebook."""
    said = [
        str(tag.get("content", ""))
        for tag in tags
        if str(tag.get("name", "")).lower() in ("robots", USER_AGENT)
    ]
    for header in headers:
        robot = _ROBOT.fullmatch(header)
        if robot is None or robot[1].lower() in _VALUED:
            said.append(header)
        elif robot[1].lower() == USER_AGENT:
            said.append(robot[2])
    words = {word.strip().lower() for each in said for word in each.split(",")}
    return not words.isdisjoint({"noindex", "none"})


def _canonical(address: str, tags: list[dict[str, Any]]) -> str | None:
    """Where a page says it lives, if that is on its own host."""
    url = parse_address(address)
    for tag in tags:
        if "canonical" in tag.get("rel", []) and tag.get("href"):
            try:
                found = joined(url, str(tag["href"]).strip())
            except RedirectRefused:
                continue
            return str(found) if same_host(url, found) else None
    return None


def _time(stated: str) -> str | None:
    """A time as HTTP or a sitemap writes it, as ISO 8601 in UTC."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(stated)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        except (ValueError, OverflowError):
            continue
    return None


def _in_utf8(page: Page, body: bytes) -> bytes:
    """The body, in UTF-8 with a mark if the server declared another charset: the parser sees no
    headers.
    """
    if page.suffix == ".pdf" or page.charset in ("", "utf-8", "utf8"):
        return body
    try:
        return b"\xef\xbb\xbf" + body.decode(page.charset).encode("utf-8")
    except (LookupError, UnicodeError):
        return body


# --- the store --------------------------------------------------------------------------------

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS pages (
    address TEXT PRIMARY KEY, id TEXT NOT NULL, suffix TEXT NOT NULL, charset TEXT NOT NULL,
    etag TEXT NOT NULL, last_modified TEXT NOT NULL, modified_at TEXT, digest TEXT NOT NULL,
    run INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS pages_by_id ON pages (id);
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY AUTOINCREMENT, began REAL, done INTEGER);
COMMIT;
"""
_COLUMNS = "address, id, suffix, charset, etag, last_modified, modified_at, digest, run"


class _Pages:
    """Pages as last read, each written as it comes; damage raises `SourceUnavailable`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._guarded():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SourceUnavailable(
                f"the copy of pages at {self._path} can't be used ({error}): make room for it, "
                "or delete it, and all is read again"
            ) from error

    def _do(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guarded():
            return self._db.execute(sql, values).fetchall()

    def begin(self, now: float) -> int:
        """The number of a new run, or of the last if that was interrupted a short while ago."""
        last = self._do("SELECT run, began, done FROM runs ORDER BY run DESC LIMIT 1")
        if last and not last[0][2] and now - last[0][1] < RESUME_WITHIN:
            return int(last[0][0])
        self._do("INSERT INTO runs (began, done) VALUES (?, 0)", now)
        return int(self._do("SELECT max(run) FROM runs")[0][0])

    def finish(self, wanted: set[str]) -> None:
        """End the run: forget the pages that are no longer wanted."""
        with self._guarded(), self._db:
            self._db.execute("BEGIN")
            for page in self.pages():
                if page.address not in wanted:
                    self._db.execute("DELETE FROM pages WHERE address = ?", (page.address,))
            self._db.execute("DELETE FROM runs WHERE run < (SELECT max(run) FROM runs)")
            self._db.execute("UPDATE runs SET done = 1")

    def put(self, page: Page, body: bytes) -> None:
        kept = body if page.suffix else b""
        values = (page.address, page.id, page.suffix, page.charset, page.etag, page.last_modified)
        self._do(
            f"INSERT OR REPLACE INTO pages ({_COLUMNS}, body) VALUES (?,?,?,?,?,?,?,?,?,?)",
            *values,
            *(page.modified_at, page.digest, page.run, kept),
        )

    def unchanged(self, address: str, run: int) -> None:
        self._do("UPDATE pages SET run = ? WHERE address = ?", run, address)

    def forget(self, address: str) -> None:
        self._do("DELETE FROM pages WHERE address = ?", address)

    def at(self, address: str) -> Page | None:
        rows = self._do(f"SELECT {_COLUMNS} FROM pages WHERE address = ?", address)
        return Page(*rows[0]) if rows else None

    def of_item(self, item: Item) -> Page | None:
        """The page that an item stands for, if it is still as it was listed."""
        rows = self._do(
            f"SELECT {_COLUMNS} FROM pages WHERE id = ? AND digest = ? AND suffix != '' "
            "ORDER BY address != id",
            *(item.id, item.revision),
        )
        return Page(*rows[0]) if rows else None

    def pages(self) -> list[Page]:
        return [Page(*row) for row in self._do(f"SELECT {_COLUMNS} FROM pages")]

    def body(self, address: str) -> bytes:
        return bytes(self._do("SELECT body FROM pages WHERE address = ?", address)[0][0])

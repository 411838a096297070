"""Web pages of one site: from its sitemap or a list, politely, and read again only if changed."""

import hashlib
import json
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
from typing import Any, Self

import httpx
from protego import Protego
from pydantic import BaseModel, ConfigDict, Field, model_validator

from index.errors import ParseError
from ingest.sources.http import (
    API_LIMIT,
    PAGE_LIMIT,
    USER_AGENT,
    BodyTooLarge,
    Clock,
    HttpClient,
    RedirectRefused,
    Reply,
    Sleep,
    parse_address,
    unzipped,
)
from ingest.sources.patterns import Patterns
from ingest.sources.source import Content, Item, Listing, Skipped, SourceUnavailable

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

HEAD = 256 * 1024
"""Bytes of a page in which its `<meta>` and `<link>` are looked for."""


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
    """A page as kept: `address` is where it was asked for, `id` where it says it lives."""

    address: str
    id: str
    body: bytes
    suffix: str
    charset: str
    etag: str
    last_modified: str
    digest: str
    refused: str
    checked: float


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
    def _store(self) -> "_Pages":
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
        page = self._store.page(item.id, item.revision)
        if page is None:
            raise ParseError(f"{item.id} is not as it was listed any more: sync again")
        return Content(
            body=_in_utf8(page),
            uri=page.id,
            revision=page.digest[:12],
            modified_at=_modified(page.last_modified),
            kind="page",
            metadata={"parse_as": page.suffix},
        )

    def close(self) -> None:
        self._store.close()


# --- a visit ----------------------------------------------------------------------------------


class _Visit:
    """One run over a site: where it lists its pages, then each page, with a pause before each."""

    def __init__(
        self,
        client: HttpClient,
        store: "_Pages",
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
        self._robots = Protego.parse("")
        self._passed_over = 0
        self._skipped: list[Skipped] = []

    def run(self) -> Listing:
        began = self._store.begin(self._clock())
        self._robots = self._read_robots()
        self._delay = max(self._delay, self._robots.crawl_delay(USER_AGENT) or 0)
        wanted = self._wanted()
        faults = 0
        for address, lastmod in wanted.items():
            known = self._store.at(address)
            if known and known.checked >= began:
                continue
            try:
                self._visit(address, lastmod, known)
                faults = 0
            except (BodyTooLarge, RedirectRefused) as error:
                self._store.forget(address)
                self._skipped.append(Skipped(address, str(error)))
            except SourceUnavailable as error:
                # What was read before stays, unless it looks as if the whole site were down.
                faults += 1
                if faults == FAULTS_IN_A_ROW:
                    raise
                self._skipped.append(Skipped(address, str(error)))
        self._store.keep_only(set(wanted))
        listing = self._listing(wanted)
        self._store.finish()
        return listing

    def _get(self, address: str, limit: int, headers: Mapping[str, str] | None = None) -> Reply:
        wait = self._last + self._delay - self._clock()
        if wait > 0:
            self._sleep(wait)
        try:
            return self._client.get(
                address, headers=headers, limit=limit, permit=self._may_visit
            )
        finally:
            self._last = self._clock()

    def _may_visit(self, address: str) -> bool:
        return bool(self._robots.can_fetch(address, USER_AGENT))

    def _read_robots(self) -> Protego:
        """RFC 9309: what is not there allows all, what can't be reached forbids all.

        Forbidding all is no reason to drop what was read before, so it raises `SourceUnavailable`.
        """
        address = str(self._client.base.join("/robots.txt"))
        reply = self._get(address, PAGE_LIMIT)
        if reply.status != 200:
            return Protego.parse("")
        return Protego.parse(reply.body[:ROBOTS_LIMIT].decode("utf-8-sig", "replace"))

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
            try:
                url = parse_address(stated)
            except SourceUnavailable:
                self._passed_over += 1
                continue
            if str(url) in wanted:
                continue
            if not self._is_ours(url):
                self._passed_over += 1
            elif len(wanted) == self._settings.limit:
                over += 1
            else:
                wanted[str(url)] = lastmod
        if over:
            reason = f"{over} pages more than `limit`, {self._settings.limit}: raise it"
            self._skipped.append(Skipped(self._settings.sitemap or "pages", reason))
        return wanted

    def _is_ours(self, url: httpx.URL) -> bool:
        base = self._client.base
        same = (url.scheme, url.netloc) == (base.scheme, base.netloc)
        path = url.path.lstrip("/") or "index.html"
        return same and self._patterns.take(path) and self._may_visit(str(url))

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

    def _visit(self, address: str, lastmod: str, known: Page | None) -> None:
        headers = {}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        if known and known.last_modified and not known.etag:
            headers["If-Modified-Since"] = known.last_modified
        reply = self._get(address, PAGE_LIMIT, headers)
        now = self._clock()
        if reply.status == 304 and known:
            self._store.checked(address, now)
        else:
            self._store.put(_as_page(address, lastmod, reply, now))

    def _listing(self, wanted: Mapping[str, str]) -> Listing:
        """One item an `id`: of two pages that say they live at one place, the one that is there."""
        items: dict[str, Item] = {}
        for page in sorted(self._store.heads(), key=lambda page: page.address != page.id):
            if page.refused:
                self._skipped.append(Skipped(page.address, page.refused))
            elif not page.suffix or page.id in items or not self._is_ours(httpx.URL(page.id)):
                self._passed_over += 1
            else:
                items[page.id] = Item(page.id, page.digest)
        return Listing(
            tuple(items[id] for id in sorted(items)),
            passed_over=self._passed_over,
            skipped=tuple(self._skipped),
        )

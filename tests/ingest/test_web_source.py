"""Web pages: one site, politely, as its robots.txt wants, and only what has changed."""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from index.errors import ParseError
from ingest.parsers import parse
from ingest.sources.source import Content, Item, SourceUnavailable
from ingest.sources.web import WebSettings, WebSource
from tests.ingest.standin import Answer, Site, Standin

DAY = 24 * 3600


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_704_200_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Interrupted(Exception):
    """What a test throws in the middle."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site) -> Iterator[Standin]:
    with Standin(site).serving() as standin:
        yield standin


class World:
    """A site with a sitemap, and the source that reads it."""

    def __init__(self, site: Site, server: Standin, folder: Path, clock: Clock) -> None:
        self.site, self.server, self.folder, self.clock = site, server, folder, clock

    def sitemap(self, *paths: str, path: str = "/sitemap.xml", lastmod: str = "") -> None:
        self.site.pages[path] = as_xml(urlset(self.server.url, *paths, lastmod=lastmod))

    def source(self, **settings: object) -> WebSource:
        settings = {"sitemap": f"{self.server.url}/sitemap.xml", "allow_private": True, **settings}
        if settings.get("pages"):
            del settings["sitemap"]
        return WebSource(
            "docs",
            WebSettings.model_validate(settings),
            self.folder / "copy",
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def paths(self, **settings: object) -> list[str]:
        return self.of(self.source(**settings).list().items)

    def of(self, items: tuple[Item, ...]) -> list[str]:
        return [item.id.removeprefix(self.server.url) for item in items]

    def read(self, path: str) -> Content:
        source = self.source()
        items = {item.id: item for item in source.list().items}
        return source.read(items[self.server.url + path])


@pytest.fixture
def world(site: Site, server: Standin, tmp_path: Path, clock: Clock) -> World:
    return World(site, server, tmp_path, clock)


def urlset(base: str, *paths: str, lastmod: str = "") -> str:
    changed = f"<lastmod>{lastmod}</lastmod>" if lastmod else ""
    places = [path if "://" in path else base + path for path in paths]
    urls = "".join(f"<url><loc> {place} </loc>{changed}</url>" for place in places)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'


def index_of(base: str, *paths: str) -> str:
    return f"<sitemapindex>{''.join(f'<sitemap><loc>{base}{p}</loc></sitemap>' for p in paths)}</sitemapindex>"


def as_xml(text: str) -> Answer:
    return Answer(200, text.encode(), {"Content-Type": "application/xml"})


def page(words: str, head: str = "") -> str:
    return f"<html><head><title>{words}</title>{head}</head><body><p>{words}</p></body></html>"


# --- which pages ------------------------------------------------------------------------------


def test_pages_of_nested_and_gzipped_sitemaps_are_read(world: World) -> None:
    url = world.server.url
    world.site.pages |= {"/a": page("A"), "/b": page("B"), "/c": page("C")}
    world.site.pages["/sitemap.xml"] = as_xml(index_of(url, "/more.xml.gz", "/one.xml"))
    packed = gzip.compress(urlset(url, "/a", "/b").encode())
    world.site.pages["/more.xml.gz"] = Answer(200, packed, {"Content-Type": "application/gzip"})
    world.sitemap("/c", "/a#part", path="/one.xml")
    assert world.paths() == ["/a", "/b", "/c"]


def test_list_of_pages_is_read_in_one_spelling(world: World) -> None:
    world.site.pages["/a"] = page("A")
    url = world.server.url
    assert world.paths(pages=[f"{url}/a", f"HTTP{url[4:]}/x/../a#b"]) == ["/a"]


def test_other_hosts_are_passed_over(world: World) -> None:
    world.site.pages["/a"] = page("A")
    others = ["http://evil.test/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "http://["]
    world.sitemap(*others, "/a")
    listing = world.source(limit=1).list()
    assert world.of(listing.items) == ["/a"]
    assert listing.passed_over == 4


def test_pages_of_several_hosts_are_refused_in_the_settings() -> None:
    with pytest.raises(ValidationError, match="several hosts"):
        WebSettings(pages=["https://a.test/", "https://b.test/"])
    with pytest.raises(ValidationError, match="either"):
        WebSettings()


def test_include_and_exclude_choose_by_path(world: World) -> None:
    world.site.pages |= {path: page(path) for path in ("/docs/a", "/docs/old/b", "/blog/c", "/")}
    world.sitemap("/docs/a", "/docs/old/b", "/blog/c", "/")
    assert world.paths(include=["docs/"], exclude=["docs/old/"]) == ["/docs/a"]
    assert not [path for path in world.server.paths() if "old" in path or "blog" in path]


def test_pages_over_the_limit_are_counted_and_named(world: World) -> None:
    world.site.pages |= {f"/{n}": page(str(n)) for n in range(5)}
    world.sitemap(*(f"/{n}" for n in range(5)))
    listing = world.source(limit=3).list()
    assert world.of(listing.items) == ["/0", "/1", "/2"]
    assert "2 pages more than `limit`, 3" in listing.skipped[0].reason


def test_only_documents_are_read_each_by_its_parser(world: World) -> None:
    kinds = {
        "/a.pdf": "application/pdf",
        "/b": "text/markdown; charset=utf-8",
        "/c": "text/plain",
        "/d": "image/png",
        "/e": "application/octet-stream",
    }
    for path, kind in kinds.items():
        world.site.pages[path] = Answer(200, b"# Words", {"Content-Type": kind})
    world.sitemap(*kinds)
    listing = world.source().list()
    assert world.of(listing.items) == ["/a.pdf", "/b", "/c"]
    assert listing.passed_over == 2
    assert [world.read(path).metadata["parse_as"] for path in ("/a.pdf", "/b", "/c")] == [
        *(".pdf", ".md", ".txt")
    ]


# --- manners ----------------------------------------------------------------------------------


def test_robots_txt_is_obeyed(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/private/b": page("B")}
    robots = (
        b"User-agent: *\nDisallow: /a\n\nUser-agent: casebook\nDisallow: /private\nCrawl-delay: 7"
    )
    world.site.pages["/robots.txt"] = Answer(200, robots)
    world.sitemap("/a", "/private/b")
    assert world.paths() == ["/a"]
    assert "/private/b" not in world.server.paths()
    assert world.clock.slept == [7, 7]
    assert world.server.requests[0].path == "/robots.txt"
    assert world.server.requests[-1].headers["user-agent"] == "casebook"


def test_a_second_lies_between_two_requests(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/b": page("B")}
    world.sitemap("/a", "/b")
    world.paths()
    assert world.clock.slept == [1, 1, 1]


def test_endless_crawl_delay_is_an_error(world: World) -> None:
    world.site.pages["/robots.txt"] = Answer(200, b"User-agent: *\nCrawl-delay: 86400")
    with pytest.raises(SourceUnavailable, match="86400"):
        world.paths()


def test_robots_txt_that_fails_forbids_all_and_drops_nothing(world: World) -> None:
    world.site.pages["/a"] = page("A")
    world.site.pages["/robots.txt"] = Answer(503)
    world.sitemap("/a")
    with pytest.raises(SourceUnavailable, match=r"robots\.txt"):
        world.paths()
    assert set(world.server.paths()) == {"/robots.txt"}


def test_redirect_to_a_forbidden_page_is_not_followed(world: World) -> None:
    world.site.pages["/robots.txt"] = Answer(200, b"User-agent: *\nDisallow: /private")
    world.site.pages["/private"] = page("B")
    world.site.pages["/a"] = Answer(302, headers={"Location": "/private"})
    world.sitemap("/a")
    assert world.paths() == []
    assert "/private" not in world.server.paths()


@pytest.mark.parametrize(
    "answer",
    [
        page("A", '<META content="noindex, follow" name=Robots>'),
        page("A", "<meta name='casebook' content='none'>"),
        page("A", "<!-- x --><meta name=robots content=noindex><!-- y -->"),
        Answer(200, b"<p>A", {"Content-Type": "text/html", "X-Robots-Tag": "noindex"}),
        Answer(200, b"<p>A", {"Content-Type": "text/html", "X-Robots-Tag": "casebook: noindex"}),
    ],
)
def test_page_that_asks_not_to_be_indexed_is_not(world: World, answer: Answer | str) -> None:
    world.site.pages["/a"] = answer
    world.sitemap("/a")
    assert world.paths() == []


@pytest.mark.parametrize(
    "answer",
    [
        page("A", "<!-- <meta name=robots content=noindex> -->"),
        page("A", "<meta name=otherbot content=noindex><meta name=robots content=nofollow>"),
        Answer(200, b"<p>A", {"Content-Type": "text/html", "X-Robots-Tag": "otherbot: noindex"}),
        Answer(200, b"<p>A", {"Content-Type": "text/html", "X-Robots-Tag": "max-snippet: 20"}),
    ],
)
def test_page_that_asks_it_of_others_is_read(world: World, answer: Answer | str) -> None:
    world.site.pages["/a"] = answer
    world.sitemap("/a")
    assert world.paths() == ["/a"]


def test_page_is_known_by_where_it_says_it_lives(world: World) -> None:
    world.site.pages |= {
        "/a": page("A"),
        "/a?print": page("A"),
        "/copy": page("A", '<link rel="canonical" href="/a">'),
        "/only": page("B", '<link rel="canonical" href="/b">'),
        "/far": page("C", '<link rel="canonical" href="http://evil.test/c">'),
        "/old": Answer(301, headers={"Location": "/a"}),
    }
    world.sitemap("/copy", "/a", "/only", "/far", "/old")
    assert world.paths() == ["/a", "/b", "/far"]


# --- freshness --------------------------------------------------------------------------------


def test_unchanged_pages_are_asked_for_by_their_etag(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/b": page("B")}
    world.sitemap("/a", "/b")
    before = world.source().list()
    world.site.pages["/b"] = page("New B")
    after = world.source().list()
    asked = [r for r in world.server.requests if r.path in ("/a", "/b")]
    assert ["if-none-match" in request.headers for request in asked] == [False, False, True, True]
    assert after.items[0] == before.items[0]
    assert after.items[1].revision != before.items[1].revision
    assert b"New B" in bytes(world.read("/b").body)  # type: ignore[arg-type]


def test_last_modified_is_sent_back_and_dates_the_page(world: World) -> None:
    changed = "Tue, 02 Jan 2024 10:00:00 GMT"
    headers = {"Content-Type": "text/plain", "Last-Modified": changed}
    world.site.pages["/a"] = Answer(200, b"Words.", headers)
    world.sitemap("/a", lastmod="2023-01-01")
    assert world.read("/a").modified_at == "2024-01-02T10:00:00+00:00"
    world.paths()
    assert world.server.requests[-1].headers["if-modified-since"] == changed


def test_sitemap_dates_a_page_that_does_not_date_itself(world: World) -> None:
    world.site.pages["/a"] = page("A")
    world.sitemap("/a", lastmod="2024-01-02T12:00:00+02:00")
    assert world.read("/a").modified_at == "2024-01-02T10:00:00+00:00"


@pytest.mark.parametrize("gone", [Answer(404), Answer(410), Answer(403), None])
def test_page_that_is_gone_is_not_listed(world: World, gone: Answer | None) -> None:
    world.site.pages |= {"/a": page("A"), "/b": page("B")}
    world.sitemap("/a", "/b")
    world.paths()
    if gone:
        world.site.pages["/b"] = gone
    else:
        world.sitemap("/a")
    listing = world.source().list()
    assert world.of(listing.items) == ["/a"]
    assert listing.skipped == ()  # what is skipped stays in the index


def test_page_that_moved_to_another_host_is_gone(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/b": page("B")}
    world.sitemap("/a", "/b")
    world.paths()
    world.site.pages["/b"] = Answer(301, headers={"Location": "http://evil.test/b"})
    assert world.paths() == ["/a"]


def test_one_page_that_fails_keeps_what_was_read_of_it(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/b": page("B")}
    world.sitemap("/a", "/b")
    world.paths()
    world.site.pages["/b"] = Answer(500)
    listing = world.source().list()
    assert world.of(listing.items) == ["/a", "/b"]
    assert [skipped.item for skipped in listing.skipped] == [f"{world.server.url}/b"]


def test_site_that_is_down_is_given_up_soon(world: World) -> None:
    world.site.pages |= {f"/{n}": Answer(500) for n in range(9)}
    world.sitemap(*(f"/{n}" for n in range(9)))
    with pytest.raises(SourceUnavailable):
        world.paths()
    assert len(world.server.requests) == 2 + 3 * 5


def test_site_that_asks_for_a_long_rest_gets_it(world: World) -> None:
    world.site.pages |= {"/a": Answer(429, headers={"Retry-After": "7200"}), "/b": page("B")}
    world.sitemap("/a", "/b")
    with pytest.raises(SourceUnavailable, match="no more requests until"):
        world.paths()
    assert world.server.paths()[-1] == "/a"


def test_interrupted_visit_goes_on_where_it_was(world: World) -> None:
    world.site.pages |= {f"/{n}": page(str(n)) for n in range(6)}
    world.sitemap(*(f"/{n}" for n in range(6)))
    source = world.source()
    sleep, source._sleep = source._sleep, lambda seconds: interrupt()

    def interrupt() -> None:
        sleep(1)
        if world.server.paths()[-1] == "/2":
            raise Interrupted

    with pytest.raises(Interrupted):
        source.list()
    source.close()
    before = len(world.server.requests)
    assert world.paths() == [f"/{n}" for n in range(6)]
    assert world.server.paths()[before:] == ["/robots.txt", "/sitemap.xml", "/3", "/4", "/5"]


def test_visit_interrupted_long_ago_begins_anew(world: World) -> None:
    world.site.pages |= {"/a": page("A"), "/b": Answer(429, headers={"Retry-After": "7200"})}
    world.sitemap("/a", "/b")
    with pytest.raises(SourceUnavailable):
        world.paths()
    world.clock.now += DAY
    world.site.pages |= {"/a": page("New"), "/b": page("B")}
    source = world.source()
    first = source.list().items[0]
    assert b"New" in bytes(source.read(first).body)  # type: ignore[arg-type]


def test_item_that_has_changed_since_is_refused_by_name(world: World) -> None:
    world.site.pages["/a"] = page("A")
    world.sitemap("/a")
    source = world.source()
    with pytest.raises(ParseError, match="/a is not as it was"):
        source.read(Item(source.list().items[0].id, "older"))


# --- hostile sites ----------------------------------------------------------------------------


def test_gzip_bomb_for_a_sitemap_is_refused(world: World) -> None:
    bomb = gzip.compress(bytes(51 * 2**20))
    world.site.pages["/sitemap.xml"] = Answer(200, bomb, {"Content-Type": "application/gzip"})
    with pytest.raises(SourceUnavailable, match="over 50 MiB"):
        world.paths()


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><urlset><url><loc>&b;</loc></url></urlset>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>',
        b"<html><p>Not found",
        b"<a>" * 700_000,
        gzip.compress(b"<urlset></urlset>")[:-6],
        b"",
    ],
    ids=["laughs", "file", "html", "deep", "cut", "empty"],
)
def test_damaged_sitemap_is_refused_and_drops_nothing(world: World, body: bytes) -> None:
    world.site.pages["/sitemap.xml"] = Answer(200, body)
    with pytest.raises(SourceUnavailable, match=r"sitemap\.xml"):
        world.paths()


def test_sitemaps_without_end_are_refused(world: World) -> None:
    class Endless(Site):
        def __call__(self, request: object) -> Answer:
            self.count = getattr(self, "count", 0) + 1
            return as_xml(index_of(world.server.url, f"/sitemap{self.count}.xml"))

    world.server.answering = Endless()
    with pytest.raises(SourceUnavailable, match="deep"):
        world.paths()
    assert len(world.server.requests) < 9


def test_sitemap_that_names_itself_is_read_once(world: World) -> None:
    both = index_of(world.server.url, "/sitemap.xml", "/one.xml")
    world.site.pages |= {"/sitemap.xml": as_xml(both), "/a": page("A")}
    world.sitemap("/a", path="/one.xml")
    assert world.paths() == ["/a"]


def test_page_that_is_too_large_is_named(world: World) -> None:
    bomb = gzip.compress(bytes(11 * 2**20))
    headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    world.site.pages |= {"/a": page("A"), "/b": Answer(200, bomb, headers)}
    world.sitemap("/a", "/b")
    listing = world.source().list()
    assert world.of(listing.items) == ["/a"]
    assert "over 10 MiB" in listing.skipped[0].reason


@pytest.mark.parametrize("piece", ["<!--", "<meta ", "<a ", "<![CDATA[", "<meta name='", "<link>"])
def test_hostile_head_takes_no_time(world: World, piece: str) -> None:
    world.site.pages["/a"] = piece * (2**20 // len(piece))
    world.sitemap("/a")
    began = time.perf_counter()
    assert world.paths() == ["/a"]
    assert time.perf_counter() - began < 5


def test_private_address_is_refused_unless_allowed(world: World) -> None:
    world.site.pages["/a"] = page("A")
    world.sitemap("/a")
    with pytest.raises(SourceUnavailable, match="allow_private"):
        world.paths(allow_private=False)
    assert world.server.requests == []


def test_damaged_copy_is_named_with_a_remedy(world: World) -> None:
    (world.folder / "copy").mkdir()
    (world.folder / "copy" / "pages.sqlite3").write_bytes(b"no database" * 999)
    with pytest.raises(SourceUnavailable, match="delete it"):
        world.paths()


def test_charset_that_only_the_server_declares_is_read(world: World) -> None:
    body = "<p>Größe</p>".encode("latin-1")
    headers = {"Content-Type": "text/html; charset=ISO-8859-1"}
    world.site.pages["/a"] = Answer(200, body, headers)
    world.sitemap("/a")
    content = world.read("/a")
    assert isinstance(content.body, bytes)
    assert "Größe" in parse("a.html", content.body).text
    json.dumps(content.metadata)

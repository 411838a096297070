"""Tickets: fetched whole in spite of faults, kept up to date, and readable as one document."""

import base64
import gzip
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from index.errors import ParseError
from ingest.parsers.parsed import Parsed
from ingest.sources.github import GithubSettings, GithubSource
from ingest.sources.http import (
    MAX_WAIT,
    AddressRefused,
    BodyTooLarge,
    HttpClient,
    RedirectRefused,
    is_public,
)
from ingest.sources.jira import JiraSettings, JiraSource, as_markdown, wiki_to_markdown
from ingest.sources.source import Content, SourceUnavailable
from ingest.sources.tickets import embedded
from tests.ingest.standin import Answer, Github, Jira, Request, Standin, as_json

NOW = 1_704_200_000.0
SECRET = "ghp_verysecret"


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
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
def github() -> Github:
    return Github()


@pytest.fixture
def server(github: Github) -> Iterator[Standin]:
    with Standin(github).serving() as standin:
        yield standin


@pytest.fixture
def source(server: Standin, tmp_path: Path, clock: Clock) -> GithubSource:
    return github_source(server, tmp_path, clock)


def github_source(server: Standin, folder: Path, clock: Clock) -> GithubSource:
    settings = GithubSettings(repository="acme/shop", api_url=server.url, allow_private=True)
    return GithubSource("tickets", settings, folder / "copy", clock=clock, sleep=clock.sleep)


def client(server: Standin, clock: Clock, **settings: object) -> HttpClient:
    settings = {"allow_private": True, **settings}
    return HttpClient(server.url, clock=clock, sleep=clock.sleep, **settings)  # type: ignore[arg-type]


def ids(source: GithubSource) -> list[str]:
    return [item.id for item in source.list().items]


def read(source: GithubSource, id: str) -> Content:
    return source.read(next(item for item in source.list().items if item.id == id))


def text_of(content: Content) -> str:
    assert isinstance(content.body, Parsed)
    return content.body.text


# --- waiting and faults -----------------------------------------------------------------------


def always(answer: Answer) -> Iterator[Standin]:
    with Standin(lambda request: answer).serving() as standin:
        yield standin


def test_retry_after_in_seconds_is_waited(server: Standin, github: Github, clock: Clock) -> None:
    github.issue(1)
    server.faults[0] = Answer(429, headers={"Retry-After": "7"})
    with client(server, clock) as http:
        assert http.get(f"{server.url}/repos/acme/shop/issues").status == 200
    assert clock.slept == [7]


def test_retry_after_as_a_date_is_waited(server: Standin, clock: Clock) -> None:
    back = format_datetime(datetime.fromtimestamp(NOW + 30, UTC), usegmt=True)
    server.faults[0] = Answer(503, headers={"Retry-After": back})
    with client(server, clock) as http:
        http.get(f"{server.url}/")
    assert clock.slept == [30]


def test_used_up_rate_limit_is_waited_for_until_its_reset(server: Standin, clock: Clock) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 100)}
    server.faults[0] = Answer(403, b"{}", headers)
    with client(server, clock) as http:
        http.get(f"{server.url}/")
    assert clock.slept == [101]


def test_secondary_rate_limit_without_a_time_waits_a_minute(server: Standin, clock: Clock) -> None:
    server.faults[0] = Answer(403, b'{"message": "You have exceeded a secondary rate limit"}')
    with client(server, clock) as http:
        http.get(f"{server.url}/")
    assert clock.slept == [60]


def test_forbidden_without_a_limit_is_not_tried_again(server: Standin, clock: Clock) -> None:
    server.faults[0] = Answer(403, b'{"message": "Resource not accessible"}')
    with client(server, clock) as http:
        assert http.get(f"{server.url}/").status == 403
    assert clock.slept == []


@pytest.mark.parametrize("after", [str(MAX_WAIT + 1), "9" * 400])
def test_long_wait_is_left_to_the_schedule(server: Standin, clock: Clock, after: str) -> None:
    server.faults[0] = Answer(429, headers={"Retry-After": after})
    with client(server, clock) as http, pytest.raises(SourceUnavailable, match=r"until \d{4}-"):
        http.get(f"{server.url}/")
    assert clock.slept == []


def test_five_tries_with_growing_jitter_and_then_a_remedy(clock: Clock) -> None:
    with Standin(lambda request: Answer(500)).serving() as server:
        with client(server, clock) as http, pytest.raises(SourceUnavailable, match="500, 5 times"):
            http.get(f"{server.url}/x?secret=1")
        assert len(server.requests) == 5
    assert len(clock.slept) == 4
    assert all(0 <= wait <= 2**n for n, wait in enumerate(clock.slept))


@pytest.mark.parametrize("fault", [Answer(200, b"x" * 999, cut_at=10), Answer(502), Answer(504)])
def test_passing_fault_is_tried_again(server: Standin, clock: Clock, fault: Answer) -> None:
    server.faults[0] = fault
    with client(server, clock) as http:
        assert http.get(f"{server.url}/").status == 404
    assert len(server.requests) == 2


def test_gzip_bomb_is_refused_while_it_unpacks(clock: Clock) -> None:
    bomb = gzip.compress(bytes(20 * 2**20))
    answer = Answer(200, bomb, {"Content-Encoding": "gzip"})
    for standin in always(answer):
        with client(standin, clock) as http, pytest.raises(BodyTooLarge, match="over 1 MiB"):
            http.get(f"{standin.url}/", limit=2**20)


def test_validator_that_no_header_can_hold_is_not_sent(server: Standin, clock: Clock) -> None:
    with client(server, clock) as http:
        http.get(
            f"{server.url}/", headers={"If-None-Match": '"é"', "If-Modified-Since": "a\r\nb: c"}
        )
    assert not {"if-none-match", "if-modified-since", "b"} & set(server.requests[0].headers)


def test_cut_gzip_is_tried_again(server: Standin, clock: Clock) -> None:
    packed = gzip.compress(b"some text " * 99)
    server.faults[0] = Answer(200, packed[:-9], {"Content-Encoding": "gzip"})
    server.faults[1] = Answer(200, packed, {"Content-Encoding": "gzip"})
    with client(server, clock) as http:
        assert http.get(f"{server.url}/").body == b"some text " * 99


# --- addresses and tokens ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "169.254.169.254", "10.0.0.1"),
        *("[64:ff9b::7f00:1]", "[fe80::1]", "[fc00::1]", "224.0.0.1", "100.64.0.1"),
    ],
)
def test_address_that_is_not_public_is_refused(server: Standin, clock: Clock, host: str) -> None:
    base = f"http://{host}:{server.port}"
    with (
        HttpClient(base, clock=clock, sleep=clock.sleep) as http,
        pytest.raises(AddressRefused, match="allow_private"),
    ):
        http.get(f"{base}/")
    assert server.requests == []
    assert clock.slept == []


def test_public_addresses_are_public() -> None:
    assert all(
        map(
            is_public, ["140.82.112.3", "2606:50c0:8000::153", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        )
    )


@pytest.mark.parametrize(
    "location",
    [
        *("http://169.254.169.254/latest/meta-data", "http://127.0.0.2/", "//evil.test/"),
        *("http://localhost:{port}/", "ftp://127.0.0.1/", "http://u:p@127.0.0.1:{port}/"),
        *("https://127.0.0.1/", "http://[", "/redirects/for/ever"),
    ],
)
def test_redirect_elsewhere_is_refused_and_the_token_stays(clock: Clock, location: str) -> None:
    with Standin(lambda request: Answer(404)).serving() as server:
        to = location.format(port=server.port)
        server.answering = lambda request: Answer(302, headers={"Location": to})
        with (
            client(server, clock, authorization=f"Bearer {SECRET}") as http,
            pytest.raises(RedirectRefused) as refused,
        ):
            http.get(f"{server.url}/redirects")
        assert SECRET not in f"{refused.value!r} {refused.value} {http!r} {vars(refused.value)}"
        assert len(server.requests) <= 6


def test_redirect_on_the_same_host_is_followed(
    server: Standin, github: Github, clock: Clock
) -> None:
    github.issue(1)
    server.faults[0] = Answer(301, headers={"Location": "/repos/acme/shop/issues"})
    with client(server, clock) as http:
        reply = http.get(f"{server.url}/repos/old/name/issues")
    assert (reply.status, reply.url) == (200, f"{server.url}/repos/acme/shop/issues")


def test_token_is_sent_to_the_host_and_never_told(
    server: Standin,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TICKETS_TOKEN", SECRET)
    settings = GithubSettings(
        repository="acme/absent",
        api_url=server.url,
        token_variable="TICKETS_TOKEN",
        allow_private=True,
    )
    source = GithubSource("t", settings, tmp_path, clock=clock, sleep=clock.sleep)
    with pytest.raises(SourceUnavailable, match="acme/absent") as error:
        source.list()
    assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in f"{error.value!r} {source!r} {vars(source)!r} {settings!r} {caplog.text}"


def test_token_file_is_read_at_each_sync(
    server: Standin, github: Github, tmp_path: Path, clock: Clock
) -> None:
    github.issue(1)
    token = tmp_path / "token"
    settings = GithubSettings(
        repository="acme/shop", api_url=server.url, token_file=token, allow_private=True
    )
    source = GithubSource("t", settings, tmp_path / "copy", clock=clock, sleep=clock.sleep)
    for words in ("first\n", "second\n"):
        token.write_text(words)
        source.list()
        assert server.requests[-1].headers["authorization"] == f"Bearer {words.strip()}"
    token.write_text(f"{SECRET}\nX-Evil: 1")
    with pytest.raises(SourceUnavailable, match="does not hold a token") as error:
        source.list()
    assert SECRET not in str(error.value)


def test_next_page_on_another_host_is_refused(
    server: Standin, clock: Clock, tmp_path: Path
) -> None:
    link = {"Link": '<http://evil.test/issues?page=2>; rel="next"'}
    stamp = "2024-01-01T00:00:00Z"
    row = {"number": 1, "updated_at": stamp}
    server.answering = lambda request: Answer(200, json.dumps([row]).encode(), link)
    with pytest.raises(RedirectRefused, match=r"evil\.test"):
        github_source(server, tmp_path, clock).list()


# --- GitHub: nothing doubled, nothing lost ----------------------------------------------------


def test_all_pages_are_listed_once(source: GithubSource, github: Github, server: Standin) -> None:
    for number in range(1, 11):
        github.issue(number)
    for id in range(1, 8):
        github.comment(id, 1 + id % 3, f"Said {id}.")
    assert sorted(ids(source), key=int) == [str(n) for n in range(1, 11)]
    said = [word for n in "123" for word in text_of(read(source, n)).split("\n") if "Said" in word]
    assert sorted(said) == [f"Said {id}." for id in range(1, 8)]


def test_pages_of_one_second_are_all_read(source: GithubSource, github: Github) -> None:
    for number in range(1, 11):
        github.issue(number, updated_at="2024-01-01T00:00:00Z")
    assert len(ids(source)) == 10


def test_issue_that_changes_while_pages_are_read_costs_no_other(
    source: GithubSource, github: Github, server: Standin
) -> None:
    for number in range(1, 11):
        github.issue(number)
    server.before = lambda number: (
        github.touch(1 + number, title=f"New {number}") if number in (1, 2) else None
    )
    assert sorted(ids(source), key=int) == [str(n) for n in range(1, 11)]
    assert "New 2" in text_of(read(source, "3"))


def test_faults_in_the_middle_lose_and_double_nothing(
    source: GithubSource, github: Github, server: Standin, clock: Clock
) -> None:
    for number in range(1, 11):
        github.issue(number)
    for id in range(1, 8):
        github.comment(id, 5, f"Said {id}.")
    server.faults = {
        1: Answer(429, headers={"Retry-After": "3"}),
        3: Answer(500),
        5: Answer(200, b"[" + b" " * 500, cut_at=200),
        7: Answer(403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}),
    }
    assert sorted(ids(source), key=int) == [str(n) for n in range(1, 11)]
    assert text_of(read(source, "5")).count("Said") == 7
    assert 3 in clock.slept


@pytest.mark.parametrize("at", range(7))
def test_interrupted_listing_goes_on_where_it_was(
    github: Github, server: Standin, tmp_path: Path, clock: Clock, at: int
) -> None:
    for number in range(1, 9):
        github.issue(number)
    for id in range(1, 6):
        github.comment(id, 2, f"Said {id}.")

    def interrupt(seconds: float) -> None:
        raise Interrupted

    server.faults[at] = Answer(500)
    first = github_source(server, tmp_path, clock)
    first._sleep = interrupt
    with pytest.raises(Interrupted):
        first.list()
    first.close()
    before = len(server.requests)
    again = github_source(server, tmp_path, clock)
    listed = again.list().items
    assert sorted(int(item.id) for item in listed) == list(range(1, 9))
    assert text_of(read(again, "2")).count("Said") == 5
    if at > 2:  # the first pages are not asked for again
        asked = server.requests[before].query.get("since", "")
        assert asked > "2024-01-01T00:10:00Z"


def test_unchanged_repository_costs_three_requests_without_bodies(
    source: GithubSource, github: Github, server: Standin
) -> None:
    github.etags = True
    github.issue(1)
    github.comment(1, 1, "Said.")
    first = source.list()
    source.list()
    before = len(server.requests)
    assert source.list() == first
    asked = server.requests[before:]
    assert len(asked) == 3
    assert all("if-none-match" in request.headers for request in asked[:2])


def test_only_what_changed_gets_a_new_revision(source: GithubSource, github: Github) -> None:
    for number in range(1, 6):
        github.issue(number)
    before = {item.id: item.revision for item in source.list().items}
    github.touch(2, title="Other")
    github.comment(1, 4, "Said.")
    after = {item.id: item.revision for item in source.list().items}
    assert {id for id in after if after[id] != before[id]} == {"2", "4"}


def test_edited_comment_replaces_the_old(source: GithubSource, github: Github) -> None:
    github.issue(1)
    github.comment(1, 1, "Old words.")
    source.list()
    github.comments[1] |= {"body": "New words.", "updated_at": github._now()}
    text = text_of(read(source, "1"))
    assert "New words." in text
    assert "Old words." not in text


def test_deleted_comment_is_gone(source: GithubSource, github: Github) -> None:
    github.issue(1)
    for id in range(1, 6):
        github.comment(id, 1, f"Said {id}.")
    source.list()
    github.delete_comment(3)
    text = text_of(read(source, "1"))
    assert [id for id in range(1, 6) if f"Said {id}." in text] == [1, 2, 4, 5]


def test_deleted_issue_is_gone_a_day_later_or_when_told(
    source: GithubSource, github: Github, clock: Clock
) -> None:
    for number in range(1, 6):
        github.issue(number)
    source.list()
    del github.issues[2]
    assert "2" in ids(source)
    clock.now += 25 * 3600
    assert ids(source) == ["1", "3", "4", "5"]
    del github.issues[4]
    source.relist_at_next_sync()
    assert ids(source) == ["1", "3", "5"]


def test_deletion_while_everything_is_listed_costs_no_other(
    source: GithubSource, github: Github, server: Standin
) -> None:
    for number in range(1, 9):
        github.issue(number)
    source.list()
    source.relist_at_next_sync()
    relisting = len(server.requests) + 4
    server.before = lambda number: github.issues.pop(1, None) if number == relisting else None
    assert set(ids(source)) >= {str(n) for n in range(2, 9)}


def test_transferred_issue_is_gone(source: GithubSource, github: Github, server: Standin) -> None:
    github.issue(1)
    github.issue(2)
    source.list()
    moved = github.issues.pop(2)
    elsewhere = "/repos/acme/other/issues/2"

    def answering(request: Request) -> Answer:
        if request.path == "/repos/acme/shop/issues/2":
            return Answer(301, headers={"Location": elsewhere})
        if request.path == elsewhere:
            return as_json({**moved, "repository_url": "https://api.github.com/repos/acme/other"})
        return github(request)

    server.answering = answering
    source.relist_at_next_sync()
    assert ids(source) == ["1"]


def test_repository_that_answers_404_keeps_its_tickets(
    source: GithubSource, github: Github
) -> None:
    github.issue(1)
    source.list()
    github.root = "/repos/acme/renamed"
    with pytest.raises(SourceUnavailable, match="token"):
        source.list()
    assert source._store.items()


@pytest.mark.parametrize("row", [{"number": 1}, {"number": 1, "updated_at": "today"}, {"id": 1}, 1])
def test_unknown_shape_is_refused_and_nothing_of_it_kept(
    source: GithubSource, server: Standin, github: Github, row: object
) -> None:
    github.issue(1)
    source.list()
    server.answering = lambda request: as_json([row])
    with pytest.raises(SourceUnavailable, match="shape"):
        source.list()
    server.answering = github
    assert ids(source) == ["1"]


def test_damaged_copy_is_named_with_a_remedy(source: GithubSource, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "tickets.sqlite3").write_bytes(b"no database" * 999)
    with pytest.raises(SourceUnavailable, match="delete it"):
        source.list()


# --- GitHub: a ticket as a document -----------------------------------------------------------


def test_ticket_is_one_document_that_opens_at_each_comment(
    source: GithubSource, github: Github
) -> None:
    github.issue(
        7, title="Why does checkout fail\nunder load?", body="It fails.\r\n\r\n# Logs\r\n\r\nx"
    )
    github.comment(1, 7, "Which version?")
    github.comment(2, 7, "Raise `pool_size` to 50.", login="cat")
    closed = github._now()
    github.touch(7, state="closed", closed_at=closed, closed_by={"login": "cat"})
    github.comment(3, 7, "Thanks!", login="ann")
    content = read(source, "7")
    assert text_of(content) == (
        "# acme/shop#7: Why does checkout fail under load?\n\n"
        "State: closed. Labels: bug. Opened by ann on 2024-01-01. Closed by cat on 2024-01-01.\n\n"
        "It fails.\n\n### Logs\n\nx\n\n"
        "## Comment by ben, 2024-01-01\n\nWhich version?\n\n"
        "## Resolution: comment by cat, 2024-01-01\n\nRaise `pool_size` to 50.\n\n"
        "## Comment by ann, 2024-01-01\n\nThanks!\n"
    )
    anchors = content.metadata["anchors"]
    assert [text_of(content)[at:].split("\n")[0][:12] for at, _ in anchors] == [
        *("# acme/shop#", "## Comment b", "## Resolutio", "## Comment b")
    ]
    assert anchors[0][1] == content.uri == "https://github.com/acme/shop/issues/7"
    assert anchors[2][1] == "https://github.com/acme/shop/issues/7#issuecomment-2"
    assert content.kind == "ticket"
    assert content.labels is None
    assert content.metadata["participants"] == ["ann", "ben", "cat"]
    assert content.metadata["project"] == "acme/shop"
    assert content.modified_at == content.metadata["updated_at"]
    assert datetime.fromisoformat(content.metadata["closed_at"]).tzinfo is not None


def test_merged_pull_request_resolves_the_issue_it_names(
    source: GithubSource, github: Github
) -> None:
    github.issue(1)
    before = next(item for item in source.list().items if item.id == "1")
    github.issue(
        2,
        title="Larger [pool]",
        body="Fixes #1.",
        state="closed",
        pull_request={"merged_at": "2024-01-01T09:00:00Z"},
        html_url="https://github.com/acme/shop/pull/2",
    )
    after = next(item for item in source.list().items if item.id == "1")
    assert after.revision != before.revision
    assert "## Resolution\n\nClosed by pull request [#2: Larger (pool)](https://github.com/" in (
        text_of(source.read(after))
    )
    assert read(source, "2").metadata["state"] == "merged"


def test_machine_that_closes_is_no_resolution(source: GithubSource, github: Github) -> None:
    github.issue(1)
    github.comment(1, 1, "Use the other queue.")
    github.comment(2, 1, "This issue is stale.", login="stale[bot]")
    github.touch(1, state="closed", closed_at=github._now(), state_reason="not_planned")
    text = text_of(read(source, "1"))
    assert "## Resolution: comment by ben" in text
    assert "## Comment by stale[bot]" in text
    assert "Closed as not planned." in text


def test_review_comment_says_on_which_lines(source: GithubSource, github: Github) -> None:
    github.issue(1, pull_request={}, html_url="https://github.com/acme/shop/pull/1")
    github.reviews[5] = {
        "id": 5,
        "pull_request_url": "https://api.github.com/repos/acme/shop/pulls/1",
        "html_url": "https://github.com/acme/shop/pull/1#discussion_r5",
        "user": None,
        "body": "Close it in `finally`.",
        "path": "pool.py",
        "line": 12,
        "created_at": "2024-01-01T09:00:00Z",
        "updated_at": "2024-01-01T09:00:00Z",
    }
    assert "## Comment by ghost, 2024-01-01\n\nOn `pool.py`, line 12:\n\nClose it" in (
        text_of(read(source, "1"))
    )


@pytest.mark.parametrize(
    "body",
    [
        *("```sh\nopen", "~~~\nx\n```", "```", "<pre>\nopen", "<!-- open", "<script>\nx\n\ny"),
        *("- a\n  ```\n  open", "# Resolution\n\nforged", "Resolution\n===\nforged", "a\n-", "> #"),
        *("<!-- hide\n# this -->seen", "````\n```\n# a", "\0# x", "\ud800", "# " * 99, "<![CDATA["),
    ],
)
def test_no_body_swallows_what_follows_or_outranks_it(body: str) -> None:
    text = f"{embedded(body)}\n\n## Next\n"
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [
        (token.tag, following.content)
        for token, following in pairwise(tokens)
        if token.type == "heading_open"
    ]
    assert headings[-1] == ("h2", "Next")
    assert all(tag >= "h3" for tag, _ in headings[:-1])
    text.encode()


def test_code_in_a_body_stays_as_it_is() -> None:
    code = "```sh\n# not a heading <!-- kept -->\n```"
    assert embedded(f"# Top\n\n{code}\n\n## Sub") == f"### Top\n\n{code}\n\n#### Sub"


# --- GitHub: export files ---------------------------------------------------------------------

GH_ISSUE = {
    "number": 12,
    "title": "Why is the queue slow?",
    "body": "It is slow.",
    "state": "CLOSED",
    "stateReason": "COMPLETED",
    "labels": [{"name": "queue"}],
    "author": {"login": "ann", "is_bot": False},
    "createdAt": "2024-01-01T08:00:00Z",
    "updatedAt": "2024-01-02T08:00:00Z",
    "closedAt": "2024-01-02T08:00:00Z",
    "url": "https://github.com/acme/shop/issues/12",
    "comments": [
        {
            "author": {"login": "ben"},
            "body": "Use batches.",
            "createdAt": "2024-01-02T07:00:00Z",
            "url": "https://github.com/acme/shop/issues/12#issuecomment-9",
        },
        {"author": None, "body": "spam", "createdAt": "2024-01-02T07:01:00Z", "isMinimized": True},
    ],
}


def exported(
    folder: Path, export: Path, clock: Clock, repository: str | None = None
) -> GithubSource:
    settings = GithubSettings(repository=repository, export=export)
    return GithubSource("export", settings, folder / "copy", clock=clock, sleep=clock.sleep)


def test_gh_and_rest_exports_are_read(tmp_path: Path, github: Github, clock: Clock) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "gh.json").write_text(json.dumps([GH_ISSUE]))
    rest = {**github.issue(3), "comments_list": [{"id": 1, "body": "Said.", "user": None}]}
    (folder / "rest.json").write_text(json.dumps(rest))
    source = exported(tmp_path, folder, clock, "acme/shop")
    assert ids(source) == ["12", "3"]
    text = text_of(read(source, "12"))
    assert "# acme/shop#12: Why is the queue slow?" in text
    assert "## Resolution: comment by ben, 2024-01-02\n\nUse batches." in text
    assert "spam" not in text
    body = read(source, "12").body
    assert isinstance(body, Parsed)
    assert body.dropped == {"hidden comments": 1}
    assert "Said." in text_of(read(source, "3"))


def test_exports_of_several_repositories_stay_apart(tmp_path: Path, clock: Clock) -> None:
    other = {**GH_ISSUE, "url": "https://github.com/acme/bank/issues/12"}
    (tmp_path / "all.json").write_text(json.dumps([GH_ISSUE, other]))
    assert ids(exported(tmp_path, tmp_path / "all.json", clock)) == ["acme/bank#12", "acme/shop#12"]


def test_merged_pull_request_of_an_export_resolves_its_issue(tmp_path: Path, clock: Clock) -> None:
    pull = {
        **GH_ISSUE,
        "number": 15,
        "title": "Batches",
        "body": "Closes #12",
        "state": "MERGED",
        "mergedAt": "2024-01-02T08:00:00Z",
        "url": "https://github.com/acme/shop/pull/15",
    }
    (tmp_path / "all.json").write_text(json.dumps([GH_ISSUE, pull]))
    source = exported(tmp_path, tmp_path / "all.json", clock)
    assert "Closed by pull request [#15: Batches]" in text_of(read(source, "acme/shop#12"))


def test_damaged_export_is_named_and_the_rest_goes_in(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps([GH_ISSUE]))
    (folder / "b.json").write_text(json.dumps([{**GH_ISSUE, "number": 13}]))
    (folder / "deep.json").write_text("[" * 100_000)
    source = exported(tmp_path, folder, clock, "acme/shop")
    assert ids(source) == ["12", "13"]
    (folder / "b.json").write_text("[{cut")
    listing = source.list()
    assert [item.id for item in listing.items] == ["12", "13"]
    assert [skipped.item for skipped in listing.skipped] == ["b.json", "deep.json"]
    (folder / "b.json").unlink()
    assert ids(source) == ["12"]
    assert [skipped.item for skipped in source.list().skipped] == ["deep.json"]


def test_link_out_of_an_export_folder_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "secret.json").write_text(json.dumps([GH_ISSUE]))
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    assert ids(exported(tmp_path, folder, clock)) == []


def test_script_address_in_an_export_is_not_kept(tmp_path: Path, clock: Clock) -> None:
    bad = {**GH_ISSUE, "url": "javascript:alert(1)"}
    (tmp_path / "x.json").write_text(json.dumps(bad))
    source = exported(tmp_path, tmp_path / "x.json", clock, "acme/shop")
    assert read(source, "12").uri == ""


# --- Jira -------------------------------------------------------------------------------------


@pytest.fixture
def jira() -> Jira:
    return Jira()


@pytest.fixture
def jira_server(jira: Jira) -> Iterator[Standin]:
    with Standin(jira).serving() as standin:
        yield standin


def jira_source(server: Standin, folder: Path, clock: Clock, **more: object) -> JiraSource:
    settings = {"base_url": server.url, "project": "SHOP", "allow_private": True, **more}
    return JiraSource(
        "jira",
        JiraSettings.model_validate(settings),
        folder / "jira",
        clock=clock,
        sleep=clock.sleep,
    )


def numbers(source: JiraSource) -> list[int]:
    return sorted(int(item.id.partition("-")[2]) for item in source.list().items)


def jira_text(source: JiraSource, key: str) -> str:
    return text_of(jira_content(source, key))


def jira_content(source: JiraSource, key: str) -> Content:
    return source.read(next(item for item in source.list().items if item.id == key))


@pytest.mark.parametrize("cloud", [False, True])
@pytest.mark.parametrize("at", range(3))
def test_interrupted_search_goes_on_where_it_was(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock, cloud: bool, at: int
) -> None:
    for number in range(1, 9):
        jira.issue(f"SHOP-{number}")
    jira.comment("SHOP-2", "1", "Said.")

    def interrupt(seconds: float) -> None:
        raise Interrupted

    jira_server.faults[at] = Answer(200, b"{" + b" " * 99, cut_at=50)
    first = jira_source(jira_server, tmp_path, clock, cloud=cloud)
    first._sleep = interrupt
    with pytest.raises(Interrupted):
        first.list()
    first.close()
    again = jira_source(jira_server, tmp_path, clock, cloud=cloud)
    assert numbers(again) == list(range(1, 9))
    assert jira_text(again, "SHOP-2").count("Said.") == 1
    asked = [
        request.query.get("startAt", request.query.get("nextPageToken"))
        for request in jira_server.requests
    ]
    assert asked[at] == asked[at + 1]  # the page that was cut, and no page before it


@pytest.mark.parametrize("cloud", [False, True])
def test_changed_issue_is_searched_by_time_and_gets_a_new_revision(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock, cloud: bool
) -> None:
    for number in range(1, 6):
        jira.issue(f"SHOP-{number}")
    source = jira_source(jira_server, tmp_path, clock, cloud=cloud)
    before = {item.id: item.revision for item in source.list().items}
    jira.minute += 3000
    jira.comment("SHOP-4", "1", "Said.")
    after = {item.id: item.revision for item in source.list().items}
    assert {key for key in after if after[key] != before[key]} == {"SHOP-4"}
    assert 'AND updated >= "2024-01-02' in jira_server.requests[-1].query["jql"]


def test_deletion_while_pages_are_read_costs_no_other_issue(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    for number in range(1, 9):
        jira.issue(f"SHOP-{number}")
    jira_server.before = lambda number: jira.issues.pop("SHOP-1", None) if number == 1 else None
    assert set(numbers(jira_source(jira_server, tmp_path, clock))) >= set(range(2, 9))


def test_deleted_issue_is_gone_when_all_is_listed(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    for number in range(1, 6):
        jira.issue(f"SHOP-{number}")
    source = jira_source(jira_server, tmp_path, clock)
    source.list()
    del jira.issues["SHOP-3"]
    clock.now += 25 * 3600
    assert numbers(source) == [1, 2, 4, 5]


def test_moved_issue_leaves_its_old_key_at_once(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    jira.issue("SHOP-1")
    source = jira_source(jira_server, tmp_path, clock)
    source.list()
    moved = jira.issues.pop("SHOP-1")
    jira.minute += 3000
    jira.issues["SEC-9"] = {**jira.issue("SEC-9"), "id": moved["id"]}
    assert [item.id for item in source.list().items] == ["SEC-9"]


def test_all_comments_are_fetched_where_the_search_gives_few(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    jira.inline_comments = 2
    jira.issue("SHOP-1")
    for id in range(1, 9):
        jira.comment("SHOP-1", str(id), f"Said {id}.")
    source = jira_source(jira_server, tmp_path, clock)
    assert jira_text(source, "SHOP-1").count("Said") == 8
    before = len(jira_server.requests)
    source.list()
    assert len(jira_server.requests) == before + 1  # they are not fetched again


def test_access_goes_by_project_and_security_level(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    for key in ("SHOP-1", "SEC-2", "SEC-3"):
        jira.issue(key, security={"name": "Internal"} if key == "SEC-3" else None)
    source = jira_source(jira_server, tmp_path, clock, access_by_project={"SEC": ["security"]})
    labels = {key: jira_content(source, key).labels for key in ("SHOP-1", "SEC-2", "SEC-3")}
    assert labels == {"SHOP-1": None, "SEC-2": {"security"}, "SEC-3": frozenset()}
    other = jira_source(jira_server, tmp_path, clock, access_by_project={"SEC": ["others"]})
    assert source.list().items != other.list().items


def test_comment_for_some_is_left_out_and_not_even_copied(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    jira.issue("SHOP-1")
    jira.comment("SHOP-1", "1", "The password is hunter2.", visibility={"value": "Admins"})
    source = jira_source(jira_server, tmp_path, clock)
    body = jira_content(source, "SHOP-1").body
    assert isinstance(body, Parsed)
    assert body.dropped == {"restricted comments": 1}
    copy = (tmp_path / "jira" / "tickets.sqlite3").read_bytes()
    assert b"hunter2" not in body.text.encode() + copy


def test_jira_ticket_is_one_document(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock
) -> None:
    jira.issue("SHOP-1", issuetype={"name": "Bug"}, resolution={"name": "Fixed"})
    jira.comment("SHOP-1", "77", "h1. Cause\n\nRaise the {{pool}}.")
    jira.issues["SHOP-1"]["fields"] |= {
        "status": {"name": "Done"},
        "resolutiondate": "2024-01-05T10:00:00.000+0200",
    }
    content = jira_content(jira_source(jira_server, tmp_path, clock), "SHOP-1")
    assert text_of(content) == (
        "# SHOP-1: Why does SHOP-1 fail?\n\n"
        "State: Done. Type: Bug. Resolution: Fixed. Labels: ops. Opened by Ann Lee on 2024-01-01. "
        "Closed on 2024-01-05.\n\nSHOP-1 fails.\n\n"
        "## Resolution: comment by Ben Ode, 2024-01-01\n\n### Cause\n\nRaise the `pool`.\n"
    )
    assert content.uri == f"{jira_server.url}/browse/SHOP-1"
    assert content.metadata["anchors"][1][1] == f"{content.uri}?focusedCommentId=77"
    assert content.metadata["closed_at"] == "2024-01-05T08:00:00+00:00"


def test_account_and_token_make_basic_authorization(
    jira: Jira, jira_server: Standin, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JIRA_TOKEN", SECRET)
    for email in (None, "ann@acme.test"):
        jira_source(jira_server, tmp_path, clock, email=email, token_variable="JIRA_TOKEN").list()
    bearer, basic = (request.headers["authorization"] for request in jira_server.requests)
    assert bearer == f"Bearer {SECRET}"
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == f"ann@acme.test:{SECRET}"


def test_wiki_markup_becomes_markdown() -> None:
    dropped: Counter[str] = Counter()
    text = wiki_to_markdown(
        "h2. Cause\nThe *pool* in {{a*b*|c}} ran out, see [docs|https://x.test/z] and [~jdoe].\n"
        "# one\n## in it\n# two\n* bullet\n{code:java|title=X}\nint *a = b; // # [x|y]\n{code}\n"
        "||name||size||\n|a|[l|http://u.test]|\n\n{quote}\nsaid\n{quote}\nafter "
        "{color:red}red{color}\n{panel:title=Note}\ninside\n{panel}\n!shot.png|thumbnail!\n"
        "{noformat}\n```\n# raw\n{noformat}",
        dropped,
    )
    assert text == (
        "## Cause\n\nThe **pool** in `a*b*|c` ran out, see [docs](https://x.test/z) and @jdoe.\n"
        "1. one\n   1. in it\n1. two\n- bullet\n\n```java\nint *a = b; // # [x|y]\n```\n\n"
        "| name | size |\n| --- | --- |\n| a | [l](http://u.test) |\n\n> said\n\nafter red\n"
        "**Note**\ninside\n\n````\n```\n# raw\n````"
    )
    assert dropped == {"images": 1}


def test_atlassian_documents_become_markdown() -> None:
    def node(kind: str, *content: object, **attrs: object) -> dict[str, object]:
        return {"type": kind, "content": list(content), "attrs": attrs}

    def words(text: str, *marks: object) -> dict[str, object]:
        return {"type": "text", "text": text, "marks": list(marks)}

    link = {"type": "link", "attrs": {"href": "https://x.test"}}
    document = node(
        "doc",
        node("heading", words("Cause"), level=2),
        node("paragraph", words("a "), words("b", {"type": "code"}), words(" "), words("c", link)),
        node("bulletList", node("listItem", node("paragraph", words("one")))),
        node("codeBlock", words("x < y\n# no"), language="python"),
        node(
            "table",
            node("tableRow", node("tableHeader", node("paragraph", words("h")))),
            node("tableRow", node("tableCell", node("paragraph", words("v")))),
        ),
        node("mediaSingle", node("media")),
        node("newKind", node("paragraph", words("<b>kept</b> "), node("mention", text="@Ann"))),
    )
    dropped: Counter[str] = Counter()
    text = as_markdown("X-1", document, dropped)
    assert "## Cause\n\na `b` [c](https://x.test)\n\n- one\n" in text
    assert "```python\nx < y\n# no\n```" in text
    assert "| h |\n| --- |\n| v |" in text
    assert "kept" in text
    assert "@Ann" in text
    assert dropped == {"images": 1}


@pytest.mark.parametrize("depth", [400, 20_000])
def test_deep_document_is_an_error_that_names_it(depth: int) -> None:
    deep: dict[str, object] = {"type": "text", "text": "x"}
    for _ in range(depth):
        deep = {"type": "blockquote", "content": [deep]}
    with pytest.raises(ParseError, match=r"SHOP-1 .*nested deeply"):
        as_markdown("SHOP-1", deep, Counter())


XML = """<?xml version="1.0" encoding="UTF-8"?>{dtd}
<rss version="0.92"><channel><title>Jira</title><item>
<title>[SHOP-1] Why?</title><link>https://jira.acme.test/browse/SHOP-1</link>
<project id="1" key="SHOP">Shop</project><description>&lt;p&gt;It &lt;b&gt;fails&lt;/b&gt;.&lt;/p&gt;</description>
<key id="9">SHOP-1</key><summary>Why?</summary><type id="1">Bug</type><status id="6">Closed</status>
<resolution id="1">Fixed</resolution><reporter username="ann">Ann Lee</reporter>
<labels><label>ops</label></labels><created>Mon, 1 Jan 2024 10:00:00 +0200</created>
<updated>Wed, 3 Jan 2024 10:00:00 +0200</updated><resolved>Wed, 3 Jan 2024 10:00:00 +0200</resolved>
<comments><comment id="5" author="ben" created="Tue, 2 Jan 2024 10:00:00 +0200"
>&lt;p&gt;Raise it.{more}&lt;/p&gt;</comment>
<comment id="6" author="ben" created="Tue, 2 Jan 2024 11:00:00 +0200" grouplevel="admins">secret</comment>
</comments></item></channel></rss>"""


def test_jira_exports_are_read(tmp_path: Path, jira: Jira, clock: Clock) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.xml").write_text(XML.format(dtd="", more=""))
    jira.issue("SHOP-2")
    jira.comment("SHOP-2", "1", "Said.")
    (folder / "b.json").write_text(json.dumps({"issues": list(jira.issues.values())}))
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    (folder / "bomb.xml").write_text(XML.format(dtd=bomb, more="&b;").replace("SHOP-1", "BOMB-1"))
    source = JiraSource("x", JiraSettings(export=folder), tmp_path / "copy")
    listing = source.list()
    assert [item.id for item in listing.items] == ["SHOP-1", "SHOP-2"]
    assert [skipped.item for skipped in listing.skipped] == ["bomb.xml"]
    text = jira_text(source, "SHOP-1")
    assert "It **fails**." in text
    assert "## Resolution: comment by ben, 2024-01-02\n\nRaise it." in text
    assert "secret" not in text
    assert "Said." in jira_text(source, "SHOP-2")


@pytest.mark.parametrize(
    "hostile",
    [
        *("*a " * 9000, "{" * 50_000, "[" * 50_000, "{quote}" * 9000, "|a" * 20_000),
        *("{code}" * 9999, "_a" * 20_000, "!a" * 20_000, "{{" * 20_000, "<!--" * 20_000),
        *("{panel:title=" * 4000, "!" * 50_000, "> " * 20_000, "- " * 20_000),
    ],
    ids=lambda hostile: hostile[:12],
)
def test_hostile_markup_takes_no_time(hostile: str) -> None:
    began = time.perf_counter()
    embedded(wiki_to_markdown(hostile, Counter()))
    assert time.perf_counter() - began < 5

"""The chat page for callers with keys: signing in and out, filters, sources and their freshness."""

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from assistant.access.keys import KeyStore
from tests.conftest import casebook, serving

pytestmark = pytest.mark.e2e

LEDGER = "How are restarts of the ledger service done?"
VAULT = "Who unseals the production vault?"
SECRET = "amaranth"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SETTINGS = """
corpus = ["notes"]
[[sources]]
name = "handbook"
type = "folder"
path = "handbook"
access = ["public"]
stale_after = "1s"
[[sources]]
name = "vault-team"
type = "folder"
path = "vault"
access = ["vault"]
[[sources]]
name = "wiki"
type = "folder"
path = "unmounted"
access = ["public"]
"""
DOCUMENTS = {
    "handbook/ledger.md": "---\nkind: runbook\n---\n# Ledger restarts\n\n## Procedure\n\n"
    "Restarts of the ledger service begin with draining its payment queue.\n",
    "notes/history.md": "# Ledger history\n\n## Background\n\n"
    "Restarts of the ledger service were once done by the night shift with a paper checklist.\n",
    "vault/seal.md": "# Vault seal\n\n## Holders\n\n"
    f"The production vault is unsealed by three of the five {SECRET} card holders.\n",
}
FOUR_YEARS = 4 * 365 * 24 * 3600


@dataclass(frozen=True)
class Service:
    """A running service, and the store of its keys."""

    address: str
    keys: KeyStore

    def key(self, name: str, *labels: str, admin: bool = False) -> str:
        return self.keys.create(name, labels, administrator=admin).secret


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Three sources, of which one is hidden, one overdue and one can't be read; and an old file."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "casebook.toml").write_text(SETTINGS, encoding="utf-8")
    for name, text in DOCUMENTS.items():
        path = folder / name
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    old = time.time() - FOUR_YEARS
    os.utime(folder / "notes/history.md", (old, old))
    assert casebook("ingest", cwd=folder).returncode == 4  # the wiki
    with serving(folder) as address:
        yield Service(address, KeyStore(folder / ".casebook/keys.sqlite"))


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    """A key that opens the vault's documents."""
    return service.key("vault-reader", "vault")


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A first visit on a laptop, of someone who has not signed in."""
    context = browser.new_context(viewport=LAPTOP, base_url=service.address)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()


def send(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, question: str) -> Locator:
    """The turn of a question, its answer complete."""
    turn = page.get_by_role("article", name=question).last
    expect(turn.locator("summary")).to_be_visible()
    return turn


def ask(page: Page, question: str) -> Locator:
    send(page, question)
    return answered(page, question)


def sign_in(page: Page, key: str, name: str) -> None:
    """Sign in from the header, or wherever else the dialog has been opened from."""
    if not page.locator("#sign-in").is_visible():
        page.get_by_role("button", name="Sign in").first.click()
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=f"Signed in as {name}")).to_be_visible()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Signed in").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def choose(page: Page, *options: str) -> None:
    """Tick filters, opening the panel where it is folded."""
    if not page.get_by_role("group", name="Filters").is_visible():
        page.get_by_role("button", name="Filter", exact=True).click()
    for option in options:
        page.get_by_label(re.compile(f"^{option}")).check()


def titles(turn: Locator) -> list[str]:
    return [text.split(" › ")[0] for text in turn.locator(".card .link").all_inner_texts()]


# --- signing in and out -----------------------------------------------------------------------


def test_a_key_opens_what_is_hidden_and_signing_out_takes_it_off_the_page(
    page: Page, key: str
) -> None:
    suggestions = page.locator("#examples")
    expect(suggestions).to_contain_text("Ledger history")
    expect(suggestions).not_to_contain_text("Vault seal")
    assert SECRET not in (ask(page, VAULT).text_content() or "")
    sign_in(page, key, "vault-reader")
    page.get_by_role("button", name="Ask again").click()  # the question stays, and may now be met
    turn = page.get_by_role("article", name=VAULT)
    expect(turn.locator(".sentence")).to_contain_text(SECRET)
    turn.get_by_role("button", name="[1]").first.click()
    expect(page.locator("#source mark")).to_contain_text(SECRET)
    choose(page, "vault-team")
    sign_out(page)
    expect(suggestions).to_contain_text("Ledger history")
    for trace in (SECRET, "vault", "Vault"):
        assert trace not in page.content()
        assert trace not in page.title() + page.url
    page.reload()
    expect(suggestions).to_contain_text("Ledger history")
    assert SECRET not in page.content()


def test_what_is_under_way_is_dropped_when_its_caller_signs_out(page: Page, key: str) -> None:
    sign_in(page, key, "vault-reader")
    page.route("**/me", lambda _: None)  # these take their time
    page.reload()
    expect(page.locator("#examples")).to_contain_text("Vault seal")
    page.route("**/ask", lambda _: None, times=1)
    page.route("**/suggestions", lambda _: None)
    send(page, VAULT)
    dropped: list[str] = []
    page.on("requestfailed", lambda request: dropped.append(urlsplit(request.url).path))
    with page.expect_event("requestfailed"):
        sign_out(page)
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.locator("#examples")).to_be_empty()
    ask(page, LEDGER)
    assert sorted(dropped) == ["/ask", "/me"]


def test_a_key_lasts_over_a_reload_and_in_no_other_tab(page: Page, key: str) -> None:
    sign_in(page, key, "vault-reader")
    page.reload()
    expect(page.get_by_role("button", name="Signed in as vault-reader")).to_be_visible()
    other = page.context.new_page()
    other.goto("/")
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_mistyped_key_is_refused_in_the_dialog_and_changes_nothing(page: Page) -> None:
    page.get_by_role("button", name="Sources").click()
    opener = page.get_by_role("button", name="Sign in")
    opener.click()
    dialog = page.get_by_role("dialog", name="Sign in")
    field = dialog.get_by_label("Key", exact=True)
    expect(field).to_be_focused()
    for typed, words in {
        "": "Type or paste a key first.",
        "cbk_–": "This is no key: it holds characters that no key has.",
        "cbk_mistyped": "This key is not accepted: it is mistyped, revoked or has expired.",
    }.items():
        field.fill(typed)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_have_text(words)
        expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("dialog", name="Sources")).to_be_visible()  # it was not meant
    expect(opener).to_be_focused()
    expect(page.locator("#refused")).to_be_hidden()
    expect(page.locator("#key")).to_have_value("")
    ask(page, LEDGER)  # still as nobody in particular


def test_a_revoked_key_is_told_of_and_the_question_is_asked_again_after_signing_in(
    page: Page, service: Service
) -> None:
    sign_in(page, service.key("leaver", "vault"), "leaver")
    service.keys.revoke("leaver")
    send(page, VAULT)
    expect(page.locator("#refused")).to_contain_text("Your key is not accepted any more.")
    expect(page.get_by_role("article", name=VAULT)).to_contain_text("Your question is kept")
    page.reload()  # and is not mistaken for nobody's
    expect(page.locator("#refused")).to_contain_text("Your key is not accepted any more.")
    page.get_by_role("article", name=VAULT).get_by_role("button", name="Sign in again").click()
    sign_in(page, service.key("joiner", "vault"), "joiner")
    expect(answered(page, VAULT).locator(".sentence")).to_contain_text(SECRET)
    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.locator("#refused")).to_be_hidden()


def test_after_a_revocation_one_can_go_on_without_a_key(page: Page, service: Service) -> None:
    sign_in(page, service.key("visitor", "vault"), "visitor")
    ask(page, VAULT)
    service.keys.revoke("visitor")
    send(page, LEDGER)
    page.get_by_role("button", name="Go on without").click()
    assert SECRET not in page.content()
    expect(page.get_by_role("textbox", name="Your question")).to_have_value(LEDGER)
    page.keyboard.press("Enter")
    expect(answered(page, LEDGER).locator(".sentence").first).to_contain_text("draining")


def test_the_next_person_at_a_refused_page_does_not_see_what_was_shown_on_it(
    page: Page, service: Service
) -> None:
    sign_in(page, service.key("first", "vault"), "first")
    ask(page, VAULT)
    service.keys.revoke("first")
    send(page, LEDGER)
    page.get_by_role("article", name=LEDGER).get_by_role("button", name="Sign in again").click()
    sign_in(page, service.key("second", "public"), "second")
    answered(page, LEDGER)
    assert SECRET not in page.content()


def test_a_refused_source_offers_to_sign_in_and_opens_after_it(
    page: Page, service: Service
) -> None:
    sign_in(page, service.key("reader", "vault"), "reader")
    turn = ask(page, VAULT)
    service.keys.revoke("reader")
    turn.get_by_role("button", name="[1]").first.click()
    pane = page.locator("#source")
    expect(pane).to_contain_text("Your key is not accepted any more.")
    expect(page.locator("#refused")).to_be_visible()
    pane.get_by_role("button", name="Sign in again").click()
    sign_in(page, service.key("reader", "vault"), "reader")
    expect(turn).to_be_visible()  # the same caller: the conversation stays
    expect(pane.locator("mark")).to_contain_text(SECRET)


def test_the_key_goes_to_the_server_alone_and_stays_in_the_tab_alone(
    page: Page, service: Service, key: str
) -> None:
    requests: list[Any] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(page, key, "vault-reader")
    ask(page, VAULT).get_by_role("button", name="[1]").first.click()
    expect(page.locator("#source mark")).to_be_visible()
    page.get_by_role("button", name="Sources").click()
    choose(page, "vault-team")
    page.get_by_role("button", name="New conversation").click()
    for secret in (key, key[4:]):
        assert secret not in page.content() + page.title() + page.url
        assert not any(secret in request.url for request in requests)
        assert not any(secret in (request.post_data or "") for request in requests)
    assert page.evaluate("Object.values(sessionStorage)") == [key]
    assert page.evaluate("[localStorage.length, document.cookie, history.state]") == [0, "", None]
    assert page.evaluate("document.querySelector('#key').value") == ""
    assert {urlsplit(request.url).netloc for request in requests} == {
        urlsplit(service.address).netloc
    }
    asked = [each for each in requests if not urlsplit(each.url).path.startswith("/static")]
    assert {"/me", "/ask", "/suggestions", "/sources"} < {urlsplit(it.url).path for it in asked}
    assert {each.headers.get("authorization") for each in asked} == {f"Bearer {key}"}
    assert complaints == []
    sign_out(page)
    assert page.evaluate("sessionStorage.length") == 0
    with page.expect_request("**/ask") as request:
        ask(page, LEDGER)
    assert "authorization" not in request.value.headers


def test_a_key_typed_as_a_question_is_not_sent(page: Page, key: str) -> None:
    send(page, f"What does {key} open?")
    expect(page.get_by_role("alert")).to_contain_text("That holds a key, and was not sent.")
    page.goto(f"/?q={key}")
    expect(page.locator("#examples")).to_contain_text("Ledger")
    assert key not in page.url
    expect(page.get_by_role("article")).to_have_count(0)


# --- filters ----------------------------------------------------------------------------------


def test_filters_change_the_answer_and_survive_a_reload(page: Page) -> None:
    assert titles(ask(page, LEDGER)) == ["[1]\nLedger restarts", "[2]\nLedger history"]
    choose(page, "note")
    page.get_by_role("button", name="Ask again").click()
    turn = answered(page, LEDGER)
    assert titles(turn) == ["[1]\nLedger history"]
    expect(turn.locator(".used")).to_have_text("Kind: note")
    expect(page.get_by_role("button", name="Ask again")).to_be_hidden()
    choose(page, "files")
    assert parse_qs(urlsplit(page.url).query) == {
        "q": [LEDGER],
        "kind": ["note"],
        "source": ["files"],
    }
    page.reload()
    turn = answered(page, LEDGER)
    assert titles(turn) == ["[1]\nLedger history"]
    expect(turn.locator(".used")).to_have_text("Source: files · Kind: note")
    choose(page)
    expect(page.get_by_label(re.compile("^note"))).to_be_checked()


def test_an_age_in_the_address_is_relative_and_in_the_request_a_date(page: Page) -> None:
    choose(page, "3 years")
    assert urlsplit(page.url).query == "since=3y"
    with page.expect_request("**/ask") as request:
        turn = ask(page, LEDGER)
    since = (request.value.post_data_json or {})["filters"]["changed_since"]
    age = time.time() - time.mktime(time.strptime(since, "%Y-%m-%d"))
    assert 1094 < age / 86400 < 1099
    assert titles(turn) == ["[1]\nLedger restarts"]
    page.goto("/?since=yesterday&kind=")  # nothing that can be chosen
    assert urlsplit(page.url).query == ""


def test_filters_that_leave_nothing_are_told_of_and_reset_by_one_click(page: Page) -> None:
    page.goto("/?source=handbook&kind=note")
    turn = ask(page, LEDGER)
    expect(turn.locator(".silent")).to_contain_text(
        "no readable document fits the question's filters"
    )
    page.get_by_role("button", name="Reset").click()
    assert parse_qs(urlsplit(page.url).query) == {"q": [LEDGER]}
    expect(page.get_by_role("button", name="Reset")).to_be_hidden()
    page.get_by_role("button", name="Ask again").click()
    expect(turn.locator(".sentence")).to_have_count(2)
    expect(turn.locator(".used")).to_be_hidden()


def test_only_the_callers_own_sources_can_be_chosen(page: Page, key: str) -> None:
    group = page.get_by_role("group", name="Source", exact=True)
    choose(page)
    expect(group.get_by_role("checkbox")).to_have_count(2)
    sign_in(page, key, "vault-reader")
    choose(page)
    expect(group.get_by_role("checkbox")).to_have_count(3)
    sign_out(page)
    choose(page)
    expect(group.get_by_role("checkbox")).to_have_count(2)


def test_filters_are_worked_by_keyboard(page: Page) -> None:
    button = page.get_by_role("button", name="Filter", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("checkbox")).not_to_have_count(0)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#active")).to_have_text("Source: files")
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Filters")).to_be_hidden()
    expect(button).to_be_focused()


# --- sources and citations --------------------------------------------------------------------


def test_the_sources_show_what_they_hold_and_how_fresh_it_is(page: Page) -> None:
    button = page.get_by_role("button", name="Sources")
    button.click()
    pane = page.get_by_role("dialog", name="Sources")
    expect(pane.get_by_role("listitem")).to_have_count(2)  # neither the vault nor how syncs went
    handbook = pane.get_by_role("listitem").filter(has_text="handbook")
    expect(handbook).to_contain_text("1 document")
    expect(handbook).to_contain_text("runbook 1")
    expect(handbook).to_contain_text("Overdue: not read for too long")
    files = pane.get_by_role("listitem").filter(has_text="files")
    expect(files).to_contain_text(re.compile("Newest change (3|4) years ago"))
    expect(files).to_contain_text(re.compile("Read (just now|.* minutes? ago)"))
    expect(files.locator(".stale")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(pane).to_be_hidden()
    expect(button).to_be_focused()
    with page.expect_response("**/sources"):  # and fresh each time
        button.click()


def test_an_administrator_sees_how_each_sync_went(page: Page, service: Service) -> None:
    page.get_by_role("button", name="Sources").click()
    pane = page.get_by_role("dialog", name="Sources")
    expect(pane.get_by_role("listitem")).to_have_count(2)
    sign_in(page, service.key("root", admin=True), "root")
    expect(pane.get_by_role("listitem")).to_have_count(4)  # the open pane follows who looks at it
    wiki = pane.get_by_role("listitem").filter(has_text="wiki")
    expect(wiki).to_contain_text("Never read")
    expect(wiki.locator(".error")).to_contain_text("there is nothing at unmounted")
    expect(wiki.locator(".error time")).to_have_count(1)


def test_a_source_shows_its_revision_next_run_and_what_could_not_be_read(page: Page) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 1230))
    sync = {"revision": "0123456789abcdef" * 2, "failed": 2, "error": None, "next_run": soon}
    source = {"name": "code", "type": "git", "documents": 1200, "kinds": {"case-study": 1200}}
    source |= {"newest": None, "synced_at": "2026-01-02T00:00:00+00:00", "stale": False}
    page.route("**/sources", lambda it: it.fulfill(json={"sources": [source | {"sync": sync}]}))
    page.get_by_role("button", name="Sources").click()
    card = page.get_by_role("dialog", name="Sources").get_by_role("listitem")
    expect(card).to_contain_text("case study 1,200")
    expect(card).to_contain_text("revision 0123456")
    expect(card).to_contain_text("Next read in 20 minutes")
    expect(card).to_contain_text("2 items could not be read")


def serve_made_up(page: Page, link: str | None, notice: str | None) -> None:
    """Answer every question by one made-up citation."""
    citation: Any = {
        "n": 1,
        "document_id": "made-up",
        "title": "Made up",
        "section": "",
        "quote": "It.",
    }
    citation |= {
        "source": "docs/made-up.md",
        "link": link,
        "revision": "0123456789ab",
        "stale": False,
    }
    citation |= {
        "modified_at": "2020-01-02T00:00:00+00:00",
        "ingested_at": "2026-01-02T00:00:00+00:00",
    }
    sentence = {"text": "It.", "citations": [1]}
    answer: Any = {
        "status": "answered",
        "mode": "extractive",
        "answer": "It. [1]",
        "notice": notice,
    }
    answer |= {"sentences": [sentence], "citations": [citation]}
    events: Any = {"citations": [citation], "sentence": sentence, "answer": answer}
    stream = "".join(f"event: {name}\ndata: {json.dumps(it)}\n\n" for name, it in events.items())
    page.route("**/ask", lambda it: it.fulfill(content_type="text/event-stream", body=stream))


def test_a_citation_shows_its_revision_and_age_and_opens_where_it_was_said(page: Page) -> None:
    serve_made_up(
        page, "https://git.example:8443/a/b/blob/0123456789ab/docs/made-up.md#L3-L4", None
    )
    card = ask(page, "Anything?").get_by_role("listitem").first
    expect(card).to_contain_text("revision 0123456")
    expect(card.locator("time")).to_have_attribute("datetime", "2020-01-02T00:00:00+00:00")
    link = card.get_by_role("link", name="open at git.example:8443")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_without_a_link_for_browsers_a_citation_says_where_it_is_from(page: Page) -> None:
    for link in (None, "javascript:alert(1)", "https://", "file:///etc/passwd"):
        serve_made_up(page, link, None)
        turn = ask(page, f"Is {link} opened?")
        expect(turn.get_by_role("link")).to_have_count(0)
        expect(turn.get_by_role("listitem").first).to_contain_text("docs/made-up.md")


def test_a_notice_on_an_answer_stands_out_and_is_read_aloud(page: Page) -> None:
    serve_made_up(page, None, "[1] and [2] disagree: [1] is newer.")
    turn = ask(page, "Anything?")
    notice = turn.locator(".notice")
    expect(notice).to_have_text("[1] and [2] disagree: [1] is newer.")
    expect(notice.locator("svg")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("[1] is newer")
    box, cards = notice.bounding_box(), turn.locator(".cards").bounding_box()
    assert box
    assert cards
    assert box["y"] < cards["y"]


# --- looks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")], ids=["laptop", "phone"]
)
def test_it_fits_laptop_and_phone(
    browser: Browser, service: Service, artifacts_dir: Path, size: Any, scheme: Any
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, base_url=service.address)
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")

    def look(name: str) -> None:
        page.screenshot(path=artifacts_dir / f"access-{size['width']}-{scheme}-{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]

    page.goto("/")
    page.get_by_role("button", name="Sign in").click()
    look("sign-in")
    admin = f"admin-of-a-rather-long-name-{scheme}"
    sign_in(page, service.key(admin, admin=True), admin)
    ask(page, LEDGER)
    choose(page, "handbook", "a year")
    look("filters")
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".used")).to_be_visible()
    expect(page.locator(".notice")).to_be_visible()
    look("answer")
    page.get_by_role("button", name="Sources").click()
    expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(4)
    look("sources")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Signed in as").click()
    look("account")
    page.get_by_role("button", name="Close").click()
    service.keys.revoke(admin)
    send(page, VAULT)
    expect(page.locator("#refused")).to_be_visible()
    look("refused")
    context.close()


def test_the_pane_of_sources_says_in_words_how_things_are(page: Page) -> None:
    expect(page.locator("#health")).to_be_hidden()
    page.get_by_role("button", name="Sources").click()
    card = page.locator(".health")
    expect(card.locator("summary")).to_contain_text("not read for longer than it may be")
    card.locator("summary").click()
    expect(card.get_by_role("listitem").first).to_contain_text("sources, not well")
    expect(card).to_contain_text("documents to answer from")
    expect(card).not_to_contain_text("snapshot")  # that is for operators


def test_the_page_says_before_a_question_that_there_is_no_index(
    browser: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path) as address:
        context = browser.new_context(viewport=LAPTOP, base_url=address)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/")
        expect(page.locator("#health")).to_contain_text("run `casebook ingest`")
        context.close()

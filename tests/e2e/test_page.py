"""The chat page in a real browser, against a real server that has read the case studies."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.e2e

QUESTION = "How does Kanister coordinate backup and restore of Kubernetes workloads?"
FOLLOW_UP = "And what are its constraints?"
UNANSWERABLE = "Which Kubernetes version does the EKS foundation run?"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture
def page(browser: Browser, live_server: str) -> Iterator[Page]:
    """A first visit on a laptop."""
    context = browser.new_context(viewport=LAPTOP, base_url=live_server)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()


def type_and_send(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, question: str) -> Locator:
    """The turn of a question, its answer complete."""
    turn = page.get_by_role("article", name=question).last
    expect(turn.locator("summary")).to_be_visible()
    return turn


def ask(page: Page, question: str) -> Locator:
    type_and_send(page, question)
    return answered(page, question)


def marked(page: Page) -> str:
    """What the open source highlights."""
    expect(page.locator("#source mark").first).to_be_in_viewport()
    return "".join(page.locator("#source mark").all_text_contents())


def serve_made_up(page: Page, text: str, quote: str, title: str, source: str) -> None:
    """Answer every question by a quote from one made-up document; Python counts code points."""
    document: Any = {"title": title, "source": source, "ingested_at": "2026-01-02"}
    place = {"start": text.index(quote), "end": text.index(quote) + len(quote), "quote": quote}
    citations = [document | place | {"n": 1, "document_id": "made-up", "section": ""}]
    sentence = {"text": quote, "citations": [1]}
    answer: Any = {"status": "answered", "mode": "extractive", "answer": quote, "notice": title}
    answer |= {"sentences": [sentence], "citations": citations}
    events: Any = {"citations": citations, "sentence": sentence, "answer": answer}
    stream = "".join(f"event: {name}\ndata: {json.dumps(it)}\n\n" for name, it in events.items())
    page.route("**/ask", lambda it: it.fulfill(content_type="text/event-stream", body=stream))
    page.route("**/documents/made-up", lambda route: route.fulfill(json=document | {"text": text}))


def test_asking_streams_an_answer_with_numbered_citations_and_reasons(page: Page) -> None:
    with page.expect_response("**/ask") as response:
        turn = ask(page, QUESTION)
    assert response.value.headers["content-type"].startswith("text/event-stream")
    expect(turn.locator(".sentence")).not_to_have_count(0)
    for sentence in turn.locator(".sentence").all():
        expect(sentence.get_by_role("button", name="[").first).to_be_visible()
    card = turn.get_by_role("listitem").first
    expect(card).to_contain_text("[1]")
    expect(card.locator("time")).to_have_attribute("datetime", re.compile(r"^\d{4}-\d\d-\d\dT"))
    turn.get_by_text("Why this answer").click()
    expect(turn.get_by_role("meter", name="Confidence")).to_be_visible()
    assert turn.get_by_role("row").count() > 1


def test_a_citation_opens_its_source_with_exactly_the_quote_marked(page: Page) -> None:
    turn = ask(page, QUESTION)
    answer = page.request.post("/ask", data={"question": QUESTION}).json()
    for cited in answer["citations"]:
        turn.get_by_role("list").get_by_role("button", name=f"[{cited['n']}]").click()
        expect(page.get_by_role("heading", name=cited["title"], level=2)).to_be_focused()
        source = page.request.get(f"/documents/{cited['document_id']}").json()
        assert marked(page) == cited["quote"]
        assert page.locator("#source article").text_content() == source["text"]
    expect(turn.locator(".sentence").first).to_be_visible()


def test_offsets_count_code_points_and_no_character_is_lost(page: Page) -> None:
    text = "---\na: b\n---\n# 🧭 🦊itle\n\n- *é* `code`\n- two **bold** end\n\n```\ncode\n```\n[a](http://a)\n"
    quote = "🦊itle\n\n- *é* `code`\n- two **bo"
    serve_made_up(page, text, quote, "Made up", "notes/a.md")
    ask(page, "Anything?").get_by_role("button", name="[1]").first.click()
    assert marked(page) == quote
    assert page.locator("#source article").text_content() == text


def test_an_abstention_looks_and_reads_unlike_an_answer(page: Page) -> None:
    turn = ask(page, UNANSWERABLE)
    expect(turn.get_by_text(re.compile("The sources don.t say"))).to_be_visible()
    expect(turn.locator(".silent svg")).to_be_visible()
    expect(turn.get_by_role("heading", name="Nearest passages")).to_be_visible()
    expect(turn.locator(".sentence")).to_have_count(0)
    turn.get_by_role("listitem").first.get_by_role("button").click()
    assert marked(page)


def test_the_whole_journey_works_by_keyboard(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Your question")).to_be_focused()
    page.keyboard.type("How does Kanister coordinate")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("backup and restore?")
    page.keyboard.press("Enter")
    answered(page, "How does Kanister coordinate backup and restore?")
    marker = page.locator(".cite:focus")
    for _ in range(100):
        page.keyboard.press("Shift+Tab")
        if marker.count():
            break
    page.keyboard.press("Enter")
    expect(page.locator("#source-title")).to_be_focused()
    assert marked(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(marker).to_be_focused()


def test_a_follow_up_brings_the_conversation_and_a_new_one_forgets_it(page: Page) -> None:
    ask(page, QUESTION)
    with page.expect_request("**/ask") as follow_up:
        ask(page, FOLLOW_UP)
    [earlier] = (follow_up.value.post_data_json or {})["conversation"]
    assert (earlier["question"], bool(earlier["answer"])) == (QUESTION, True)
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("article")).to_have_count(0)
    with page.expect_request("**/ask") as fresh:
        ask(page, FOLLOW_UP)
    assert (fresh.value.post_data_json or {})["conversation"] == []


def test_an_example_question_asks_itself_and_the_address_repeats_it(page: Page) -> None:
    example = page.get_by_role("list", name="For example").get_by_role("button").first
    question = example.text_content() or ""
    example.click()
    answered(page, question)
    assert page.url.endswith(f"?q={quote_plus(question)}")
    page.reload()
    answered(page, question)


def test_a_journey_stays_on_its_origin_and_within_the_policy(page: Page, live_server: str) -> None:
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    response = page.reload()
    assert response
    assert "trusted-types 'none'" in response.headers["content-security-policy"]
    ask(page, QUESTION).get_by_role("button", name="[1]").first.click()
    marked(page)
    page.keyboard.press("Escape")
    ask(page, UNANSWERABLE).locator("summary").click()
    assert {urlsplit(url).netloc for url in requests} == {urlsplit(live_server).netloc}
    assert complaints == []  # a violation of the policy would be one


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_it_fits_phone_and_laptop_in_light_and_dark(
    browser: Browser, live_server: str, artifacts_dir: Path, size: Any, scheme: Any
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, base_url=live_server)
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")  # or a screenshot meets the page in motion

    def look(name: str) -> float:
        """The share of the width that the source covers, after a screenshot."""
        page.screenshot(path=artifacts_dir / f"page-{size['width']}-{scheme}-{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        return float(page.evaluate("document.querySelector('dialog').offsetWidth / innerWidth"))

    page.goto("/")
    expect(page.get_by_role("list", name="For example")).to_be_visible()
    assert look("welcome") == 0
    ask(page, QUESTION).locator(".cite").first.click()
    marked(page)
    assert look("source") == 1 if size == PHONE else 0.3 < look("source") < 0.5
    page.keyboard.press("Escape")
    assert look("answer") == 0
    ask(page, UNANSWERABLE)
    look("abstention")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 128) == (scheme == "dark")
    context.close()


def test_hostile_text_is_inserted_as_text(page: Page) -> None:
    serve_made_up(page, f"# {EVIL}\n\n[a](javascript:alert(3))", EVIL, EVIL, "javascript:alert(4)")
    turn = ask(page, EVIL)
    turn.get_by_role("button", name="[1]").first.click()
    assert marked(page) == EVIL
    expect(turn.locator(".sentence")).to_contain_text(EVIL)
    expect(page.locator(":is(main, dialog) :is(img, script, a)")).to_have_count(0)


def test_a_problem_is_shown_as_a_card_that_can_try_again(page: Page) -> None:
    body = json.dumps({"title": "No index", "status": 503, "detail": "Ingest first."})
    kind = "application/problem+json"
    page.route("**/ask", lambda it: it.fulfill(status=503, content_type=kind, body=body), times=1)
    type_and_send(page, QUESTION)
    card = page.locator(".failed")
    expect(card).to_contain_text("No index")
    expect(card).to_contain_text("Ingest first.")
    card.get_by_role("button", name="Try again").click()
    answered(page, QUESTION)
    expect(card).to_have_count(0)


def test_a_question_can_be_stopped(page: Page) -> None:
    page.route("**/ask", lambda _: None)  # it never answers
    type_and_send(page, QUESTION)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped before the answer was complete.")).to_be_visible()


def test_an_empty_or_endless_question_is_refused_with_words(page: Page) -> None:
    type_and_send(page, " ")
    expect(page.get_by_role("alert")).to_have_text("Type a question first.")
    type_and_send(page, "🧭" * 4001)
    expect(page.get_by_role("alert")).to_have_text("Too long by 1 character.")
    expect(page.get_by_text("4,001 of 4,000")).to_be_visible()


def test_controls_have_names_and_a_finished_answer_is_announced(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Your question")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_role("link", name="Skip to the question field")).to_have_count(1)
    expect(page.get_by_role("status")).to_have_attribute("aria-live", "polite")
    words = ask(page, QUESTION).locator(".sentence").first.text_content() or ""
    expect(page.get_by_role("status")).to_contain_text(words.split("\u202f")[0])

"""The page where a language model writes, and the page of what that costs: the real files under the real
headers in a real browser, before a server that plays what is hard to bring about.
"""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Browser, Locator, Page, expect

from assistant.api import HEADERS, WEB
from assistant.gateway.usage import UsageReport
from assistant.schema import AnswerUsage, TraceGeneration

pytestmark = pytest.mark.e2e

QUESTION = "How are restarts of the ledger service done?"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
MODEL = "local-gemma"
ADMIN, READER = "cbk_admin", "cbk_reader"
DOCUMENT = (
    "# Ledger restarts\n\nRestarts begin with draining the payment queue. "
    "The night shift signs each restart. Replicas follow one by one."
)
QUOTES = (
    "Restarts begin with draining the payment queue.",
    "The night shift signs each restart.",
    "Replicas follow one by one.",
)

# --- a server that plays a part ---------------------------------------------------------------


@dataclass
class Play:
    """What the server answers with, and what came of it. `script`: events as (name, data), and between
    them events to wait for.
    """

    script: Sequence[tuple[str, Any] | threading.Event] = ()
    refusals: list[Response] = field(default_factory=list)
    questions: list[Any] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    unclaimed: bool = False
    revoked: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    async def events(self) -> AsyncIterator[str]:
        done = False
        try:
            for step in self.script:
                if isinstance(step, threading.Event):
                    while not step.is_set():
                        await asyncio.sleep(0.01)
                else:
                    name, data = step
                    yield f"event: {name}\ndata: {json.dumps(data)}\n\n"
            done = True
        finally:
            if not done:
                self.left.set()


def player(play: Play) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        play.questions.append(await request.json())
        if play.refusals:
            return play.refusals.pop(0)
        return StreamingResponse(play.events(), media_type="text/event-stream")

    @app.get("/me")
    def me(request: Request) -> Any:
        key = request.headers.get("authorization")
        if key == f"Bearer {play.revoked}":
            return problem(401, "Refused")
        name = {None: "anonymous", f"Bearer {ADMIN}": "root", f"Bearer {READER}": "reader"}[key]
        manages = name == "root" or (play.unclaimed and name == "anonymous")
        return {"name": name, "kind": "key", "administrator": manages, "labels": ["public"]}

    @app.get("/usage")
    def usage(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        play.queries.append(dict(request.query_params))
        shown = UsageReport.model_validate(report(request) | (play.usage or {}))
        return Response(shown.model_dump_json(), media_type="application/json")

    @app.get("/usage.csv")
    def usage_csv(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        play.queries.append(dict(request.query_params))
        return Response("day,requests\n2026-01-02,3\n", media_type="text/csv")

    def refused(request: Request) -> Response | None:
        key = request.headers.get("authorization")
        if key == f"Bearer {play.revoked}":
            return problem(401, "Refused")
        if key == f"Bearer {ADMIN}" or (key is None and play.unclaimed):
            return None
        return problem(401, "Sign in") if key is None else problem(403, "Not for you")

    @app.get("/suggestions")
    def suggestions() -> dict[str, Any]:
        return {"questions": [QUESTION]}

    @app.get("/documents/{document_id}")
    def document(document_id: str) -> dict[str, Any]:
        return PLACE | {"text": DOCUMENT, "stale": False}

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/dashboard")
    def dashboard() -> FileResponse:
        return FileResponse(WEB / "usage.html")

    app.mount("/static", StaticFiles(directory=WEB))
    return app


def problem(status: int, title: str, **headers: str) -> JSONResponse:
    said = {"title": title, "status": status, "detail": f"{title}, says the server."}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(said, status, names, media_type="application/problem+json")


@dataclass(frozen=True)
class Stage:
    """A running server, and the play that the test at hand gives to it."""

    address: str
    play: Play


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    play = Play()
    server = uvicorn.Server(
        uvicorn.Config(player(play), port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started or not thread.is_alive()):
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Stage(f"http://127.0.0.1:{port}", play)
    server.should_exit = server.force_exit = True
    thread.join()


@pytest.fixture
def play(running: Stage) -> Play:
    fresh = Play()
    running.play.__dict__.update(fresh.__dict__)
    return running.play


@contextlib.contextmanager
def visit(browser: Browser, running: Stage, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page, on which nothing may complain: a violation of the policy would."""
    context = browser.new_context(**{"viewport": LAPTOP, "base_url": running.address, **options})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path)
    yield page
    context.close()
    assert [each for each in complaints if "Failed to load resource" not in each] == []


@pytest.fixture
def page(browser: Browser, running: Stage, play: Play) -> Iterator[Page]:
    with visit(browser, running) as page:
        yield page


# --- answers ----------------------------------------------------------------------------------

PLACE: dict[str, Any] = {
    "document_id": "d",
    "title": "Ledger restarts",
    "section": "Procedure",
    "source": "handbook/ledger.md",
    "revision": "0123456789ab",
    "modified_at": "2026-01-02T00:00:00+00:00",
    "ingested_at": "2026-01-03T00:00:00+00:00",
}


def cited(n: int) -> dict[str, Any]:
    start = DOCUMENT.index(QUOTES[n - 1])
    span = {"n": n, "start": start, "end": start + len(QUOTES[n - 1]), "quote": QUOTES[n - 1]}
    return PLACE | span | {"link": None, "stale": False}


def written(text: str, *citations: int) -> dict[str, Any]:
    return {"text": text, "citations": list(citations), "mode": "generated"}


def quoted(n: int) -> dict[str, Any]:
    return {"text": QUOTES[n - 1], "citations": [n], "mode": "extractive"}


FIRST = written("A restart starts by draining the queue.", 1)
SECOND = written("Each is signed by the night shift, and the queue is watched.", 2, 1)
INVENTED = "It takes 45 minutes."


def answer(*sentences: Any, mode: str = "generated", **more: Any) -> dict[str, Any]:
    numbers = sorted({n for sentence in sentences for n in sentence["citations"]})
    return {
        "status": "answered",
        "mode": mode,
        "model": MODEL if mode == "generated" else None,
        "answer": " ".join(each["text"] for each in sentences),
        "sentences": sentences,
        "citations": [cited(n) for n in numbers],
        "confidence": 0.9,
        "notice": None,
    } | more


USAGE = AnswerUsage(
    input_tokens=1204,
    output_tokens=56,
    cached_tokens=300,
    cost="0.000482",
    estimated=True,
    attempts=2,
    from_cache=False,
).model_dump()


def traced(*sentences: Any, **more: Any) -> dict[str, Any]:
    """A trace of a model that was given two passages and wrote these sentences."""
    spans = [
        {"document_id": "d", "start": each["start"], "end": each["end"]}
        for each in (cited(2), cited(1))
    ]
    generation: dict[str, Any] = {
        "prompt_version": "1",
        "prompt_sha256": "feedbeef" * 8,
        "prompt_tokens": 1180,
        "passages": spans,
        "model": MODEL,
        "outcome": "completed",
        "attempts": ["cloud: refused after 2 ms"],
        "sentences": sentences,
        "times_ms": {"first_token": 120.5},
    } | more
    candidates = [
        span | {"title": PLACE["title"], "section": "", "ranks": {}, "scores": {}} for span in spans
    ]
    shape = TraceGeneration.model_validate(generation)
    return {"generation": shape.model_dump(), "candidates": candidates}


def verdict(text: str, *citations: int, reason: str | None = None) -> dict[str, Any]:
    kept = reason is None
    fate = {"kept": kept, "reason": reason, "probability": 0.93 if kept else 0.04}
    return {"text": text, "citations": list(citations)} | fate


WHOLE = answer(FIRST, SECOND)


def streamed(final: Any) -> list[tuple[str, Any]]:
    """The events of an answer whose sentences all held, as the service sends them."""
    events: list[tuple[str, Any]] = [("citations", [])]
    for i, sentence in enumerate(final["sentences"]):
        known = {n for each in final["sentences"][: i + 1] for n in each["citations"]}
        events += [("citations", [cited(n) for n in sorted(known)]), ("sentence", sentence)]
    return [*events, ("answer", final)]


def send(page: Page, question: str = QUESTION) -> Locator:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")
    return page.get_by_role("article", name=question).last


def ask(page: Page, play: Play, final: Any) -> Locator:
    """The turn of a question with its answer complete and its reasons open."""
    play.script = streamed(final)
    turn = send(page)
    turn.locator("summary").click()
    return turn


def fact(turn: Locator, term: str) -> Locator:
    return turn.locator("dl div").filter(has=turn.page.get_by_text(term, exact=True)).locator("dd")


# --- while a model writes ---------------------------------------------------------------------


def test_sentences_appear_one_by_one_with_citations_that_work_at_once(
    page: Page, play: Play
) -> None:
    start, middle, end = (threading.Event() for _ in range(3))
    events = streamed(WHOLE)
    play.script = [start, events[0], middle, *events[1:3], end, *events[3:]]
    turn = send(page)
    expect(turn.locator(".waiting")).to_have_text("Reading the sources")
    start.set()
    expect(turn.locator(".waiting")).to_have_text("Writing")
    expect(page.get_by_role("status")).to_have_text("Writing")
    middle.set()
    expect(turn.locator(".sentence")).to_have_count(1)
    expect(turn.locator(".waiting")).to_have_text("Writing")
    turn.get_by_role("button", name="[1]").click()
    expect(page.locator("#source mark")).to_have_text(QUOTES[0])
    turn.locator(".sentence").evaluate("node => node.dataset.same = 'yes'")
    end.set()
    expect(turn.locator("summary")).to_be_visible()
    expect(turn.locator(".waiting")).to_have_count(0)
    expect(turn.locator(".sentence")).to_have_count(2)
    # What one has begun to read, or has opened a citation of, is not drawn anew.
    expect(turn.locator(".sentence").first).to_have_attribute("data-same", "yes")
    expect(turn.locator(".cite").first).to_have_attribute("aria-expanded", "true")
    expect(turn.locator(".cite")).to_have_text(["[1]", "[2]", "[1]"])


def test_the_end_of_an_answer_takes_the_focus_from_nothing(page: Page, play: Play) -> None:
    end = threading.Event()
    play.script = [*streamed(WHOLE)[:3], end, *streamed(WHOLE)[3:]]
    turn = send(page)
    turn.get_by_role("button", name="[1]").focus()
    end.set()
    expect(turn.locator("summary")).to_be_visible()
    expect(turn.locator(".cite").first).to_be_focused()


def test_stopping_hangs_up_and_keeps_what_has_passed_its_check(page: Page, play: Play) -> None:
    play.script = [*streamed(WHOLE)[:3], threading.Event()]
    turn = send(page)
    expect(turn.locator(".sentence")).to_have_count(1)
    page.get_by_role("button", name="Stop").click()
    expect(turn.get_by_text("Stopped before the answer was complete.")).to_be_visible()
    expect(turn.locator(".sentence")).to_have_count(1)
    expect(turn.locator(".waiting")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("Stopped")
    assert play.left.wait(5)  # so that no model writes on for nobody
    play.script = streamed(WHOLE)
    turn.get_by_role("button", name="Ask again").click()
    expect(turn.locator(".sentence")).to_have_count(2)


def test_the_final_answer_replaces_what_was_streamed(page: Page, play: Play) -> None:
    own = answer(quoted(1), mode="extractive", notice="Too little of it held.")
    play.script = [*streamed(WHOLE)[:-1], ("answer", own)]
    turn = send(page)
    expect(turn.locator("summary")).to_be_visible()
    expect(turn.locator(".sentence")).to_have_count(1)
    expect(turn.locator(".sentence")).to_contain_text(QUOTES[0])
    expect(turn.locator(".prose > *")).to_have_count(1)
    expect(turn.locator(".notice")).to_have_text("Too little of it held.")
    expect(turn.locator(".by")).to_have_text("In the sources’ own words")


# --- who wrote it -----------------------------------------------------------------------------


def test_it_says_who_wrote_an_answer(page: Page, play: Play) -> None:
    turn = ask(page, play, WHOLE)
    expect(turn.locator(".by")).to_have_text(
        f"Written by {MODEL} from the sources, every sentence checked"
    )
    expect(turn.locator(".divide")).to_have_count(0)


def test_a_partial_answer_is_divided_where_the_model_stopped(page: Page, play: Play) -> None:
    notice = "The model stopped in the middle."
    final = answer(FIRST, quoted(2), quoted(3), status="partial", notice=notice)
    turn = ask(page, play, final)
    paragraphs = turn.locator(".prose > p")
    expect(paragraphs).to_have_count(3)
    expect(paragraphs.nth(0)).to_contain_text(FIRST["text"])
    expect(paragraphs.nth(1)).to_have_text("From here on in the sources’ own words")
    expect(paragraphs.nth(2)).to_contain_text(QUOTES[1])
    expect(paragraphs.nth(2)).to_contain_text(QUOTES[2])
    expect(turn.locator(".notice")).to_have_text(notice)
    expect(turn.locator(".verdict")).to_have_count(0)  # it is not for the sources that it is part
    expect(turn.locator(".by")).to_contain_text(f"Begun by {MODEL}")
    status = page.get_by_role("status")
    expect(status).to_contain_text(f"{FIRST['text']} From here on in the sources’ own words:")
    expect(status).to_contain_text(notice)


def test_an_answer_of_before_there_were_models_is_the_sources_own(page: Page, play: Play) -> None:
    sentence = {"text": QUOTES[0], "citations": [1]}
    turn = ask(page, play, answer(sentence, mode="extractive"))
    expect(turn.locator(".by")).to_have_text("In the sources’ own words")
    expect(turn.locator(".wrote")).to_have_count(0)
    expect(fact(turn, "Tokens")).to_have_count(0)


def test_text_of_a_model_enters_the_page_as_text(page: Page, play: Play) -> None:
    evil = written(EVIL, 1)
    trace = traced(verdict(EVIL, 1, reason=EVIL), outcome=EVIL, model=EVIL, attempts=[EVIL])
    turn = ask(page, play, answer(evil, model=EVIL, notice=EVIL, trace=trace))
    expect(turn.locator(".sentence")).to_contain_text(EVIL)
    expect(turn.locator("del")).to_have_text(EVIL)
    expect(page.locator(":is(main, dialog) :is(img, script, a)")).to_have_count(0)


# --- why ---------------------------------------------------------------------------------------


def test_the_reasons_show_what_it_cost_and_what_became_of_each_sentence(
    page: Page, play: Play
) -> None:
    reason = "45 is in none of the passages it cites"
    trace = traced(verdict(FIRST["text"], 2), verdict(INVENTED, 7, reason=reason))
    turn = ask(page, play, answer(FIRST, usage=USAGE, trace=trace))
    expect(fact(turn, "Tokens")).to_have_text(
        "1,204 in, 300 of them from the provider’s cache · 56 out · estimated"
    )
    expect(fact(turn, "Cost")).to_have_text("$0.000482")
    expect(fact(turn, "Calls")).to_have_text("2 until one was answered")
    expect(fact(turn, "Prompt")).to_have_text("version 1, 1,180 tokens, 2 passages, feedbeeffeed")
    expect(fact(turn, "Writer")).to_have_text(MODEL)
    expect(turn.get_by_text("1 of 2 sentences passed")).to_be_visible()
    expect(turn.get_by_text("cloud: refused after 2 ms")).to_be_visible()
    kept, removed = turn.locator(".wrote li").all()
    expect(kept).to_contain_text("Kept · support 0.93")
    expect(removed.locator("del")).to_have_text(INVENTED)
    expect(removed).to_contain_text(f"Left out · {reason} · support 0.04")
    expect(removed.get_by_role("button")).to_have_count(0)  # there is no seventh passage
    # Numbers are the model's own, so they open the passages that it was given.
    kept.get_by_role("button", name="Passage 2: Ledger restarts").click()
    expect(page.locator("#source mark")).to_have_text(QUOTES[0])


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({"cost": None}, "not known: there is no price for this model"),
        ({"from_cache": True, "cost": "0"}, "none: the same had been asked before"),
        ({"cost": "1.5"}, "$1.50"),
        ({"cost": "0.0000004"}, "$0.00000040"),
        ({"cost": "0"}, "$0.00"),
    ],
)
def test_a_cost_is_told_as_it_is_known(
    page: Page, play: Play, usage: dict[str, Any], words: str
) -> None:
    turn = ask(page, play, answer(FIRST, usage=USAGE | usage))
    expect(fact(turn, "Cost")).to_contain_text(words)


def test_what_a_failed_model_cost_is_told_of_an_extractive_answer_too(
    page: Page, play: Play
) -> None:
    trace = traced(verdict(INVENTED, 1, reason="no"), outcome="local-gemma stopped in the middle.")
    final = answer(quoted(1), mode="extractive", usage=USAGE, trace=trace)
    turn = ask(page, play, final)
    expect(fact(turn, "Outcome")).to_have_text("local-gemma stopped in the middle.")
    expect(turn.get_by_text("0 of 1 sentence passed")).to_be_visible()
    expect(fact(turn, "Tokens")).to_contain_text("56 out")


# --- too many questions ------------------------------------------------------------------------


def test_after_too_many_questions_it_counts_down_and_offers_to_ask_again(
    page: Page, play: Play
) -> None:
    page.clock.install()
    play.refusals = [problem(429, "Too many requests", Retry_After="75")]
    play.script = streamed(WHOLE)
    turn = send(page)
    card = turn.locator(".failed")
    expect(card).to_contain_text("Too many requests, says the server.")
    expect(card.get_by_role("status")).to_have_text("You can ask again in 75 seconds.")
    expect(page.locator("#live")).to_contain_text("You can ask again in 75 seconds.")
    button = card.get_by_role("button")
    expect(button).to_be_disabled()
    page.clock.run_for(74_000)
    expect(button).to_have_text("Ask again in 1 second")
    expect(button).to_be_disabled()
    page.clock.run_for(1_500)
    expect(card.get_by_role("status")).to_have_text("You can ask again now.")
    button.click()
    expect(turn.locator(".sentence")).to_have_count(2)
    assert len(play.questions) == 2


@pytest.mark.parametrize("stated", [None, "soon", "-5", "0"])
def test_without_a_time_one_can_try_again_at_once(
    page: Page, play: Play, stated: str | None
) -> None:
    play.refusals = [problem(429, "Too many", **({"Retry_After": stated} if stated else {}))]
    expect(send(page).get_by_role("button", name="Try again")).to_be_enabled()


def test_the_time_may_be_a_date(page: Page, play: Play) -> None:
    due = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    play.refusals = [problem(429, "Too many", Retry_After=due)]
    expect(send(page).get_by_role("button", name="Ask again in 5 minutes")).to_be_disabled()


# --- usage -------------------------------------------------------------------------------------


def row(requests: int, tokens: int, cost: str, failures: int = 0) -> dict[str, Any]:
    counts = {"requests": requests, "input_tokens": 9 * tokens, "output_tokens": tokens}
    return counts | {"cached_tokens": tokens, "cost": cost, "failures": failures}


def report(request: Request) -> dict[str, Any]:
    """A report of the days asked for, as `assistant.gateway.usage` makes it: 3 days in 30 with calls."""
    since, until = (date.fromisoformat(request.query_params[name]) for name in ("since", "until"))
    days = [until - timedelta(days=ago) for ago in (20, 3, 0)]
    costs = (row(300, 40_000, "1.25"), row(120, 12_000, "0.4"), row(4, 600, "0.00031", 3))
    budget = {"day": str(until), "used": {"requests": 120, "tokens": 820, "dollars": "0.4"}}
    nothing = {"requests": None, "tokens": None, "dollars": None}
    return {
        "since": str(since),
        "until": str(until),
        "totals": row(424, 52_600, "1.65031", 3),
        "by_day": [{"day": str(d), **c} for d, c in zip(days, costs, strict=True) if d >= since],
        "by_team": [{"team": "", **costs[1]}, {"team": "platform", **costs[0]}],
        "by_model": [{"model": MODEL, **costs[0]}, {"model": "cloud-large", **costs[1]}],
        "by_key": [{"key": "alice", **costs[0]}, {"key": "ci", **costs[1]}],
        "budgets": [
            budget | {"per": "all", "name": "", "limit": nothing | {"requests": 1000}},
            budget | {"per": "team", "name": "platform", "limit": nothing | {"tokens": 1000}},
            budget
            | {
                "per": "key",
                "name": "ci",
                "limit": {"requests": 120, "tokens": 9000, "dollars": "0.5"},
            },
        ],
    }


EMPTY = {"totals": row(0, 0, "0"), "by_day": [], "by_team": [], "by_model": [], "by_key": []}


@contextlib.contextmanager
def dashboard(
    browser: Browser, running: Stage, path: str = "/dashboard", **options: Any
) -> Iterator[Page]:
    """The usage page as an administrator sees it."""
    with visit(browser, running, path, **options) as page:
        sign_in(page, ADMIN)
        yield page


def sign_in(page: Page, key: str) -> None:
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Signed in as")).to_be_visible()


def days_between(query: dict[str, str]) -> int:
    since, until = (date.fromisoformat(query[name]) for name in ("since", "until"))
    return (until - since).days + 1


def test_usage_is_shown_as_figures_in_tables_with_bars_beside_them(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        totals = page.locator(".totals")
        for words in ("424", "3 failed attempts", "473,400", "52,600", "$1.65"):
            expect(totals).to_contain_text(words)
        teams = page.get_by_role("region", name="Usage by team")
        expect(teams.get_by_role("row")).to_have_count(3)
        first = teams.get_by_role("row").nth(1)
        expect(first.get_by_role("rowheader")).to_have_text("platform")
        expect(first.get_by_role("cell")).to_have_text(
            ["77 %", "300", "360,000", "40,000", "40,000", "$1.25", "0"]
        )
        expect(teams.get_by_role("row").nth(2).get_by_role("rowheader")).to_have_text("no team")
        expect(first.locator("svg rect")).to_have_attribute("width", re.compile(r"^76\.9"))
        expect(page.get_by_role("region", name="Usage by model")).to_contain_text(MODEL)
        expect(page.get_by_role("region", name="Usage by key")).to_contain_text("alice")


def test_days_are_columns_and_days_without_calls_are_gaps(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        expect(page.locator(".plot")).to_have_count(2)
        tokens, costs = page.locator(".plot").all()
        assert [len(plot.locator("g").all()) for plot in (tokens, costs)] == [30, 30]
        heights = costs.locator("rect.cost").evaluate_all(
            "all => all.map(r => +r.getAttribute('height'))"
        )
        assert [round(height, 1) for height in heights if height] == [
            62.5,
            20.0,
            0.8,
        ]  # the last is seen
        assert heights.index(62.5) == 9
        expect(costs.locator(".scale span")).to_have_text(["$2.00", "$1.00", "$0.00"])
        expect(tokens.locator(".scale span")).to_have_text(["500K", "250K", "0"])
        expect(tokens.locator("title").nth(29)).to_contain_text("5,400 in, 600 out")
        edges = "bar => ['y', 'height'].map(name => +bar.getAttribute(name))"
        top, height = tokens.locator("rect.in").nth(9).evaluate(edges)
        assert (top + height, height) == pytest.approx((100, 72))
        above, out = tokens.locator("rect.out").nth(9).evaluate(edges)
        assert (above + out, out) == pytest.approx((top, 8))
        drawn = costs.locator(".drawn").bounding_box()
        bar = costs.locator("rect.cost").nth(9).bounding_box()
        assert drawn
        assert bar
        assert bar["height"] == pytest.approx(0.625 * drawn["height"], rel=0.03)
        page.get_by_text("Figures by day").click()
        table = page.get_by_role("region", name="Usage by day (UTC)")
        expect(table.get_by_role("row")).to_have_count(31)
        expect(table.get_by_role("row").nth(1).get_by_role("cell")).to_have_text(
            ["4", "5,400", "600", "600", "$0.00031", "3"]
        )


def test_budgets_are_meters_that_say_when_they_are_used_up(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        meters = page.get_by_role("meter")
        expect(meters).to_have_count(5)
        everybody = page.get_by_role("meter", name="Everybody together, requests")
        expect(everybody).to_have_attribute("aria-valuetext", "120 of 1,000 calls, 12 %")
        expect(everybody).to_have_attribute("aria-valuenow", "120")
        platform = page.get_by_role("meter", name="Team platform, tokens")
        expect(platform.locator("rect")).to_have_class("nearly")
        spent = page.get_by_role("meter", name="Key ci, requests")
        expect(spent).to_have_attribute("aria-valuetext", "120 of 120 calls, used up")
        expect(spent.locator("rect")).to_have_class("spent")
        expect(page.get_by_role("meter", name="Key ci, dollars")).to_have_attribute(
            "aria-valuetext", "$0.40 of $0.50, 80 %"
        )


def test_the_time_can_be_chosen_and_is_kept_in_the_address(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        expect(page.get_by_label("30 days")).to_be_checked()
        expect(page.get_by_role("status")).to_contain_text("424 calls from")
        page.get_by_label("7 days").check()
        expect(page.locator(".plot g")).to_have_count(2 * 7)
        assert parse_qs(urlsplit(page.url).query) == {"days": ["7"]}
        page.reload()
        expect(page.locator(".plot g")).to_have_count(2 * 7)
        assert [days_between(query) for query in play.queries] == [30, 7, 7]
        assert play.queries[0]["until"] == str(datetime.now(UTC).date())
        page.goto("/dashboard?days=1000000")
        expect(page.get_by_label("30 days")).to_be_checked()


def test_the_figures_are_downloaded_with_the_key(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        query = play.queries[-1]
        assert days_between(query) == 30
        name = f"casebook-usage-{query['since']}-{query['until']}.csv"
        assert download.value.suggested_filename == name
        assert download.value.path().read_text() == "day,requests\n2026-01-02,3\n"


def test_a_download_that_fails_is_told_of(browser: Browser, running: Stage, play: Play) -> None:
    with dashboard(browser, running) as page:
        page.route("**/usage.csv?*", lambda route: route.abort())
        page.get_by_role("button", name="Download CSV").click()
        expect(page.get_by_role("alert")).to_contain_text("Casebook can’t be reached")
        expect(page.get_by_role("button", name="Download CSV")).to_be_enabled()


def test_without_calls_it_says_so_and_still_shows_budgets(
    browser: Browser, running: Stage, play: Play
) -> None:
    play.usage = EMPTY
    with dashboard(browser, running) as page:
        expect(page.get_by_text("No calls in these days.")).to_be_visible()
        expect(page.get_by_role("meter")).to_have_count(5)
        expect(page.locator(".plot")).to_have_count(0)
        expect(page.get_by_role("button", name="Download CSV")).to_be_hidden()


def test_usage_is_for_administrators(browser: Browser, running: Stage, play: Play) -> None:
    with visit(browser, running, "/dashboard") as page:
        card = page.locator(".failed")
        expect(card).to_contain_text("Sign in with an administrator’s key to see it.")
        card.get_by_role("button", name="Sign in").click()
        page.get_by_label("Key", exact=True).fill(READER)
        page.keyboard.press("Enter")
        expect(card).to_contain_text("You are signed in as reader, who is no administrator.")
        assert play.queries == []
        page.get_by_role("button", name="Signed in as reader").click()
        page.get_by_role("button", name="Sign out").click()
        sign_in(page, ADMIN)
        expect(page.locator(".totals")).to_be_visible()
        page.route("**/usage?*", lambda _: None)  # what was shown does not wait for it
        page.get_by_role("button", name="Signed in as root").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator(".totals")).to_have_count(0)
        assert "424" not in page.content()


def test_a_revoked_key_takes_the_figures_away(browser: Browser, running: Stage, play: Play) -> None:
    with dashboard(browser, running) as page:
        expect(page.locator(".totals")).to_be_visible()
        play.revoked = ADMIN
        page.get_by_label("7 days").check()
        expect(page.locator("#refused")).to_contain_text("Your key is not accepted any more.")
        expect(page.locator(".totals")).to_have_count(0)
        page.get_by_role("button", name="Go on without").click()
        expect(page.locator(".failed")).to_contain_text("Sign in with an administrator’s key")
        assert page.evaluate("sessionStorage.length") == 0


def test_the_chat_page_leads_administrators_to_it(
    browser: Browser, running: Stage, play: Play
) -> None:
    with visit(browser, running) as page:
        link = page.get_by_role("link", name="Usage")
        expect(page.locator("#examples")).to_contain_text(QUESTION)
        expect(link).to_be_hidden()
        sign_in(page, READER)
        expect(link).to_be_hidden()
        page.get_by_role("button", name="Signed in as").click()
        page.get_by_role("button", name="Sign out").click()
        sign_in(page, ADMIN)
        link.click()
        expect(page.locator(".totals")).to_be_visible()  # the key has come along
        page.get_by_role("link", name="Ask").click()
        expect(page.get_by_role("link", name="Usage")).to_be_visible()


def test_at_a_service_that_nobody_has_claimed_everybody_is_led_to_it(
    browser: Browser, running: Stage, play: Play
) -> None:
    play.unclaimed = True
    with visit(browser, running) as page:
        page.get_by_role("link", name="Usage").click()
        expect(page.locator(".totals")).to_be_visible()


def test_a_failing_server_is_told_of_and_asked_again(
    browser: Browser, running: Stage, play: Play
) -> None:
    with dashboard(browser, running) as page:
        expect(page.locator(".totals")).to_be_visible()
        page.route("**/usage?*", lambda route: route.abort(), times=1)
        page.get_by_label("90 days").check()
        expect(page.locator(".failed")).to_contain_text("Casebook can’t be reached")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".plot g")).to_have_count(2 * 90)


# --- looks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_both_pages_fit_phone_and_laptop(
    browser: Browser, running: Stage, play: Play, artifacts_dir: Path, size: Any, scheme: Any
) -> None:
    def look(page: Page, name: str) -> None:
        path = artifacts_dir / f"generated-{size['width']}-{scheme}-{name}.png"
        page.screenshot(path=path, full_page=name.startswith("usage"))
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]

    options = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
    with visit(browser, running, **options) as page:
        sign_in(page, ADMIN)
        play.script = [*streamed(WHOLE)[:3], threading.Event()]
        expect(send(page).locator(".waiting")).to_be_visible()
        page.wait_for_timeout(400)  # it shows itself only if there is a wait
        look(page, "writing")
        page.get_by_role("button", name="Stop").click()
        reason = "45 is in none of the passages it cites"
        trace = traced(verdict(FIRST["text"], 2), verdict(INVENTED, 1, reason=reason))
        notice = "The model stopped in the middle. What the sources say themselves follows."
        final = answer(FIRST, quoted(2), quoted(3), status="partial", notice=notice)
        turn = ask(page, play, final | {"usage": USAGE, "trace": trace})
        turn.evaluate("turn => turn.scrollIntoView()")
        look(page, "partial")
        turn.get_by_text("What the model wrote").scroll_into_view_if_needed()
        look(page, "why")
        play.refusals = [problem(429, "Too many requests", Retry_After="30")]
        expect(send(page).locator(".failed")).to_be_visible()
        look(page, "refused")
    with dashboard(browser, running, **options) as page:
        expect(page.locator(".totals")).to_be_visible()
        look(page, "usage")
        play.usage = EMPTY
        page.get_by_label("7 days").check()
        expect(page.get_by_text("No calls in these days.")).to_be_visible()
        look(page, "usage-empty")

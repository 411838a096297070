"""The pages under attack: public collections of payloads through every text that a page shows, in a real
browser. Nothing of them runs, nothing is asked of another machine, no element or attribute appears that
harmless words would not bring, and the words themselves are shown as they are.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Browser, Page, expect

from assistant.api import CONTENT_SECURITY_POLICY, HEADERS, WEB
from tests.assistant.services import served
from tests.conftest import ROOT, casebook, serving

pytestmark = pytest.mark.e2e

ATTACKS = ROOT.parent / "shared" / "eval" / "attacks"
ADMIN = "cbk_admin"
HARMLESS = "plain words"
NOW = "2026-01-03T00:00:00+00:00"

WRAPPED = (
    "javascript:{0}",
    "data:text/html,{0}",
    "https://elsewhere.example/{0}",
    "//elsewhere.example/{0}",
    "https://x@elsewhere.example\\{0}",
    " javascript:{0}",
    "java\tscript:{0}",
    "vbscript:{0}",
)
"""Addresses made of a payload, for places that hold one."""

WATCH = """
window.attacked = [];
for (const name of ["alert", "confirm", "prompt", "print", "open"])
  window[name] = (...given) => { window.attacked.push(`${name}(${given})`); };
document.addEventListener("securitypolicyviolation", (event) =>
  window.attacked.push(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
window.addEventListener("error", (event) => window.attacked.push(`error: ${event.message}`));
"""
"""Notes what the payloads call. They call alert above all; any other name that is not there raises an error,
which is noted too."""

SHAPES = """
() => [...document.querySelectorAll("*")].map((node) => {
  const read = (name) => Object.getOwnPropertyDescriptor(Element.prototype, name).get.call(node);
  const names = Element.prototype.getAttributeNames.call(node).sort();
  return `${read("namespaceURI").split("/").at(-1)}:${read("localName")}[${names}]`;
})
"""
"""Read by the prototype's own getters: a form's fields can be named as its properties."""

ADDRESSES = """
() => [...document.querySelectorAll("*")].flatMap((node) =>
  ["href", "src", "action", "formaction", "data", "poster", "srcset", "xlink:href", "background"]
    .filter((name) => node.hasAttribute(name))
    .map((name) => [node.localName, name, node.getAttribute(name), node.protocol ?? "", node.rel ?? ""]))
"""


def payloads() -> list[str]:
    """Every payload there is that holds anything to see, as a JSON string can carry it."""
    found = []
    for name in ("dompurify_payloads.json", "naughty_strings.json"):
        if not (path := ATTACKS / name).exists():
            pytest.skip(f"the collection of payloads is not here: {path}")
        for each in json.loads(path.read_text(encoding="utf-8")):
            found.append(each["payload"] if isinstance(each, dict) else each)
    return [text for text in dict.fromkeys(found) if text.strip()]


# --- a server that says what it is told to ----------------------------------------------------


@dataclass
class Play:
    """What the server answers with: JSON by path, a status, and the policy it sends."""

    told: dict[str, Any] = field(default_factory=dict)
    refusal: Response | None = None
    policy: str = CONTENT_SECURITY_POLICY


def player(play: Play) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(HEADERS | {"Content-Security-Policy": play.policy})
        return response

    @app.post("/ask")
    def ask() -> Response:
        if play.refusal is not None:
            return play.refusal
        stream = "".join(
            f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in play.told["/ask"]
        )
        return Response(stream, media_type="text/event-stream")

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/dashboard")
    def dashboard() -> FileResponse:
        return FileResponse(WEB / "usage.html")

    app.mount("/static", StaticFiles(directory=WEB))

    @app.get("/{path:path}")
    def told(path: str) -> Response:
        if play.refusal is not None and not path.startswith("me"):
            return play.refusal
        found = play.told.get(f"/{path.partition('/')[0]}")
        return JSONResponse(found) if found is not None else Response(status_code=404)

    return app


@pytest.fixture(scope="module")
def play() -> Play:
    return Play()


@pytest.fixture(scope="module")
def address(play: Play) -> Iterator[str]:
    with served(player(play)) as address:
        yield address


@pytest.fixture(autouse=True)
def fresh(play: Play) -> None:
    play.__dict__.update(Play().__dict__)


@dataclass
class Watched:
    """A page, and whatever came of what it shows."""

    page: Page
    address: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def came(self) -> list[str]:
        """What ran, was refused by the policy, was said on the console, or was asked of others."""
        ran: list[str] = self.page.evaluate("window.attacked")
        elsewhere = [url for url in self.asked if not url.startswith((self.address, "blob:"))]
        said = [line for line in self.said if "Failed to load resource" not in line]
        return [*ran, *said, *elsewhere]

    def shapes(self) -> set[str]:
        """Every kind of element that is in the document, with the names of its attributes."""
        return set(self.page.evaluate(SHAPES))

    def unsafe_addresses(self) -> list[Any]:
        """Addresses in the document that are neither the page's own nor a web link that opens apart."""
        found = []
        for tag, name, value, protocol, rel in self.page.evaluate(ADDRESSES):
            own = value.startswith(("/", "#")) and not value.startswith("//")
            web = tag == "a" and name == "href" and protocol in ("http:", "https:")
            if not own and not (web and rel == "noopener noreferrer"):
                found.append((tag, name, value))
        return found


@contextmanager
def watched(browser: Browser, address: str, path: str = "/", **storage: str) -> Iterator[Watched]:
    """A page under watch; at its end nothing has come of what was shown."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
    page = context.new_page()
    page.add_init_script(WATCH)
    for name, value in storage.items():
        page.add_init_script(f"sessionStorage.setItem({json.dumps(name)}, {json.dumps(value)})")
    seen = Watched(page, address)
    page.on("console", lambda message: seen.said.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
    page.on(
        "dialog", lambda dialog: (seen.said.append(f"dialog: {dialog.message}"), dialog.dismiss())
    )
    page.on("popup", lambda popup: seen.said.append(f"popup: {popup.url}"))
    context.on("request", lambda request: seen.asked.append(request.url))
    context.route(lambda url: not url.startswith(address), lambda route: route.abort())
    page.goto(path)
    yield seen
    context.close()


# --- what it tells ----------------------------------------------------------------------------


def citation(n: int, text: str, **changes: Any) -> dict[str, Any]:
    return {
        "n": n, "document_id": "d", "title": text, "section": text, "heading_path": [text, text],
        "source_name": text, "source": text, "link": None, "kind": text, "revision": text,
        "start": 0, "end": len(text), "quote": text, "score": 0.5, "modified_at": NOW,
        "ingested_at": NOW, "stale": True, "candidate": False,
    } | changes  # fmt: skip


def trace(texts: list[str]) -> dict[str, Any]:
    """Everything that "why this answer" shows."""
    spans = [{"document_id": "d", "start": 0, "end": 1, "title": t, "section": t} for t in texts]
    named = dict.fromkeys(texts, 0.5)
    return {
        "query": {
            "asked": texts[0],
            "searched": " ".join(texts),
            "corrections": dict(zip(texts, texts, strict=True)),
            "from_conversation": False,
        },
        "shelves": [[text] for text in texts],
        "candidates": [
            span | {"ranks": {text: 1}, "scores": {text: 0.5}}
            for span, text in zip(spans[:20], texts[:20], strict=True)
        ],
        "considered": [],
        "confidence": {"value": 0.9, "threshold": 0.5, "parts": named},
        "reason": texts[0],
        "models": {text: text for text in texts},
        "times_ms": named,
        "generation": {
            "prompt_version": texts[0],
            "prompt_sha256": texts[0],
            "prompt_tokens": 1,
            "passages": spans,
            "model": texts[0],
            "outcome": texts[0],
            "attempts": texts,
            "times_ms": named,
            "sentences": [
                {
                    "text": text,
                    "kept": n % 2 == 0,
                    "reason": text,
                    "probability": 0.5,
                    "citations": [n + 1],
                }
                for n, text in enumerate(texts)
            ],
        },
    }


def answer(texts: list[str], status: str = "answered", **changes: Any) -> list[tuple[str, Any]]:
    """The events of an answer that holds these texts wherever an answer holds any."""
    citations = [citation(n, text, **changes) for n, text in enumerate(texts, 1)]
    sentences = [
        {"text": text, "citations": [n], "mode": "generated"} for n, text in enumerate(texts, 1)
    ]
    final = {
        "status": status, "mode": "generated", "answer": " ".join(texts),
        "sentences": sentences if status != "abstained" else [], "citations": citations,
        "confidence": 0.9, "index_state": texts[0], "model": texts[0],
        "usage": None, "notice": "\n".join(texts), "trace": trace(texts),
    }  # fmt: skip
    events: list[tuple[str, Any]] = [("citations", citations)]
    events += [("sentence", sentence) for sentence in final["sentences"][:3]]
    return [*events, ("answer", final)]


SOURCE = {"type": "git", "documents": 2, "newest": NOW, "synced_at": NOW, "stale": True}


def sources(texts: list[str]) -> dict[str, Any]:
    syncs = {"failed": 1, "failed_at": NOW, "next_run": NOW}
    return {
        "sources": [
            SOURCE
            | {
                "name": text,
                "type": f"{text} ",
                "kinds": {text: 1, "note": 1},
                "sync": syncs | {"revision": text, "error": text},
            }
            for text in texts
        ]
    }


def standing(texts: list[str]) -> dict[str, Any]:
    parts = [{"name": text, "standing": "down", "words": text} for text in texts]
    return {"standing": "down", "words": " ".join(texts), "parts": parts}


def usage(texts: list[str]) -> dict[str, Any]:
    totals = {
        "requests": 1,
        "input_tokens": 2,
        "output_tokens": 3,
        "cached_tokens": 1,
        "cost": "0.1",
        "failures": 1,
    }
    return {
        "since": "2026-01-01", "until": "2026-01-02", "totals": totals,
        "by_day": [{"day": "2026-01-01", **totals}],
        "by_team": [{"team": text, **totals} for text in texts],
        "by_model": [{"model": text, **totals} for text in texts],
        "by_key": [{"key": text, **totals} for text in texts],
        "budgets": [
            {"per": "key", "name": text, "day": "2026-01-02", "used": {"requests": 1, "tokens": 5, "dollars": "0.1"},
             "limit": {"requests": 2, "tokens": 10, "dollars": "1"}}
            for text in texts
        ],
    }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a page was: the shapes of its elements, and its text."""

    shapes: set[str]
    text: str
    article: str


def shown(
    browser: Browser,
    address: str,
    play: Play,
    act: Callable[[Page], Any],
    told: dict[str, Any],
    path: str = "/",
    **storage: str,
) -> Outcome:
    """What a page is after it was told something and somebody acted on it; nothing has come of it."""
    play.told = {"/me": NOBODY, "/suggestions": {"questions": []}} | told
    with watched(browser, address, path, **storage) as seen:
        act(seen.page)
        assert seen.came() == []
        assert seen.unsafe_addresses() == []
        article = seen.page.locator("#source article")
        return Outcome(
            seen.shapes(),
            str(seen.page.evaluate("document.body.textContent")),
            str(article.text_content()) if article.count() else "",
        )


NOBODY = {"name": "anonymous", "kind": "anonymous", "administrator": False, "labels": []}
SOMEBODY = {"name": "root", "kind": "key", "administrator": True, "labels": []}
LINK = "xhtml:a[href,rel,target]"


def asked(page: Page) -> None:
    """Ask, wait for the whole answer, and open why it came about."""
    page.get_by_role("textbox", name="Your question").fill("Anything?")
    page.keyboard.press("Enter")
    told(page)


def told(page: Page) -> None:
    summary = page.locator(".turn summary").last
    expect(summary).to_be_visible(timeout=60_000)
    summary.evaluate("node => node.click()")


def opened(page: Page) -> None:
    """Ask, and open the document that the answer is from."""
    asked(page)
    page.locator(".card .link").first.evaluate("node => node.click()")
    expect(page.locator("#source article")).to_be_visible(timeout=60_000)


def failed(page: Page) -> None:
    page.get_by_role("textbox", name="Your question").fill("Anything?")
    page.keyboard.press("Enter")
    expect(page.locator(".failed").last).to_be_visible(timeout=60_000)


def looked_at_sources(page: Page) -> None:
    """Open the list of sources, then the filters, and choose every one."""
    page.locator("#sources").click()
    expect(page.locator("#source .cards")).to_be_visible(timeout=60_000)
    page.locator("#filter").evaluate("node => node.click()")
    expect(page.locator("#filters input[type=checkbox]")).not_to_have_count(0, timeout=60_000)
    boxes = "[...document.querySelectorAll('#filters input[type=checkbox]')]"
    page.evaluate(f"{boxes}.filter((box, n) => n % 50 === 0).forEach((box) => box.click())")
    page.locator("#filter").evaluate("node => { node.click(); node.click(); }")


def harmless(count: int) -> list[str]:
    return [f"{HARMLESS} {n}" for n in range(count)]


def missing(texts: list[str], outcome: Outcome) -> list[str]:
    return [text for text in texts if text not in outcome.text]


# --- payloads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["answered", "abstained"])
def test_payloads_in_an_answer_are_words(
    browser: Browser, address: str, play: Play, status: str
) -> None:
    hostile = payloads()
    calm = shown(browser, address, play, asked, {"/ask": answer(harmless(len(hostile)), status)})
    seen = shown(browser, address, play, asked, {"/ask": answer(hostile, status)})
    # A source that is a web address is a link to it: one that opens apart, as is checked for each.
    assert seen.shapes - calm.shapes <= {LINK}
    assert missing(hostile, seen) == []


def test_no_address_but_one_of_the_web_becomes_a_link(
    browser: Browser, address: str, play: Play
) -> None:
    texts = payloads()
    hostile = [WRAPPED[n % len(WRAPPED)].format(text) for n, text in enumerate(texts + texts[:-1])]
    events = answer(hostile[:1])
    events[-1][1]["citations"] = [
        citation(n, "t", link=text, source=text[::-1] if n % 2 else text)
        for n, text in enumerate(hostile, 1)
    ]
    calm = shown(
        browser, address, play, asked, {"/ask": answer(["plain"], link="https://a.example/")}
    )
    seen = shown(browser, address, play, asked, {"/ask": events})
    assert seen.shapes - calm.shapes == set()


def a_document(texts: list[str]) -> str:
    """Each of the texts in every form that markdown has."""
    forms = (
        "{0}", "# {0}", "### {0}", "- {0}", "  1. {0}", "**{0}**", "`{0}`", "> {0}", "| {0} | x |",
        "[{0}](https://there.example/x)", "[x]({0})", "[x](javascript:{0})", "[x](https://a.example/{0})",
        "![x]({0})", "<{0}>", "```{0}\n{0}\n```", "    {0}",
    )  # fmt: skip
    return "\n\n".join(form.format(text) for text in texts for form in forms)


def test_payloads_in_a_document_are_its_text_and_nothing_else(
    browser: Browser, address: str, play: Play
) -> None:
    def told_of(texts: list[str]) -> dict[str, Any]:
        text = a_document(texts)
        found = {
            "source": " ".join(texts),
            "text": text,
            "metadata": dict.fromkeys(texts, texts[0]),
        }
        read = citation(1, " ".join(texts)) | {"id": "d"} | found
        cited = answer(["x"], start=0, end=len(text) // 2, quote=text[: len(text) // 2])
        return {"/ask": cited, "/documents": read}

    hostile = payloads()
    calm = shown(browser, address, play, opened, told_of(harmless(9)))
    seen = shown(browser, address, play, opened, told_of(hostile))
    assert seen.shapes - calm.shapes == set()
    assert seen.article == a_document(hostile)


def test_payloads_in_names_of_sources_are_words(browser: Browser, address: str, play: Play) -> None:
    hostile = payloads()
    calm = shown(
        browser,
        address,
        play,
        looked_at_sources,
        {"/sources": sources(harmless(9)), "/status": standing(harmless(9))},
    )
    seen = shown(
        browser,
        address,
        play,
        looked_at_sources,
        {"/sources": sources(hostile), "/status": standing(hostile)},
    )
    assert seen.shapes - calm.shapes == set()
    assert missing(hostile, seen) == []


def test_payloads_as_suggestions_are_words(browser: Browser, address: str, play: Play) -> None:
    def looked(page: Page) -> None:
        expect(page.locator("#examples li")).not_to_have_count(0)

    hostile = payloads()
    calm = shown(browser, address, play, looked, {"/suggestions": {"questions": harmless(3)}})
    seen = shown(browser, address, play, looked, {"/suggestions": {"questions": hostile}})
    assert seen.shapes - calm.shapes == set()
    assert missing(hostile, seen) == []


def test_payloads_as_a_caller_are_words(browser: Browser, address: str, play: Play) -> None:
    def looked(page: Page) -> None:
        button = page.locator("#who")
        expect(button).to_have_class(re.compile("in"))
        button.evaluate("node => node.click()")
        expect(page.locator("#account")).to_be_visible()

    hostile = payloads()
    told = {
        "/me": SOMEBODY | {"name": " ".join(hostile), "labels": hostile, "administrator": False}
    }
    calm_told = {"/me": SOMEBODY | {"administrator": False, "labels": ["public"]}}
    key = {"casebook.key": ADMIN}
    calm = shown(browser, address, play, looked, calm_told, **key)
    seen = shown(browser, address, play, looked, told, **key)
    assert seen.shapes - calm.shapes == set()
    assert missing(hostile, seen) == []


@pytest.mark.parametrize("status", [403, 422, 429, 503])
def test_payloads_in_an_error_are_words(
    browser: Browser, address: str, play: Play, status: int
) -> None:
    def problem(texts: list[str]) -> None:
        said = {"title": texts[0], "detail": "\n".join(texts), "status": status, "errors": texts}
        play.refusal = JSONResponse(
            said, status, {"Retry-After": "3600"}, media_type="application/problem+json"
        )

    hostile = payloads()
    problem(harmless(2))
    calm = shown(browser, address, play, failed, {})
    problem(hostile)
    seen = shown(browser, address, play, failed, {})
    assert seen.shapes - calm.shapes == set()
    assert missing(hostile, seen) == []


def test_an_error_that_is_a_page_is_not_shown_as_one(
    browser: Browser, address: str, play: Play
) -> None:
    play.refusal = Response("".join(payloads()), 502, media_type="text/html")
    seen = shown(browser, address, play, failed, {})
    assert "The server answered 502" in seen.text


def test_payloads_in_an_event_of_failure_are_words(
    browser: Browser, address: str, play: Play
) -> None:
    hostile = payloads()
    said = {"title": " ".join(hostile), "status": 500, "detail": "\n".join(hostile)}
    seen = shown(browser, address, play, failed, {"/ask": [("citations", []), ("error", said)]})
    assert missing(hostile, seen) == []


def test_payloads_in_the_address_are_words(browser: Browser, address: str, play: Play) -> None:
    """Each as a question that a link asks, and as a filter that it sets."""
    hostile = [text for text in payloads() if len(text) < 300 and text == text.strip()]
    calm = shown(browser, address, play, told, {"/ask": answer(["x"])}, "/?q=a&source=b&kind=c")
    for start in range(0, len(hostile), 100):
        part = hostile[start : start + 100]
        named = urlencode([(name, text) for text in part for name in ("source", "kind")])
        question = quote(" ".join(part[:25]))
        path = f"/?q={question}&{named}&since={quote(part[0])}"
        seen = shown(browser, address, play, told, {"/ask": answer(["x"])}, path)
        assert {each for each in seen.shapes if "h2" not in each} <= calm.shapes
        assert " ".join(part[:25]) in seen.text


def test_payloads_on_the_page_of_usage_are_words(
    browser: Browser, address: str, play: Play
) -> None:
    def looked(page: Page) -> None:
        expect(page.locator("#figures .totals")).to_be_visible(timeout=60_000)

    hostile = payloads()
    key = {"casebook.key": ADMIN}
    calm_told = {"/me": SOMEBODY, "/usage": usage(harmless(3))}
    calm = shown(browser, address, play, looked, calm_told, "/dashboard", **key)
    told = {"/me": SOMEBODY | {"name": " ".join(hostile)}, "/usage": usage(hostile)}
    seen = shown(browser, address, play, looked, told, "/dashboard", **key)
    assert seen.shapes - calm.shapes == set()
    assert missing(hostile, seen) == []


def test_something_that_runs_would_be_seen(browser: Browser, address: str, play: Play) -> None:
    """The test of the tests: without the policy, put in as markup, the payloads run and are noticed."""
    play.policy = "default-src * 'unsafe-inline' data:"
    play.told = {"/me": NOBODY, "/suggestions": {"questions": []}}
    with watched(browser, address) as seen:
        calm = seen.shapes()
        seen.page.evaluate(
            "html => document.body.insertAdjacentHTML('beforeend', html)", "".join(payloads())
        )
        seen.page.wait_for_timeout(300)
        assert any("alert" in each for each in seen.came())
        assert any("://" in each and not each.startswith(address) for each in seen.came())
        assert seen.unsafe_addresses()
        assert len(seen.shapes() - calm) > 50


# --- the policy -------------------------------------------------------------------------------

IMAGE = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
PROBES = {
    "script-src": ("import('data:text/javascript,0').catch(() => 0)", "script-src 'self' data:"),
    "style-src": (
        "document.head.append(Object.assign(document.createElement('style'), {textContent: 'i{}'}))",
        "style-src 'self' 'unsafe-inline'",
    ),
    "img-src": (f"new Image().src = '{IMAGE}'", "img-src 'self' data:"),
    "connect-src": ("fetch('data:text/plain,x').catch(() => 0)", "connect-src 'self' data:"),
    "frame-src": (
        "document.body.append(Object.assign(document.createElement('iframe'), {src: 'data:text/html,x'}))",
        "default-src data:",
    ),
    "media-src": (
        "document.body.append(Object.assign(document.createElement('audio'), {src: 'data:audio/wav,x'}))",
        "default-src data:",
    ),
    "font-src": ("new FontFace('x', 'url(data:font/woff2,x)').load().catch(() => 0)", "default-src data:"),
    "base-uri": (
        "document.head.append(Object.assign(document.createElement('base'), {href: '/elsewhere/'}))",
        "base-uri 'self'",
    ),
    "form-action": (
        "document.body.appendChild(Object.assign(document.createElement('form'), {target: '_blank'})).submit()",
        "form-action 'self'",
    ),
    "require-trusted-types-for": (
        "try { document.createElement('p').innerHTML = '<b>x</b>' } catch {}",
        None,
    ),
    "trusted-types": ("try { trustedTypes.createPolicy('x', {}) } catch {}", None),
}  # fmt: skip
"""By directive: what it forbids, and what it would have to be for that to be allowed (None: not there). All
kinds of content that have no directive of their own fall under default-src, of which three are tried here."""


def without(directive: str, instead: str | None) -> str:
    """The policy with another directive in one's place."""
    name = (instead or directive).split()[0]
    kept = [each for each in CONTENT_SECURITY_POLICY.split("; ") if each.split()[0] != name]
    return "; ".join([*kept, instead] if instead else kept)


@pytest.mark.parametrize("directive", PROBES)
def test_each_directive_forbids_what_it_is_there_for(
    browser: Browser, address: str, play: Play, directive: str
) -> None:
    probe, instead = PROBES[directive]
    play.told = {"/me": NOBODY, "/suggestions": {"questions": []}}
    refused = []
    for policy in (CONTENT_SECURITY_POLICY, without(directive, instead)):
        play.policy = policy
        with watched(browser, address) as seen:
            seen.page.evaluate(f"() => {{ {probe} }}")
            seen.page.wait_for_timeout(100)
            told = seen.page.evaluate("window.attacked")
            refused.append(any(each.startswith(f"policy: {directive}") for each in told))
    assert refused == [True, False]


@pytest.mark.parametrize("directive", ["script-src", "style-src", "img-src", "connect-src"])
def test_nothing_that_the_policy_allows_can_be_forbidden(
    browser: Browser, address: str, play: Play, directive: str
) -> None:
    play.told = {"/me": NOBODY, "/suggestions": {"questions": []}}
    play.policy = without(directive, f"{directive} 'none'")
    with watched(browser, address) as seen:
        seen.page.wait_for_timeout(200)
        assert [each for each in seen.came() if "violates" in each or each.startswith("policy:")]


def test_no_page_may_frame_the_pages(browser: Browser, address: str, play: Play) -> None:
    play.told = {"/me": NOBODY, "/suggestions": {"questions": []}}
    frame = f"<iframe src='{address}/'></iframe>"
    framed = []
    for policy in (CONTENT_SECURITY_POLICY, without("frame-ancestors", "frame-ancestors 'self'")):
        play.policy = policy
        page = browser.new_page()
        page.route(f"{address}/outer", lambda it: it.fulfill(body=frame, content_type="text/html"))
        page.goto(f"{address}/outer")
        page.wait_for_timeout(500)
        framed.append(page.frame_locator("iframe").locator("#composer").count())
        page.close()
    assert framed == [0, 1]


# --- from a file to the page ------------------------------------------------------------------

SUBJECT = "How is the widget calibrated?"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real service over documents whose names, front matter, headings and words are payloads."""
    folder = tmp_path_factory.mktemp("service")
    docs = folder / "corpus"
    docs.mkdir()
    hostile = payloads()
    named = [
        text
        for text in hostile
        if "/" not in text and len(text.encode()) < 200 and text.isprintable()
    ]
    for number, text in enumerate(hostile[:: len(hostile) // 60]):
        name = named[number * 7 % len(named)].strip(". ") or "x"
        front = {"title": text, "kind": text, "tags": [text], "owner": text, text[:80]: text}
        body = f"# {text}\n\n## {text[:150]}\n\nThe widget is calibrated by {text}\n\nThe widget is calibrated daily.\n"
        page = f"---\n{json.dumps(front)}\n---\n{body}"
        (docs / f"{number}{name}.md").write_text(page, encoding="utf-8", errors="replace")
    html = "".join(f"<h2>Widget</h2><p>The widget is calibrated. {text}</p>" for text in hostile)
    (docs / "all.html").write_text(html, encoding="utf-8", errors="replace")
    done = casebook("ingest", "--json", cwd=folder)
    assert done.returncode in (0, 4), done.stderr
    assert json.loads(done.stdout)["new"] > 40
    with serving(folder) as address:
        yield address


def test_payloads_in_real_files_are_words(browser: Browser, ingested: str) -> None:
    with watched(browser, ingested) as seen:
        page = seen.page
        expect(page.locator("#examples button")).not_to_have_count(0)
        for question in (SUBJECT, "What is the widget calibrated by?", "Who boils tungsten?"):
            page.get_by_role("textbox", name="Your question").fill(question)
            page.keyboard.press("Enter")
            told(page)
            expect(page.locator("#stop")).to_be_hidden()
        for button in page.locator(".card .link").all()[:8]:
            button.evaluate("node => node.click()")
            expect(page.locator("#source article")).to_be_visible()
            page.keyboard.press("Escape")
        looked_at_sources(page)
        assert seen.came() == []
        assert seen.unsafe_addresses() == []
        assert not [
            shape
            for shape in seen.shapes()
            if re.match(r"xhtml:(img|iframe|object|embed|style|base)\b|.*\bon\w+", shape)
        ]

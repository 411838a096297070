"""Jira's issues, from the REST API of Server, Data Center or Cloud, or from export files."""

import base64
import html
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from index.errors import ParseError
from ingest.parsers import links
from ingest.parsers.html import from_soup
from ingest.parsers.parsed import reading
from ingest.sources.http import Clock, HttpClient, Reply, Sleep, parse_address, read_token
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

OVERLAP = timedelta(hours=12, minutes=10)
"""Before the last sync began, this much is searched again: JQL reads a time in the account's own
zone, which is at most 12 hours behind UTC, and clocks differ.
"""

RELIST_AFTER = 24 * 3600
"""Seconds between full listings, which find what was deleted or no longer fits the JQL."""

PAGE = 100
KEYS_PAGE = 1000
"""Issues a page, whole and by key alone; Jira may give fewer."""

_FIELDS = (
    "summary,description,status,resolution,resolutiondate,labels,components,issuetype,priority,"
    "reporter,assignee,created,updated,project,security,comment"
)


class JiraSettings(BaseModel):
    """What `casebook.toml` says of a Jira: its address and what of it, or the files of an export.

    With `email` the token is an API token of that account, as Cloud has them; without, a personal
    access token. `access_by_project` gives labels by a project's key; others get the source's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str | None = None
    project: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    jql: str | None = None
    email: str | None = None
    token_variable: str | None = None
    token_file: Path | None = None
    cloud: bool | None = None
    export: Path | None = None
    allow_private: bool = False
    access_by_project: Mapping[str, frozenset[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if not self.export and not self.base_url:
            raise ValueError("give `base_url`, or `export`, a file or a folder")
        if self.base_url and not self.export and not (self.project or self.jql):
            raise ValueError("give `project`, its key, or `jql`")
        if self.jql and re.search(r"\border\s+by\b", self.jql, re.IGNORECASE):
            raise ValueError("leave `order by` out of `jql`: casebook orders by key")
        return self

    @property
    def query(self) -> str:
        parts = [f'project = "{self.project}"' if self.project else "", f"({self.jql})"]
        return " AND ".join(part for part in parts if part and part != "(None)")

    @property
    def is_cloud(self) -> bool:
        host = parse_address(self.base_url or "").host
        return host.endswith(".atlassian.net") if self.cloud is None else self.cloud


class JiraSource:
    """Issues by key, copied into `folder` and brought up to date at each listing.

    An issue with a security level gets no label, and a comment that only some may see is left out:
    whoever reads the source need not be among them.
    """

    def __init__(
        self,
        name: str,
        settings: JiraSettings,
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
        access = sorted((key, sorted(v)) for key, v in self._settings.access_by_project.items())
        return Listing(self._store.items(salt=json.dumps(access)), skipped=skipped)

    def read(self, item: Item) -> Content:
        stored = self._store.ticket(item.id)
        if stored is None:
            raise ParseError(f"{self.name}: there is no issue {item.id} any more: sync again")
        data = stored.data
        with reading(f"{self.name}: {item.id}", "not as Jira gives it", "export it anew"):
            ticket = _ticket(stored)
            labels = self._settings.access_by_project.get(data["project"])
            labels = frozenset() if data["restricted"] else labels
            return as_content(ticket, item.revision, labels, _note(data))

    def relist_at_next_sync(self) -> None:
        """Have the next listing look for deleted issues, however lately that was done."""
        with self._store.transaction():
            self._store.set_cursor("relisted", None)

    def beside(self, path: str) -> bytes | None:
        """Nothing here includes a file."""
        return None

    def close(self) -> None:
        self._store.close()

    def _update(self) -> None:
        settings = self._settings
        with HttpClient(
            str(settings.base_url),
            authorization=_authorization(settings),
            allow_private=settings.allow_private,
            clock=self._clock,
            sleep=self._sleep,
        ) as client:
            _Update(client, self._store, settings, self._clock).run()

    def _exported(self, name: str, data: bytes) -> Iterator[Exported]:
        rows = _rows_of_xml(name, data) if name.endswith(".xml") else _rows_of_json(name, data)
        for raw in rows:
            with reading(f"{name}, {raw.get('key')}", "no Jira issue", "export it anew"):
                kept = _kept_issue(raw, self._settings.base_url or "")
                said = raw["fields"].get("comment") or {}
                comments = [_kept_comment(each) for each in said.get("comments", [])]
                yield Exported(kept["key"], utc(kept["updated_at"]) or "", kept, comments)


def _authorization(settings: JiraSettings) -> str | None:
    token = read_token(settings.token_variable, settings.token_file)
    if token and settings.email:
        return "Basic " + base64.b64encode(f"{settings.email}:{token}".encode()).decode()
    return f"Bearer {token}" if token else None


# --- the API ----------------------------------------------------------------------------------


class _Update:
    """One run through what has changed in Jira since the last began.

    It goes by key, which does not change: an issue that changes meanwhile stays in its place, and
    is met by the next run if its place was passed. How far it came is stored with each page.
    """

    def __init__(
        self, client: HttpClient, store: TicketStore, settings: JiraSettings, clock: Clock
    ) -> None:
        self._client = client
        self._store = store
        self._settings = settings
        self._base = str(settings.base_url).rstrip("/")
        self._api = f"{self._base}/rest/api/{3 if settings.is_cloud else 2}"
        self._clock = clock

    def run(self) -> None:
        if self._store.cursor("since") is None and self._store.cursor("run") is None:
            self._set("relisted", str(self._clock()))  # the first listing is a full one
        self._changes()
        relisted = self._store.cursor("relisted")
        if relisted is None or self._clock() - float(relisted) >= RELIST_AFTER:
            self._relist()

    def _set(self, cursor: str, value: str | None) -> None:
        with self._store.transaction():
            self._store.set_cursor(cursor, value)

    def _changes(self) -> None:
        stored = self._store.cursor("run")
        began = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        run = json.loads(stored) if stored else {"began": began, "at": None, "total": 0}
        since = self._store.cursor("since")
        jql = self._settings.query
        if since:
            stamp = datetime.fromisoformat(since) - OVERLAP
            jql += f' AND updated >= "{stamp:%Y-%m-%d %H:%M}"'
        while True:
            page = self._search(jql, _FIELDS, PAGE, run["at"])
            with understood(self._api):
                issues = [(raw, self._comments(raw)) for raw in page["issues"]]
                following = _next(page, run)
                done = following is None
            with understood(self._api), self._store.transaction():
                for raw, comments in issues:
                    self._keep(raw, comments)
                run |= {"at": following, "total": page.get("total", 0)}
                self._store.set_cursor("run", None if done else json.dumps(run))
                if done:
                    self._store.set_cursor("since", str(run["began"]))
            if done:
                return

    def _search(self, jql: str, fields: str, count: int, at: Any) -> Data:
        cloud = self._settings.is_cloud
        params: dict[str, str | int] = {"jql": f"{jql} ORDER BY key ASC", "fields": fields}
        params["maxResults"] = count
        if at is not None:
            params["nextPageToken" if cloud else "startAt"] = at
        reply = self._client.get(f"{self._api}/search{'/jql' if cloud else ''}", params=params)
        if reply.status == 400 and cloud and at is not None:
            self._set("run", None)  # the token of an interrupted run is too old: start over
        return _read_json(reply)

    def _comments(self, raw: Data) -> list[Data] | None:
        """All comments of an issue; the search gives at most 20 of them in Cloud. None: as stored."""
        said = raw["fields"].get("comment") or {}
        comments, total = said.get("comments", []), said.get("total", 0)
        if total <= len(comments):
            return [_kept_comment(each) for each in comments]
        known = self._store.ticket(raw["key"])
        same = known and known.data["updated_at"] == raw["fields"].get("updated")
        if known and same and len(known.comments) == total:
            return None
        comments = []
        while True:
            params: dict[str, str | int] = {"startAt": len(comments), "maxResults": PAGE}
            page = _read_json(
                self._client.get(f"{self._api}/issue/{raw['key']}/comment", params=params)
            )
            comments += page["comments"]
            if not page["comments"] or len(comments) >= page.get("total", 0):
                return [_kept_comment(each) for each in comments]

    def _keep(self, raw: Data, comments: Iterable[Data] | None) -> None:
        kept = _kept_issue(raw, self._base)
        # Jira's own number of an issue stays when it moves to another project, and its key does not.
        moved = [key for key in self._store.of_origin(kept["id"]) if key != kept["key"]]
        self._store.remove(moved)
        self._store.put_ticket(kept["key"], kept, origin=kept["id"])
        if comments is not None:
            by_id = {f"{kept['key']} {each['id']}": each for each in comments}
            self._store.replace_comments(kept["key"], by_id)

    def _relist(self) -> None:
        """List the keys of everything; ask after what is not among them, or is not known."""
        listed: set[str] = set()
        run: Data = {"at": None, "total": 0}
        while True:
            page = self._search(self._settings.query, "updated", KEYS_PAGE, run["at"])
            with understood(self._api):
                listed |= {str(raw["key"]) for raw in page["issues"]}
                run = {"at": _next(page, run), "total": page.get("total", 0)}
            if run["at"] is None:
                break
        known = self._store.ids()
        for key in sorted(listed ^ known):
            self._look_for(key)
        self._set("relisted", str(self._clock()))

    def _look_for(self, key: str) -> None:
        reply = self._client.get(f"{self._api}/issue/{key}", params={"fields": _FIELDS})
        raw = {} if reply.status == 404 else _read_json(reply)
        fits = raw.get("key") == key and self._fits(key)
        with understood(self._api):
            comments = self._comments(raw) if fits else None
            with self._store.transaction():
                if fits:
                    self._keep(raw, comments)
                else:
                    self._store.remove([key])

    def _fits(self, key: str) -> bool:
        page = self._search(f"{self._settings.query} AND key = {key}", "updated", 1, None)
        return bool(page.get("issues"))


def _next(page: Data, run: Data) -> Any:
    """Where the next page begins, or None: a token in Cloud, a number elsewhere.

    If there are fewer issues than at the last page, some were deleted, and others moved up past the
    border: so many are read again.
    """
    if "total" not in page:
        return None if page.get("isLast", True) else page["nextPageToken"]
    start = int(page.get("startAt", 0))
    vanished = run["total"] - page["total"]
    if vanished > 0 and start:
        return max(0, start - vanished)
    end = start + len(page["issues"])
    return end if page["issues"] and end < page["total"] else None


def _read_json(reply: Reply) -> Data:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    if reply.status == 200 and isinstance(found, dict):
        return found
    said = found.get("errorMessages") if isinstance(found, dict) else None
    raise SourceUnavailable(
        f"{reply.url.partition('?')[0]} answers {reply.status} "
        f"{'; '.join(map(str, said))[:300] if isinstance(said, list) else ''}: look whether "
        "`base_url`, `project` or `jql` are right, and whether the token is valid and may read them"
    )


# --- export files -----------------------------------------------------------------------------


def _rows_of_json(name: str, data: bytes) -> list[Data]:
    with reading(name, "no JSON that can be read", "export it anew"):
        found = json.loads(data)
        if isinstance(found, dict):
            found = found.get("issues", [found])
        if isinstance(found, list) and all(isinstance(r, dict) and "fields" in r for r in found):
            return found
    raise ParseError(f"{name} holds no Jira issues: save what `/rest/api/2/search` answers")


def _rows_of_xml(name: str, data: bytes) -> list[Data]:
    """The items of Jira's XML (RSS) export, in the shape of the REST API; bodies are HTML there."""
    from xml.etree.ElementTree import ParseError as NotXml

    from defusedxml.ElementTree import fromstring

    with reading(name, "no XML that can be read", "export it anew", NotXml):
        items = fromstring(data, forbid_dtd=True).findall("./channel/item")
        return [_row_of_xml(item) for item in items]


def _row_of_xml(item: Any) -> Data:
    def text(tag: str) -> str | None:
        return item.findtext(tag) or None

    def named(tag: str) -> Data | None:
        return {"name": text(tag)} if text(tag) else None

    project, resolution = item.find("project"), named("resolution")
    comments = [
        {
            "id": each.get("id"),
            "author": {"displayName": each.get("author")},
            "created": each.get("created"),
            "body": {"html": each.text or ""},
            "visibility": each.get("grouplevel") or each.get("rolelevel"),
        }
        for each in item.findall("./comments/comment")
    ]
    return {
        "key": text("key"),
        "link": text("link"),
        "fields": {
            "summary": text("summary"),
            "description": {"html": text("description") or ""},
            "status": named("status"),
            "resolution": None if resolution == {"name": "Unresolved"} else resolution,
            "resolutiondate": text("resolved"),
            "labels": [each.text for each in item.findall("./labels/label") if each.text],
            "components": [{"name": each.text} for each in item.findall("component")],
            "issuetype": named("type"),
            "priority": named("priority"),
            "reporter": {"displayName": text("reporter")},
            "assignee": {"displayName": text("assignee")},
            "created": text("created"),
            "updated": text("updated"),
            "project": {"key": project.get("key")} if project is not None else None,
            "security": named("security"),
            "comment": {"comments": comments},
        },
    }


# --- what is kept, and as a ticket ------------------------------------------------------------


def _kept_issue(raw: Data, base: str) -> Data:
    fields, key = raw["fields"], str(raw["key"])
    base = str(raw.get("self") or "").partition("/rest/api/")[0] or base
    return {
        "id": str(raw.get("id") or key),
        "key": key,
        "url": web_address(raw.get("link") or f"{base.rstrip('/')}/browse/{key}"),
        "title": fields.get("summary") or "",
        "body": fields.get("description"),
        "status": _name(fields.get("status")),
        "resolution": _name(fields.get("resolution")),
        "labels": [str(label) for label in fields.get("labels") or []],
        "components": [_name(each) for each in fields.get("components") or []],
        "type": _name(fields.get("issuetype")),
        "priority": _name(fields.get("priority")),
        "author": _person(fields.get("reporter")),
        "assignee": _person(fields.get("assignee")),
        "created_at": fields.get("created"),
        "updated_at": fields.get("updated"),
        "closed_at": fields.get("resolutiondate"),
        "project": str((fields.get("project") or {}).get("key") or key.rpartition("-")[0]),
        "restricted": bool(fields.get("security")),
    }


def _kept_comment(raw: Data) -> Data:
    """Without its words if not all who see the issue may see them."""
    hidden = bool(raw.get("visibility"))
    return {
        "id": str(raw.get("id") or ""),
        "author": _person(raw.get("author")),
        "by_machine": (raw.get("author") or {}).get("accountType") == "app",
        "created_at": raw.get("created"),
        "body": None if hidden else raw.get("body"),
        "hidden": hidden,
    }


def _name(value: Any) -> str:
    return str((value or {}).get("name") or "")


def _person(value: Any) -> str:
    return str((value or {}).get("displayName") or (value or {}).get("name") or "")


def _ticket(stored: Stored) -> Ticket:
    data, dropped = stored.data, Counter[str]()
    shown = [each for each in stored.comments if not each["hidden"]]
    shown.sort(key=lambda each: utc(each["created_at"]) or "")
    comments = [
        Comment(
            author=each["author"],
            created_at=utc(each["created_at"]) or "",
            body=as_markdown(data["key"], each["body"], dropped),
            url=f"{data['url']}?focusedCommentId={each['id']}" if data["url"] else "",
            by_machine=each["by_machine"],
        )
        for each in shown
    ]
    if len(shown) < len(stored.comments):
        dropped["restricted comments"] = len(stored.comments) - len(shown)
    return Ticket(
        key=data["key"],
        title=data["title"],
        state=data["status"] or "unknown",
        body=as_markdown(data["key"], data["body"], dropped),
        url=data["url"],
        project=data["project"],
        author=data["author"],
        labels=tuple(data["labels"]),
        created_at=utc(data["created_at"]) or "",
        updated_at=utc(data["updated_at"]) or "",
        closed_at=utc(data["closed_at"]),
        comments=tuple(comments),
        dropped=dropped,
    )


def _note(data: Data) -> str:
    facts = {
        "Type": data["type"],
        "Priority": data["priority"],
        "Resolution": data["resolution"],
        "Components": ", ".join(data["components"]),
        "Assigned to": data["assignee"],
    }
    return " ".join(f"{name}: {one_line(value)}." for name, value in facts.items() if value)


# --- markup -----------------------------------------------------------------------------------


def as_markdown(name: str, body: Any, dropped: Counter[str]) -> str:
    """A description or comment as markdown: wiki markup if it is a string, else HTML from an XML
    export (`{"html": …}`) or the Atlassian Document Format. Adds to `dropped` what is left out.
    """
    from bs4 import BeautifulSoup

    if not body:
        return ""
    if isinstance(body, str):
        return wiki_to_markdown(body, dropped)
    with reading(name, "a text that can't be read", "flatten what is nested deeply"):
        source = body["html"] if "html" in body else adf_to_html(body)
    parsed = from_soup(name, BeautifulSoup(f"<body>{source}</body>", "html.parser"))
    dropped.update(parsed.dropped)
    return parsed.text.strip("\n")


_ADF = {
    **{"paragraph": "p", "bulletList": "ul", "listItem": "li", "taskList": "ul", "taskItem": "li"},
    **{"decisionList": "ul", "decisionItem": "li", "orderedList": "ol", "blockquote": "blockquote"},
    **{"panel": "blockquote", "table": "table", "tableRow": "tr", "tableCell": "td"},
    **{"tableHeader": "th", "expand": "div", "nestedExpand": "div"},
}
_MARKS = {"strong": "strong", "em": "em", "code": "code", "strike": "del"}


def adf_to_html(node: Data) -> str:
    """A node of the Atlassian Document Format as HTML; of an unknown one, what is inside.

    https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
    """
    kind, attributes = str(node.get("type")), node.get("attrs") or {}
    if kind == "text":
        return _marked(html.escape(str(node.get("text", ""))), node.get("marks") or [])
    inner = "".join(adf_to_html(each) for each in node.get("content") or [])
    if kind in _ADF:
        title = attributes.get("title")
        before = f"<p><strong>{html.escape(str(title))}</strong></p>" if title else ""
        before += "[x] " if attributes.get("state") == "DONE" and kind == "taskItem" else ""
        return f"<{_ADF[kind]}>{before}{inner}</{_ADF[kind]}>"
    if kind == "heading":
        level = min(6, max(1, int(attributes.get("level", 1))))
        return f"<h{level}>{inner}</h{level}>"
    if kind == "codeBlock":
        language = html.escape(str(attributes.get("language") or ""))
        return f'<pre><code class="language-{language}">{inner}</code></pre>'
    return _adf_leaf(kind, attributes) or inner


def _adf_leaf(kind: str, attributes: Data) -> str:
    if kind in ("hardBreak", "rule"):
        return {"hardBreak": "<br>", "rule": "<hr>"}[kind]
    if kind == "media":
        return "<img>"
    if kind in ("inlineCard", "blockCard", "embedCard") and attributes.get("url"):
        url = html.escape(str(attributes["url"]))
        return f'<a href="{url}">{url}</a>'
    if kind == "date":
        day = datetime.fromtimestamp(int(attributes["timestamp"]) / 1000, UTC)
        return f"{day:%Y-%m-%d}"
    words = attributes.get("text") or attributes.get("shortName")
    return html.escape(str(words)) if words and kind in ("mention", "emoji", "status") else ""


def _marked(text: str, marks: Iterable[Data]) -> str:
    for mark in marks:
        kind = mark.get("type")
        if kind in _MARKS:
            text = f"<{_MARKS[kind]}>{text}</{_MARKS[kind]}>"
        elif kind == "link":
            href = html.escape(str((mark.get("attrs") or {}).get("href", "")))
            text = f'<a href="{href}">{text}</a>'
    return text


def _link(found: re.Match[str]) -> str:
    led = links.target(found[2])
    return f"[{found[1]}]({led})" if led else found[1]


_CODE = re.compile(r"\{(code|noformat)(?::([^}\n]{0,200}))?\}")
_MACRO = re.compile(
    r"\{(?:color|panel|anchor|info|note|tip|warning|expand|section|column|toc)(:[^}\n]{0,300})?\}"
)
_LIST = re.compile(r"[ \t]*([*#]{1,9}|-)[ \t]+(.*)")
_LINK = re.compile(r"\[([^\[\]|\n]{1,300})\|([^\[\]|\s]{1,2000})(?:\|[^\[\]\n]{0,99})?\]")
_ADDRESS = re.compile(r"\[((?:https?://|mailto:)[^\[\]|\s]{1,2000})\]")
_MENTION = re.compile(r"\[~(?:accountid:)?([^\[\]\s]{1,100})\]")
_IMAGE = re.compile(r"!\w[^!|\n]{0,200}\.(?:png|jpe?g|gif|svg|bmp|webp)(?:\|[^!\n]{0,99})?!", re.I)
_BOLD = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*(?![\w*])")


def wiki_to_markdown(text: str, dropped: Counter[str]) -> str:
    """Jira's wiki markup as markdown: code, headings, lists, tables, quotes, links and bold.

    Not through jira2markdown: it takes 2 s for 8 KB of ordinary text, and minutes for some.
    https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces, end = [], 0
    while opening := _CODE.search(text, end):
        close = text.find(f"{{{opening[1]}}}", opening.end())
        if close < 0:
            break
        pieces += [_wiki_prose(text[end : opening.start()], dropped)]
        pieces += [_fenced(text[opening.end() : close], opening[2] or "")]
        end = close + len(opening[1]) + 2
    pieces.append(_wiki_prose(text[end:], dropped))
    return "\n\n".join(piece for piece in pieces if piece.strip())


def _fenced(code: str, parameters: str) -> str:
    language = next((each for each in parameters.split("|") if re.fullmatch(r"[\w+#-]+", each)), "")
    ticks = max((len(run) for run in re.findall(r"`{3,}", code)), default=2) + 1
    return f"{'`' * ticks}{language}\n{code.strip(chr(10))}\n{'`' * ticks}"


def _wiki_prose(text: str, dropped: Counter[str]) -> str:
    lines: list[str] = []
    quoted, in_table = False, False
    for line in text.split("\n"):
        parts = line.split("{quote}")
        for position, part in enumerate(parts):
            if position:
                quoted = not quoted
                lines.append("")
            if part.strip() or len(parts) == 1:
                rows = _wiki_line(_inline(part, dropped), in_table)
                in_table = bool(rows) and rows[0].startswith("|")
                lines += [f"> {row}" if quoted else row for row in rows]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _wiki_line(line: str, in_table: bool) -> list[str]:
    """One line as lines of markdown; the first of a table is its header."""
    if heading := re.match(r"[ \t]*h([1-6])\.[ \t]*(.+)", line):
        return ["", f"{'#' * int(heading[1])} {heading[2]}", ""]
    if quote := re.match(r"[ \t]*bq\.[ \t]*(.+)", line):
        return ["", f"> {quote[1]}", ""]
    if item := _LIST.fullmatch(line):
        parents, own = item[1][:-1], item[1][-1]
        indent = "".join("   " if parent == "#" else "  " for parent in parents)
        return [f"{indent}{'1.' if own == '#' else '-'} {item[2]}"]
    if line.lstrip().startswith("|") and line.count("|") > 1:
        cells = re.split(r"\|{1,2}", line.strip().strip("|"))
        row = f"| {' | '.join(cell.strip() for cell in cells)} |"
        return [row] if in_table else [row, f"|{' --- |' * len(cells)}"]
    return [line]


def _inline(line: str, dropped: Counter[str]) -> str:
    """Links, bold and so on, but not inside `{{monospaced}}` words."""
    pieces = re.split(r"\{\{([^\n]{1,500}?)\}\}", line)
    return "".join(
        f"`{piece}`" if position % 2 else _inline_prose(piece, dropped)
        for position, piece in enumerate(pieces)
    )


def _inline_prose(text: str, dropped: Counter[str]) -> str:
    text, images = _IMAGE.subn("", text)
    if images:
        dropped["images"] += images
    text = _MENTION.sub(r"@\1", text)
    text = _ADDRESS.sub(r"<\1>", text)
    text = _LINK.sub(_link, text)
    text = _MACRO.sub(_macro_title, text)
    return _BOLD.sub(r"**\1**", text)


def _macro_title(macro: re.Match[str]) -> str:
    title = re.search(r"[:|]title=([^|]*)", macro[1] or "")
    return f"**{title[1].strip()}**" if title and title[1].strip() else ""

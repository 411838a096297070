"""A real HTTP server that stands in for GitHub, Jira and web sites, with faults where a test wants."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit


@dataclass(frozen=True)
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What the server says; `cut_at` bytes of the body it hangs up."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None


Answering = Callable[[Request], Answer]


def as_json(value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(value).encode()
    return Answer(200, body, {"Content-Type": "application/json", **(headers or {})})


class Standin:
    """The server: `answering` says what it holds, `faults` what it says instead, by the number of
    the request from 0; `before` is called with that number first.
    """

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.requests: list[Request] = []
        self.faults: dict[int, Answer] = {}
        self.before: Callable[[int], None] = lambda number: None
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(parts.path, dict(parse_qsl(parts.query)), headers)
                number = len(standin.requests)
                standin.requests.append(request)
                standin.before(number)
                answer = standin.faults.pop(number, None) or standin.answering(request)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 304:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: answer.cut_at])
                if answer.cut_at is not None:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator["Standin"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


def stamp(minute: int) -> str:
    return f"{datetime(2024, 1, 1) + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"


class Github:
    """One repository's issues and comments, as the REST API gives them, `page` rows at a time."""

    def __init__(self, page: int = 3) -> None:
        self.page = page
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.reviews: dict[int, dict[str, Any]] = {}
        self.minute = 0
        self.root = "/repos/acme/shop"
        self.etags = False

    def _now(self) -> str:
        self.minute += 10
        return stamp(self.minute)

    def issue(self, number: int, **more: Any) -> dict[str, Any]:
        now = self._now()
        self.issues[number] = {
            "number": number,
            "title": f"Why does part {number} fail?",
            "body": f"Part {number} fails.",
            "state": "open",
            "labels": [{"name": "bug"}],
            "user": {"login": "ann", "type": "User"},
            "created_at": now,
            "updated_at": now,
            "closed_at": None,
            "html_url": f"https://github.com/acme/shop/issues/{number}",
            "repository_url": f"https://api.github.com{self.root}",
            "comments": 0,
            **more,
        }
        return self.issues[number]

    def touch(self, number: int, **changes: Any) -> None:
        self.issues[number] |= {**changes, "updated_at": self._now()}

    def comment(self, id: int, number: int, body: str, login: str = "ben", **more: Any) -> None:
        now = self._now()
        self.comments[id] = {
            "id": id,
            "issue_url": f"https://api.github.com{self.root}/issues/{number}",
            "html_url": f"https://github.com/acme/shop/issues/{number}#issuecomment-{id}",
            "user": {"login": login, "type": "User"},
            "body": body,
            "created_at": now,
            "updated_at": now,
            **more,
        }
        self.issues[number]["comments"] += 1
        self.touch(number)

    def delete_comment(self, id: int) -> None:
        number = int(self.comments.pop(id)["issue_url"].rpartition("/")[2])
        self.touch(number, comments=self.issues[number]["comments"] - 1)

    def __call__(self, request: Request) -> Answer:
        if not request.path.startswith(f"{self.root}/"):
            return Answer(404, b'{"message": "Not Found"}')
        parts = request.path.removeprefix(f"{self.root}/").split("/")
        match parts:
            case ["issues"]:
                return self._page(request, list(self.issues.values()))
            case ["issues", "comments"]:
                return self._page(request, list(self.comments.values()))
            case ["pulls", "comments"]:
                return self._page(request, list(self.reviews.values()))
            case ["issues", number] if int(number) in self.issues:
                return as_json(self.issues[int(number)])
            case ["issues", number, "comments"]:
                own = [c for c in self.comments.values() if c["issue_url"].endswith(f"/{number}")]
                return self._page(request, own)
        return Answer(404, b'{"message": "Not Found"}')

    def _page(self, request: Request, rows: Sequence[dict[str, Any]]) -> Answer:
        key = "created_at" if request.query.get("sort") == "created" else "updated_at"
        since = request.query.get("since", "")
        found = sorted((r for r in rows if r["updated_at"] >= since), key=lambda row: row[key])
        number = int(request.query.get("page", 1))
        end = number * self.page
        headers = {}
        if end < len(found):
            query = urlencode({**request.query, "page": number + 1})
            headers["Link"] = (
                f'<http://{request.headers["host"]}{request.path}?{query}>; rel="next"'
            )
        answer = as_json(found[end - self.page : end], headers)
        if self.etags:
            tag = f'"{hash(answer.body)}"'
            if request.headers.get("if-none-match") == tag:
                return Answer(304)
            answer.headers["ETag"] = tag
        return answer


class Jira:
    """Issues as Jira gives them: Server by `startAt`, Cloud by `nextPageToken`."""

    def __init__(self, page: int = 3) -> None:
        self.page = page
        self.issues: dict[str, dict[str, Any]] = {}
        self.inline_comments = 20
        self.minute = 0

    def issue(self, key: str, **fields: Any) -> dict[str, Any]:
        self.minute += 10
        now = stamp(self.minute).replace("Z", ".000+0000")
        self.issues[key] = {
            "id": str(10000 + len(self.issues)),
            "key": key,
            "fields": {
                "summary": f"Why does {key} fail?",
                "description": f"{key} fails.",
                "status": {"name": "Open", "statusCategory": {"key": "new"}},
                "labels": ["ops"],
                "reporter": {"displayName": "Ann Lee"},
                "project": {"key": key.partition("-")[0], "name": "Shop"},
                "created": now,
                "updated": now,
                "comment": {"comments": [], "total": 0},
                **fields,
            },
        }
        return self.issues[key]

    def comment(self, key: str, id: str, body: Any, name: str = "Ben Ode", **more: Any) -> None:
        self.minute += 10
        now = stamp(self.minute).replace("Z", ".000+0000")
        fields = self.issues[key]["fields"]
        person = {"displayName": name}
        fields["comment"]["comments"].append(
            {"id": id, "author": person, "body": body, "created": now, "updated": now, **more}
        )
        fields["comment"]["total"] += 1
        fields["updated"] = now

    def __call__(self, request: Request) -> Answer:
        match request.path.strip("/").split("/"):
            case ["rest", "api", "2", "search"]:
                start = int(request.query.get("startAt", 0))
                rows = self._found(request)
                page = rows[start : start + self.page]
                return as_json({"startAt": start, "total": len(rows), "issues": page})
            case ["rest", "api", "3", "search", "jql"]:
                start = int(request.query.get("nextPageToken", "t0")[1:])
                rows = self._found(request)
                more = {"nextPageToken": f"t{start + self.page}"}
                last = start + self.page >= len(rows)
                page = rows[start : start + self.page]
                return as_json({"issues": page, "isLast": last, **({} if last else more)})
            case ["rest", "api", "2" | "3", "issue", key, "comment"]:
                start = int(request.query.get("startAt", 0))
                comments = self.issues[key]["fields"]["comment"]["comments"]
                page = comments[start : start + self.page]
                return as_json({"startAt": start, "total": len(comments), "comments": page})
            case ["rest", "api", "2" | "3", "issue", key] if key in self.issues:
                return as_json(self.issues[key])
        return Answer(404, b"{}")

    def _found(self, request: Request) -> list[dict[str, Any]]:
        """By key; `updated >=` as the query says, its other conditions taken as true."""
        query = request.query["jql"]
        since = query.partition('updated >= "')[2].partition('"')[0].replace(" ", "T")
        rows = sorted(self.issues.values(), key=lambda row: int(row["key"].partition("-")[2]))
        rows = [row for row in rows if row["fields"]["updated"] >= since]
        shown = []
        for row in rows:
            said = row["fields"]["comment"]
            few = {**said, "comments": said["comments"][: self.inline_comments]}
            shown.append({**row, "fields": {**row["fields"], "comment": few}})
        return shown


class Site:
    """A web site: `pages` by path, each an answer or HTML."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer | str] = {}
        self.etags = True

    def __call__(self, request: Request) -> Answer:
        page = self.pages.get(request.path)
        if page is None:
            return Answer(404)
        if isinstance(page, Answer):
            return page
        tag = f'"{hash(page)}"'
        if self.etags and request.headers.get("if-none-match") == tag:
            return Answer(304)
        headers = {"Content-Type": "text/html; charset=utf-8", "ETag": tag}
        return Answer(200, page.encode(), headers)

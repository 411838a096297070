"""The URL of a git remote: checked, parted from its credentials, and the pages a person can open.

GitHub, GitLab and Bitbucket (cloud and data center) are known by the name of their host, whichever
way the remote is written (`https://`, `ssh://`, `git@host:owner/name.git`). Of other remotes there
is no page to open, so the address says in words what lies where: `<remote>/<path>@<commit>`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from index.errors import InvalidInput

SCHEMES = frozenset({"https", "http", "ssh", "git", "file"})

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^@/:]{2,}):(?P<path>[^/].*|/.+)")
"""`git@host:owner/name.git`; one letter before the colon would be a Windows drive."""

ANY_USER = "x-access-token"
"""Goes with a token where the URL names no user: GitHub asks for it with some, and GitLab takes any."""

_HELPER = (
    "!f() { "
    r'printf "username=%s\npassword=%s\n" "$CASEBOOK_GIT_USER" "$CASEBOOK_GIT_PASSWORD"; '
    "}; f"
)
"""How git is told the credentials when the host they are for asks; a header that git is given would
follow a redirect to any other host."""

_SSH_FRONTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
"""Hosts that answer ssh on port 443 for those who can't reach port 22."""

_RENDERED = frozenset({".md", ".markdown", ".mdx", ".rst", ".adoc", ".asciidoc", ".org"})
"""Files shown rendered: their lines can be pointed at only in the plain view."""


_GITHUB = (
    "/blob/{commit}/{path}",
    "/commit/{commit}",
    "/commits/{commit}",
    "/releases/tag/{name}",
    "#L{start}-L{end}",
    "?plain=1",
)
_GITLAB = (
    "/-/blob/{commit}/{path}",
    "/-/commit/{commit}",
    "/-/commits/{commit}",
    "/-/tags/{name}",
    "#L{start}-{end}",
    "?plain=1",
)
_BITBUCKET = (
    "/src/{commit}/{path}",
    "/commits/{commit}",
    "/commits/{commit}",
    "/commits/tag/{name}",
    "#lines-{start}:{end}",
)
_DATA_CENTER = (
    "/browse/{path}?at={commit}",
    "/commits/{commit}",
    "/commits?until={commit}",
    "/commits?until=refs/tags/{name}",
    "#{start}-{end}",
)
"""The fields of `Links` behind its `base`, in order."""


@dataclass(frozen=True)
class Links:
    """The addresses of one remote. Each field is what stands behind `base`, with the names of its
    parts in braces.
    """

    base: str
    file: str = "/{path}@{short}"
    commit_page: str = "@{short}"
    log_page: str = "@{short}"
    tag_page: str = "@{name}"
    lines_part: str = ""
    plain: str = ""

    @classmethod
    def to(cls, url: str) -> Self:
        """The links of a remote; credentials in its URL are left out."""
        web = _web_address(url)
        if web is None:
            return cls(shown(url))
        host = (urlsplit(web).hostname or "").lower()
        if host == "bitbucket.org":
            return cls(web, *_BITBUCKET)
        if "bitbucket" in host:
            return cls(_data_center(web), *_DATA_CENTER)
        if "github" in host:
            return cls(web, *_GITHUB)
        return cls(web, *_GITLAB) if "gitlab" in host else cls(shown(url))

    @property
    def on_the_web(self) -> bool:
        return bool(self.lines_part)

    @property
    def name(self) -> str:
        """What people call the repository: the last part of its address."""
        return PurePosixPath(self.base.rstrip("/")).name.removesuffix(".git") or self.base

    def page(self, commit: str, path: str) -> str:
        """The page of a file as a commit has it."""
        return self.base + self.file.format(
            commit=commit, short=commit[:12], path=quote(path) if self.on_the_web else path
        )

    def lines(self, commit: str, path: str) -> str | None:
        """The same with `{start}` and `{end}` to be filled with numbers of lines, or None."""
        if not self.on_the_web:
            return None
        rendered = PurePosixPath(path).suffix.lower() in _RENDERED
        return self.page(commit, path) + (self.plain if rendered else "") + self.lines_part

    def commit(self, commit: str) -> str:
        """The page of a commit."""
        return self.base + self.commit_page.format(commit=commit, short=commit[:12])

    def log(self, commit: str) -> str:
        """The page of the history up to a commit."""
        return self.base + self.log_page.format(commit=commit, short=commit[:12])

    def tag(self, name: str) -> str:
        """The page of a tag, which is that of its release where there is one."""
        return self.base + self.tag_page.format(name=quote(name) if self.on_the_web else name)


def without_credentials(url: str, token: str | None = None) -> tuple[str, dict[str, str]]:
    """The address that git is given, and variables of its environment that carry the credentials: those
    of the URL, or a token for the user that it names.

    A command line can be read by every user of the machine, and git writes its URL into errors and
    logs; its environment can be read by its owner alone. Raises `InvalidInput` for a URL that git
    could take for an option or a command.
    """
    if not url or url[0] == "-" or not url.isprintable() or re.match(r"[\w+.-]+::", url):
        raise InvalidInput(
            f"{shown(url)!r} is no git URL: give a path, https://host/name or git@host:name"
        )
    if "://" not in url:
        return (url if _SCP.fullmatch(url) else os.path.abspath(os.path.expanduser(url))), {}
    parts = _split(url)
    user, password = unquote(parts.username or ""), token or unquote(parts.password or "")
    user = user or (ANY_USER if token else "")
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not (user or password):
        keep = f"{parts.username}@" if parts.username else ""
        return urlunsplit(parts._replace(netloc=keep + host)), {}
    if not (user + password).isprintable():
        raise InvalidInput(f"the user or password for {shown(url)} has signs that git can't take")
    return urlunsplit(parts._replace(netloc=host)), {
        "CASEBOOK_GIT_USER": user,
        "CASEBOOK_GIT_PASSWORD": password,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"credential.{parts.scheme}://{host}.helper",
        "GIT_CONFIG_VALUE_0": _HELPER,
    }


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError as error:
        raise InvalidInput(f"{shown(url)!r} is no git URL: correct its host and port") from error
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "file"):
        known = ", ".join(sorted(SCHEMES))
        raise InvalidInput(f"{shown(url)!r} is no git URL: give a path or a URL of {known}")
    return parts


def shown(url: str) -> str:
    """A URL or path as it may be shown, right or wrong: without credentials, query and last slash."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rstrip("/") or url
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    user, at, host = host.rpartition("@")
    keep = f"{user.partition(':')[0]}@" if at and scheme == "ssh" else ""
    return f"{scheme}://{keep}{host}{slash}{path}".rstrip("/")


def _web_address(url: str) -> str | None:
    """`https://host/owner/name` of a remote, or None of one that no web page can belong to."""
    if "://" in url:
        parts = urlsplit(url)
        host, port, path = (parts.hostname or "").lower(), _web_port(parts), parts.path
    elif scp := _SCP.fullmatch(url):
        parts, port = SplitResult("ssh", "", "", "", ""), ""
        host, path = scp["host"].lower(), scp["path"]
    else:
        return None
    path = path.strip("/").removesuffix(".git")
    if parts.scheme == "file" or not host or not path:
        return None
    scheme = "http" if parts.scheme == "http" else "https"
    return f"{scheme}://{_SSH_FRONTS.get(host, host)}{port}/{quote(path, safe='/~%')}"


def _web_port(parts: SplitResult) -> str:
    """The port of a web address; that of ssh says nothing about where the pages are."""
    return f":{parts.port}" if parts.scheme in ("http", "https") and parts.port else ""


def _data_center(web: str) -> str:
    """`https://host/scm/key/name` as `https://host/projects/KEY/repos/name`."""
    parts = urlsplit(web)
    front, _, name = parts.path.rpartition("/")
    front, _, key = front.rpartition("/")
    prefix = front.removesuffix("/scm") if front.endswith("/scm") else ""
    kind = f"users/{key[1:]}" if key.startswith("~") else f"projects/{key.upper()}"
    return f"{parts.scheme}://{parts.netloc}{prefix}/{kind}/repos/{name}"

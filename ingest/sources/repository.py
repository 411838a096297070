"""A git repository as a bare mirror: fetched, listed and read by git itself, with no checkout.

What comes from a repository is never run: no hook, no filter, no submodule, no transport that is a
command. Git reads neither the system's nor the user's configuration, only the file written here,
so that no credential helper, alias or rewritten address runs either.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from index.errors import InvalidInput
from ingest.parsers.text import printable
from ingest.sources.http import token_in
from ingest.sources.permalink import SCHEMES, shown, without_credentials
from ingest.sources.source import SourceUnavailable

ASK_SECONDS = 60
FETCH_SECONDS = 3600
"""What a remote may take to say what it has, and to send it; a stalled HTTP one is left after 60 s."""

TIP = "refs/casebook/tip"
"""Where the mirror keeps the branch or tag asked for, whatever the remote calls it today."""

_OLDEST = (2, 32)
"""The first git that can be told to leave the user's configuration alone (GIT_CONFIG_GLOBAL)."""

_CONFIG = """\
[core]
\thooksPath = /dev/null
[gc]
\tautoDetach = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[i18n]
\tlogOutputEncoding = UTF-8
[safe]
\tdirectory = *
"""
"""`safe.directory` lets another user's repository be fetched from, as one mounted into a container
is: git serves such a repository without obeying its hooks or its filters."""

_OWN_VARIABLES = frozenset({"GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"})
"""Git's variables that a person may set for Casebook; a GIT_DIR of a calling hook must not reach us."""

_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$")
_SECRET = re.compile(r"(?<=://)[^/\s@]*@")
_HEADER = re.compile(rb"[0-9a-f]+ (?P<type>\w+) (?P<size>\d+)\n")
_REFUSED = re.compile(
    "could not read (Username|Password)|Authentication failed|Permission denied|Host key|40[13]"
)


_TELLING = ("fatal:", "error:", "ssh:", "remote:", "ERROR:")
"""How the lines begin that say what went wrong, among progress, hints and banners."""


@dataclass(frozen=True)
class Entry:
    """One file of a commit: its mode, object and size in bytes, and its path as git has it."""

    mode: str
    sha: str
    size: int
    path: bytes


class Mirror:
    """The copy of one branch or tag of a repository, and of its tags if wanted, in `folder`.

    Raises `InvalidInput` for a URL or ref that git could take for something else.
    """

    def __init__(
        self,
        url: str,
        ref: str | None,
        folder: Path,
        *,
        tags: bool = False,
        token_file: Path | None = None,
    ) -> None:
        if ref is not None and (not ref or _BAD_REF.search(ref)):
            raise InvalidInput(f"{ref!r} is no name of a branch or tag: give one such as main")
        self._address, self._secrets = without_credentials(url)
        self._url, self._token_file = url, token_file
        self.shown = shown(url)
        self.ref = ref
        self.tags = tags
        self.folder = Path(os.path.realpath(folder))
        self.path = self.folder / "mirror.git"

    # --- the remote ---------------------------------------------------------------------------

    def update(self) -> str | None:
        """Fetch what is new; returns the commit of the tip, or None of an empty repository.

        A remote that has not changed is asked once, and that is all. Raises `SourceUnavailable`.
        """
        if self._token_file:
            self._secrets = without_credentials(self._url, token_in(self._token_file))[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "gitconfig").write_text(_CONFIG)
        remote, head = self._ask()
        if not remote:
            if self.commit():
                self.run("update-ref", "-d", TIP)
            return None
        wanted = self._resolve(remote, head)
        if not (self.path / "HEAD").exists():
            self._create(remote[wanted])
        have = self.refs()
        if have.get(TIP) != remote[wanted] or (self.tags and _tags(have) != _tags(remote)):
            self._fetch(wanted)
        if not (commit := self.commit()):
            raise SourceUnavailable(f"{wanted} of {self.shown} is no commit: give `ref` a branch")
        return commit

    def _ask(self) -> tuple[dict[str, str], str | None]:
        """The remote's branches and tags, and the name behind its HEAD."""
        said = self._remote(
            "ls-remote",
            *("--symref", "--", self._address, "HEAD", "refs/heads/*", "refs/tags/*"),
            seconds=ASK_SECONDS,
        )
        head = re.search(rb"^ref: (\S+)\tHEAD$", said, re.MULTILINE)
        return _refs(said), head[1].decode(errors="surrogateescape") if head else None

    def _resolve(self, remote: Mapping[str, str], head: str | None) -> str:
        """The full name of what is to be fetched."""
        named = (f"refs/heads/{self.ref}", f"refs/tags/{self.ref}")
        for name in (head or "HEAD", "HEAD") if self.ref is None else named:
            if name in remote:
                return name
        branches = sorted(name[11:] for name in remote if name.startswith("refs/heads/"))
        have = ", ".join(printable(name) for name in branches[:5]) or "no branches"
        what = "its HEAD names no branch" if self.ref is None else f"no branch or tag {self.ref}"
        raise SourceUnavailable(f"{what} in {self.shown}: give `ref` one that it has ({have})")

    def _fetch(self, wanted: str) -> None:
        for lock in (*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")):
            lock.unlink(missing_ok=True)  # left by a fetch that was killed; nobody else writes here
        specs = [f"+{wanted}:{TIP}", *(["+refs/tags/*:refs/tags/*"] if self.tags else [])]
        self._remote(
            "fetch",
            *("--quiet", "--no-tags", "--prune", "--update-shallow", "--no-write-fetch-head"),
            *("--no-recurse-submodules", "--", self._address, *specs),
            seconds=FETCH_SECONDS,
        )

    def _remote(self, command: str, *arguments: str, seconds: float) -> bytes:
        inside = ("--git-dir", str(self.path)) if command != "ls-remote" else ()
        code, out, error = self._finish((*inside, command, *arguments), seconds)
        if code == 0:
            return out
        reason = f"no answer within {seconds:g} s" if code is None else _reason(error)
        remedy = (
            "give it a token (`token_file`, or https://user:token@host/…) or a host and key that ssh knows"
            if _REFUSED.search(reason)
            else "check the URL and the network"
        )
        raise SourceUnavailable(f"{self.shown} can't be reached: {reason}: {remedy}")

    # --- the copy -----------------------------------------------------------------------------

    def _create(self, sha: str) -> None:
        version = re.search(rb"(\d+)\.(\d+)", self._finish(("version",), ASK_SECONDS)[1])
        if not version or (int(version[1]), int(version[2])) < _OLDEST:
            raise SourceUnavailable("git is too old: install git 2.32 or newer")
        shutil.rmtree(self.path, ignore_errors=True)
        kind = "sha256" if len(sha) == 64 else "sha1"
        self.run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}")

    def commit(self) -> str | None:
        """The full sha of the commit that the copy stands at, or None where there is no copy."""
        refs = self.refs() if (self.path / "HEAD").exists() else {}
        if TIP not in refs:
            return None
        sha = refs.get(f"{TIP}^{{}}", refs[TIP])
        return sha if self.run("cat-file", "-t", sha).strip() == b"commit" else None

    def refs(self) -> dict[str, str]:
        """The copy's refs by name; what a tag object stands for is under its name and `^{}`."""
        return _refs(self._finish(self._inside("show-ref", "--dereference"), ASK_SECONDS)[1])

    def tree(self, commit: str) -> list[Entry]:
        """Every file of a commit, in git's order."""
        with self.tokens("ls-tree", "-r", "-z", "--long", "--full-tree", commit) as tokens:
            return [_entry(token) for token in tokens]

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether one commit lies in the history of another."""
        arguments = self._inside("merge-base", "--is-ancestor", older, newer)
        return self._finish(arguments, FETCH_SECONDS)[0] == 0

    def run(self, *arguments: str) -> bytes:
        """What a git command in the copy prints; raises `SourceUnavailable`."""
        code, out, error = self._finish(self._inside(*arguments), FETCH_SECONDS)
        if code != 0:
            raise self._broken(arguments[0], error)
        return out

    @contextmanager
    def tokens(self, *arguments: str, stdin: bytes = b"") -> Iterator[Iterator[bytes]]:
        """What a git command in the copy prints between NULs, as it comes.

        The command ends with the `with` block, read to its end or not. `stdin` is at most 60 kB:
        it is written before anything is read.
        """
        with tempfile.TemporaryFile() as error:
            process = self._start(self._inside(*arguments), error)
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(stdin)
                    process.stdin.close()
                yield self._until_the_end(process, process.stdout, arguments[0], error)
            finally:
                _stop(process)

    def _until_the_end(
        self, process: subprocess.Popen[bytes], out: IO[bytes], command: str, error: IO[bytes]
    ) -> Iterator[bytes]:
        rest = b""
        while block := out.read(1 << 16):
            *whole, rest = (rest + block).split(b"\0")
            yield from whole
        if rest:
            yield rest
        if process.wait() != 0:
            error.seek(0)
            raise self._broken(command, error.read())

    def blobs(self) -> "Blobs":
        return Blobs(self._start(self._inside("cat-file", "--batch"), subprocess.DEVNULL))

    def _broken(self, command: str, error: bytes) -> SourceUnavailable:
        return SourceUnavailable(
            f"git {command} failed in the copy of {self.shown}: {_reason(error)}: "
            f"if it stays so delete {self.path}, and the next sync fetches it anew"
        )

    # --- processes ----------------------------------------------------------------------------

    def _inside(self, *arguments: str) -> tuple[str, ...]:
        return ("--git-dir", str(self.path), *arguments)

    def _finish(
        self, arguments: tuple[str, ...], seconds: float
    ) -> tuple[int | None, bytes, bytes]:
        """The exit status, output and errors of a git command; None for a status if it is late."""
        process = self._start(arguments, subprocess.PIPE)
        try:
            out, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None, b"", b""
        finally:
            _stop(process)
        return process.returncode, out, error

    def _start(self, arguments: tuple[str, ...], error: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """In a session of its own, so no prompt reaches a terminal and all its children end with it."""
        try:
            return subprocess.Popen(
                ("git", *arguments),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                start_new_session=True,
            )
        except OSError as missing:
            raise SourceUnavailable(
                f"git can't be run ({missing.strerror}): install git 2.32 or newer to read {self.shown}"
            ) from missing

    def _environment(self) -> dict[str, str]:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name in _OWN_VARIABLES
        }
        return {
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=20",
            **own,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            "GIT_ALLOW_PROTOCOL": ":".join(sorted(SCHEMES)),
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "LC_ALL": "C",
            **self._secrets,
        }


class Blobs:
    """The contents of objects, from one `git cat-file --batch` that stays open until `close`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, name: str) -> bytes | None:
        """The bytes of a file by its sha or `<commit>:<path>`; None where there is none to be read."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(f"{name}\n".encode())
            stdin.flush()
        except BrokenPipeError:
            return None
        header = _HEADER.fullmatch(stdout.readline())
        if not header:
            return None
        data = stdout.read(int(header["size"]))
        stdout.read(1)
        return data if header["type"] == b"blob" and len(data) == int(header["size"]) else None

    def close(self) -> None:
        _stop(self._process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, gently first so that git removes its locks."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()


def _refs(lines: bytes) -> dict[str, str]:
    """`sha name` lines as a mapping from name to sha."""
    pairs = (line.split(maxsplit=1) for line in lines.splitlines() if line[:4] != b"ref:")
    return {name.decode(errors="surrogateescape"): sha.decode() for sha, name in pairs}


def _tags(refs: Mapping[str, str]) -> dict[str, str]:
    return {
        name: sha
        for name, sha in refs.items()
        if name.startswith("refs/tags/") and not name.endswith("^{}")
    }


def _entry(token: bytes) -> Entry:
    about, _, path = token.partition(b"\t")
    mode, _, sha, size = about.split()
    return Entry(mode.decode(), sha.decode(), int(size) if size.isdigit() else 0, path)


def _reason(error: bytes) -> str:
    """What git said, in a line and without credentials."""
    lines = [line.strip() for line in error.decode(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(_TELLING) or _REFUSED.search(line)] or lines
    said = "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in told[:2])
    return _SECRET.sub("", printable(said)).rstrip(".") or "git gave no reason"

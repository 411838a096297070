"""The git source: what is listed, read and fetched again, where citations lead, what never runs or leaks."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from index.errors import InvalidInput, ParseError
from ingest.parsers.parsed import Parsed
from ingest.sources.git import LARGEST, GitSettings, GitSource
from ingest.sources.patterns import Patterns
from ingest.sources.permalink import Links, shown
from ingest.sources.source import Content, Item, Listing, SourceUnavailable


class Repository:
    """A bare repository, and a working copy to push to it from; the nth commit is of the nth of May,
    2024, at ten o'clock in UTC."""

    def __init__(self, base: Path) -> None:
        self.bare = base / "payments.git"
        self.work = base / "work"
        self.day = 0
        base.mkdir(exist_ok=True)
        self._run(base, "init", "-q", "--bare", "-b", "main", str(self.bare))
        self._run(base, "init", "-q", "-b", "main", str(self.work))
        self.git("remote", "add", "origin", str(self.bare))

    def git(self, *arguments: str) -> str:
        return self._run(self.work, *arguments)

    def write(self, path: str, text: str | bytes) -> None:
        file = self.work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def commit(self, message: str = "Change", **files: str) -> str:
        """Commit everything, with files given as `name="text"` (of `name.md`); returns the full sha."""
        for name, text in files.items():
            self.write(f"{name}.md", text)
        self.day += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *arguments: str) -> None:
        self.git("push", "-q", *(arguments or ("origin", "HEAD", "--tags")))

    def _run(self, folder: Path, *arguments: str) -> str:
        stamp = f"{date(2024, 5, 1) + timedelta(self.day - 1)}T12:00:00+02:00"
        who = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_DATE": stamp,
            "GIT_COMMITTER_DATE": stamp,
        }
        for role in ("AUTHOR", "COMMITTER"):
            who |= {f"GIT_{role}_NAME": "Ann Author", f"GIT_{role}_EMAIL": "ann@example.org"}
        done = subprocess.run(
            ("git", *arguments), cwd=folder, env=os.environ | who, check=True, capture_output=True
        )
        return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "remote")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to which every git command line is written, by a `git` that stands before the real one."""
    folder, log = tmp_path / "bin", tmp_path / "commands.log"
    folder.mkdir()
    log.touch()
    script = folder / "git"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def source(
    repository: Repository,
    tmp_path: Path,
    code_suffixes: frozenset[str] = frozenset(),
    **settings: object,
) -> GitSource:
    chosen = GitSettings(url=str(repository.bare), **settings)  # type: ignore[arg-type]
    return GitSource("payments", chosen, tmp_path / "copy", code_suffixes=code_suffixes)


def ids(listing: Listing) -> list[str]:
    return [item.id for item in listing.items]


def read(source: GitSource, path: str) -> Content:
    return source.read(next(item for item in source.list().items if item.id == path))


# --- listing ----------------------------------------------------------------------------------


def test_documents_are_listed_and_other_files_passed_over(
    repository: Repository, tmp_path: Path
) -> None:
    for path in ("README", "docs/adr/0001-queue.md", "guide.rst", "main.py", "logo.png"):
        repository.write(path, "x\n")
    tip = repository.commit()
    repository.push()
    with source(repository, tmp_path) as git:
        listing = git.list()
    assert ids(listing) == ["README", "docs/adr/0001-queue.md", "guide.rst"]
    assert (listing.revision, listing.passed_over, listing.skipped) == (tip, 2, ())


def test_code_is_listed_when_asked_for(repository: Repository, tmp_path: Path) -> None:
    for path in ("README.md", "main.py", "logo.png"):
        repository.write(path, "x\n")
    repository.commit()
    repository.push()
    with source(repository, tmp_path, frozenset({".py"}), code=True) as git:
        assert ids(git.list()) == ["README.md", "main.py"]
        assert read(git, "main.py").kind == "code"


def test_patterns_choose_among_documents(repository: Repository, tmp_path: Path) -> None:
    for path in ("a.md", "docs/b.md", "docs/old/c.md", "docs/d.py"):
        repository.write(path, "x\n")
    repository.commit()
    repository.push()
    patterns = Patterns(include=("docs/",), exclude=("old/",))
    with source(repository, tmp_path, patterns=patterns) as git:
        assert ids(git.list()) == ["docs/b.md"]


def test_revision_is_that_of_the_content(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one", b="one")
    repository.push()
    with source(repository, tmp_path) as git:
        before = git.list()
        repository.commit(b="two")
        repository.push()
        after = git.list()
    assert before.items[0] == after.items[0]
    assert before.items[1].revision != after.items[1].revision


def test_renamed_and_deleted_files_are_listed_no_more(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a="one", b="two")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        repository.git("mv", "a.md", "c.md")
        repository.git("rm", "-q", "b.md")
        moved = repository.commit("Move a, drop b")
        repository.push()
        assert ids(git.list()) == ["c.md"]
        assert read(git, "c.md").revision == moved[:12]


def test_links_and_submodules_are_passed_over(repository: Repository, tmp_path: Path) -> None:
    (repository.work / "secrets.md").symlink_to("/etc/passwd")
    own = repository.commit(a="text")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{own},module.md")
    repository.git("commit", "-q", "-m", "A submodule")
    repository.push()
    with source(repository, tmp_path) as git:
        listing = git.list()
    assert (ids(listing), listing.passed_over) == (["a.md"], 2)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (b"new\nline.md", "new\\nline.md"),
        (b"bad\xff.md", "bad\\udcff.md"),
        (b"tab\t.md", "tab\\t.md"),
    ],
)
def test_odd_names_are_skipped_by_name(
    repository: Repository, tmp_path: Path, name: bytes, named: str
) -> None:
    Path(os.fsdecode(os.fsencode(repository.work) + b"/" + name)).write_text("x")
    repository.commit(a="text")
    repository.push()
    with source(repository, tmp_path) as git:
        listing = git.list()
    assert ids(listing) == ["a.md"]
    assert [skipped.item for skipped in listing.skipped] == [named]
    assert "rename" in listing.skipped[0].reason


def test_a_path_that_leads_out_is_skipped(repository: Repository, tmp_path: Path) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", "--path=x") or ""
    inner = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        input=b"100644 up.md\0" + bytes.fromhex(blob),
        cwd=repository.work,
        capture_output=True,
        check=True,
    ).stdout.strip()
    outer = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        input=b"40000 ..\0" + bytes.fromhex(inner.decode()),
        cwd=repository.work,
        capture_output=True,
        check=True,
    ).stdout.strip()
    commit = repository.git("commit-tree", "-m", "Climb", outer.decode())
    repository.push("origin", f"{commit}:refs/heads/main")
    with source(repository, tmp_path) as git:
        listing = git.list()
    assert listing.items == ()
    assert "leads out" in listing.skipped[0].reason


def test_a_file_that_is_too_large_is_skipped(repository: Repository, tmp_path: Path) -> None:
    repository.write("big.md", b"x" * (LARGEST + 1))
    repository.commit(a="text")
    repository.push()
    with source(repository, tmp_path) as git:
        listing = git.list()
    assert ids(listing) == ["a.md"]
    assert "10.0 MiB" in listing.skipped[0].reason


def test_an_empty_repository_lists_nothing(repository: Repository, tmp_path: Path) -> None:
    with source(repository, tmp_path) as git:
        assert git.list() == Listing(())


def test_a_repository_that_was_emptied_lists_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        (item,) = git.list().items
        subprocess.run(
            ["git", "update-ref", "-d", "refs/heads/main"], cwd=repository.bare, check=True
        )
        assert git.list() == Listing(())
        with pytest.raises(ParseError):
            git.read(item)


def test_a_shallow_repository_is_read(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    tip = repository.commit(b="two")
    repository.push()
    shallow = tmp_path / "shallow"
    url = f"file://{repository.bare}"
    subprocess.run(["git", "clone", "-q", "--depth=1", url, shallow], check=True)
    with GitSource("shallow", GitSettings(str(shallow)), tmp_path / "copy") as git:
        assert {read(git, item.id).revision for item in git.list().items} == {tip[:12]}


# --- fetching ---------------------------------------------------------------------------------


def objects(tmp_path: Path) -> int:
    """How many objects the copy holds."""
    counted = subprocess.run(
        ["git", "--git-dir", tmp_path / "copy" / "mirror.git", "count-objects", "-v"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return int(counted[1]) + int(counted[5])


def test_unchanged_remote_is_asked_once_and_neither_fetched_nor_logged(
    repository: Repository, tmp_path: Path, commands: Path
) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        before = git.list()
        commands.write_text("")
        assert git.list() == before
    said = commands.read_text()
    assert said.count("ls-remote") == 1
    assert " fetch " not in said
    assert " log " not in said


def test_a_source_opened_again_neither_fetches_nor_logs(
    repository: Repository, tmp_path: Path, commands: Path
) -> None:
    tip = repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        item = git.list().items[0]
    commands.write_text("")
    with source(repository, tmp_path) as again:
        assert again.read(item).revision == tip[:12]
        assert again.list().items == (item,)
    assert " fetch " not in commands.read_text()
    assert " log " not in commands.read_text()


def test_only_new_objects_and_new_commits_are_read(
    repository: Repository, tmp_path: Path, commands: Path
) -> None:
    repository.commit(a="one")
    old = repository.commit(b="two")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        had = objects(tmp_path)
        new = repository.commit(b="three")
        repository.push()
        commands.write_text("")
        git.list()
        assert objects(tmp_path) - had == 3  # the commit, its tree and one blob
        assert [line for line in commands.read_text().splitlines() if " log " in line] == [
            line for line in commands.read_text().splitlines() if f"{old}..{new} --" in line
        ]
        assert read(git, "b.md").revision == new[:12]


def test_a_forced_push_is_followed(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    lost = repository.commit(b="two")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        repository.git("reset", "-q", "--hard", "HEAD~1")
        tip = repository.commit("Again", b="two", c="three")
        repository.push("--force", "origin", "main")
        listing = git.list()
        assert (listing.revision, ids(listing)) == (tip, ["a.md", "b.md", "c.md"])
        assert read(git, "b.md").metadata["commit"] == tip != lost


def test_a_commit_that_was_pushed_away_is_cited_no_more(
    repository: Repository, tmp_path: Path
) -> None:
    first = repository.commit(a="one")
    repository.commit(a="two")
    revert = repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        assert read(git, "a.md").metadata["commit"] == revert
        repository.push("--force", "origin", f"{first}:main")
        assert read(git, "a.md").metadata["commit"] == first


def test_a_renamed_default_branch_is_followed(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        repository.git("checkout", "-q", "-b", "trunk")
        tip = repository.commit(b="two")
        repository.push()
        subprocess.run(["git", "branch", "-D", "-q", "main"], cwd=repository.bare, check=True)
        with pytest.raises(SourceUnavailable, match=r"its HEAD names no branch .* `ref` .*trunk"):
            git.list()
        subprocess.run(
            ["git", "symbolic-ref", "HEAD", "refs/heads/trunk"], cwd=repository.bare, check=True
        )
        assert git.list().revision == tip


def test_a_tag_or_a_branch_can_be_asked_for(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(a="one")
    repository.git("tag", "-a", "-m", "First", "v1")
    second = repository.commit(a="two")
    repository.git("branch", "release/2")
    repository.commit(a="three")
    repository.push("origin", "--all")
    repository.push("origin", "--tags")
    for ref, commit in (("v1", first), ("release/2", second)):
        with source(repository, tmp_path, ref=ref) as git:
            assert git.list().revision == commit


def test_an_absent_branch_is_named_with_those_that_are(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a="one")
    repository.push()
    with (
        source(repository, tmp_path, ref="mian") as git,
        pytest.raises(SourceUnavailable, match=r"mian .*main"),
    ):
        git.list()


def test_locks_of_a_killed_fetch_are_no_obstacle(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        for lock in ("shallow.lock", "refs/casebook/tip.lock", "packed-refs.lock"):
            (tmp_path / "copy" / "mirror.git" / lock).touch()
        tip = repository.commit(a="two")
        repository.push()
        assert git.list().revision == tip


# --- reading ----------------------------------------------------------------------------------


def test_content_says_when_and_by_which_commit(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(a="# A\n\nText.\n")
    repository.commit(b="other")
    repository.push()
    with source(repository, tmp_path, project="Payments") as git:
        content = read(git, "a.md")
    assert content.body == b"# A\n\nText.\n"
    assert content.revision == first[:12]
    assert content.modified_at == "2024-05-01T10:00:00+00:00"
    assert content.uri == f"{repository.bare}/a.md@{first[:12]}"
    assert content.metadata == {
        "path": "a.md",
        "commit": first,
        "repository": str(repository.bare),
        "project": "Payments",
    }


def test_a_readme_without_a_suffix_is_text(repository: Repository, tmp_path: Path) -> None:
    repository.write("README", "Plain words.\n")
    repository.commit()
    repository.push()
    with source(repository, tmp_path) as git:
        content = read(git, "README")
    assert isinstance(content.body, Parsed)
    assert (content.body.text, content.kind) == ("Plain words.\n", "readme")


def test_last_commit_is_the_one_that_the_content_is_from(
    repository: Repository, tmp_path: Path
) -> None:
    """A merge that keeps our side leaves the newer commit of the other side in the log."""
    ours = repository.commit(a="ours")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit(a="theirs")
    repository.git("checkout", "-q", "main")
    repository.commit(b="more")
    repository.git("merge", "-q", "-s", "ours", "--no-edit", "side")
    repository.push()
    with source(repository, tmp_path) as git:
        assert read(git, "a.md").metadata["commit"] == ours


def test_last_commit_may_be_a_merge_that_resolved_a_conflict(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a="base")
    repository.git("checkout", "-q", "-b", "side")
    repository.commit(a="theirs")
    repository.git("checkout", "-q", "main")
    repository.commit(a="ours")
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "-q", "side")
    merge = repository.commit("Merge both", a="both")
    repository.push()
    with source(repository, tmp_path) as git:
        assert read(git, "a.md").metadata["commit"] == merge


def test_a_change_and_its_revert_count_as_a_touch(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        repository.commit(a="two")
        revert = repository.commit(a="one")
        repository.push()
        assert read(git, "a.md").metadata["commit"] == revert


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("docs/adr/0001-queue.md", "adr"),
        ("decisions/0002-cache.md", "adr"),
        ("ops/runbooks/restart.md", "runbook"),
        ("README.md", "readme"),
        ("docs/guide.md", "page"),
    ],
)
def test_kind_follows_the_path(
    repository: Repository, tmp_path: Path, path: str, kind: str
) -> None:
    repository.write(path, "x\n")
    repository.commit()
    repository.push()
    with source(repository, tmp_path) as git:
        assert read(git, path).kind == kind


def test_an_item_of_an_older_listing_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        old = git.list().items[0]
        repository.commit(a="two")
        repository.push()
        git.list()
        with pytest.raises(ParseError, match=r"a\.md is not in"):
            git.read(old)
        with pytest.raises(ParseError, match=r"nothing\.md is not in"):
            git.read(Item("nothing.md", old.revision))


def test_a_damaged_copy_is_named_and_the_next_file_read(
    repository: Repository, tmp_path: Path
) -> None:
    repository.commit(a="one", b="two")
    repository.push()
    with source(repository, tmp_path) as git:
        a, b = git.list().items
        loose = tmp_path / "copy" / "mirror.git" / "objects" / a.revision[:2] / a.revision[2:]
        loose.chmod(0o644)
        loose.write_bytes(b"damage")
        with pytest.raises(ParseError, match=r"a\.md can't be read .* delete"):
            git.read(a)
        assert git.read(b).body == b"two"


def test_a_file_in_lfs_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    repository.push()
    with source(repository, tmp_path) as git, pytest.raises(ParseError, match="LFS"):
        read(git, "a.md")


def test_an_included_file_is_found_beside(repository: Repository, tmp_path: Path) -> None:
    repository.write("docs/part.inc", "Part.\n")
    repository.commit(a="one")
    repository.push()
    with source(repository, tmp_path) as git:
        git.list()
        assert git.beside("docs/../docs/part.inc") == b"Part.\n"
        assert git.beside("docs") is None
        assert git.beside("no such file here") is None
        assert git.beside("../a.md") is None
        assert git.beside("a.md") == b"one"


def test_lines_are_counted_from_behind_front_matter(repository: Repository, tmp_path: Path) -> None:
    tip = repository.commit(a="---\ntitle: A\n---\n\nText.\n")
    repository.push()
    git = source(repository, tmp_path)
    git.links = Links.to("git@github.com:acme/payments.git")
    with git:
        metadata = read(git, "a.md").metadata
    page = f"https://github.com/acme/payments/blob/{tip}/a.md"
    assert metadata["lines"] == page + "?plain=1#L{start}-L{end}"
    assert metadata["first_line"] == 5


def test_closing_ends_the_reading_process(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one")
    repository.push()
    git = source(repository, tmp_path)
    read(git, "a.md")
    assert git._blobs
    process = git._blobs._process
    assert process.poll() is None
    git.close()
    assert process.poll() is not None
    assert read(git, "a.md").body == b"one"
    git.close()


# --- permalinks -------------------------------------------------------------------------------

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        ("https://github.com/acme/pay.git", "github.com/acme/pay/blob/{sha}/d/a%20b.py#L{s}-L{e}"),
        ("git@github.com:acme/pay.git", "github.com/acme/pay/blob/{sha}/d/a%20b.py#L{s}-L{e}"),
        ("ssh://git@ssh.github.com:443/acme/pay", "github.com/acme/pay/blob/{sha}/d/a%20b.py#L{s}-L{e}"),
        ("https://u:t@github.acme.io:8443/a/b/", "github.acme.io:8443/a/b/blob/{sha}/d/a%20b.py#L{s}-L{e}"),
        ("git@gitlab.com:acme/sub/pay.git", "gitlab.com/acme/sub/pay/-/blob/{sha}/d/a%20b.py#L{s}-{e}"),
        ("ssh://git@gitlab.acme.io:2222/a/b.git", "gitlab.acme.io/a/b/-/blob/{sha}/d/a%20b.py#L{s}-{e}"),
        ("https://me@bitbucket.org/acme/pay.git", "bitbucket.org/acme/pay/src/{sha}/d/a%20b.py#lines-{s}:{e}"),
        (
            "https://bitbucket.acme.io/scm/pay/api.git",
            "bitbucket.acme.io/projects/PAY/repos/api/browse/d/a%20b.py?at={sha}#{s}-{e}",
        ),
        (
            "https://bitbucket.acme.io/tools/scm/pay/api.git",
            "bitbucket.acme.io/tools/projects/PAY/repos/api/browse/d/a%20b.py?at={sha}#{s}-{e}",
        ),
        (
            "ssh://git@bitbucket.acme.io:7999/~ann/api.git",
            "bitbucket.acme.io/users/ann/repos/api/browse/d/a%20b.py?at={sha}#{s}-{e}",
        ),
    ],
)  # fmt: skip
def test_permalink_to_lines(url: str, lines: str) -> None:
    expected = "https://" + lines.replace("{s}", "{start}").replace("{e}", "{end}")
    assert Links.to(url).lines(SHA, "d/a b.py") == expected.replace("{sha}", SHA)


def test_permalinks_to_commits_and_tags() -> None:
    github, gitlab = Links.to("git@github.com:a/b.git"), Links.to("https://gitlab.com/a/b")
    bitbucket = Links.to("https://bitbucket.org/a/b")
    assert github.commit(SHA) == f"https://github.com/a/b/commit/{SHA}"
    assert github.tag("v1#x") == "https://github.com/a/b/releases/tag/v1%23x"
    assert gitlab.commit(SHA) == f"https://gitlab.com/a/b/-/commit/{SHA}"
    assert bitbucket.commit(SHA) == f"https://bitbucket.org/a/b/commits/{SHA}"


def test_lines_of_rendered_files_are_those_of_the_plain_view() -> None:
    for url in ("https://github.com/a/b", "https://gitlab.com/a/b"):
        assert "?plain=1#L" in (Links.to(url).lines(SHA, "a.md") or "")


def test_braces_in_a_name_do_not_spoil_the_template() -> None:
    lines = Links.to("https://github.com/a/b").lines(SHA, "{x}/{start}.py")
    assert lines is not None
    assert lines.format(start=1, end=2).endswith("/%7Bx%7D/%7Bstart%7D.py#L1-L2")


@pytest.mark.parametrize("host", ["github.com", "gitlab.com", "bitbucket.org", "bitbucket.acme.io"])
def test_an_address_without_an_owner_is_no_obstacle(host: str) -> None:
    assert host in Links.to(f"https://{host}/pay").page(SHA, "a.md")


@pytest.mark.parametrize("url", ["/srv/git/pay", "ssh://git@code.acme.io/pay.git", "C:/git/pay"])
def test_other_remotes_say_where_without_a_page(url: str) -> None:
    links = Links.to(url)
    assert links.page(SHA, "d/a b.md") == f"{url}/d/a b.md@0123456789ab"
    assert links.lines(SHA, "a.md") is None


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@github.com/a/b.git",
        "https://hunter2@gitlab.acme.io/a/b.git",
        "https://user:hunter2@code.acme.io/a/b?private_token=hunter2",
        "ssh://git:hunter2@code.acme.io/a/b",
    ],
)
def test_credentials_are_in_no_address(url: str) -> None:
    links = Links.to(url)
    said = (links.base, links.page(SHA, "a"), links.commit(SHA), links.tag("v1"), shown(url))
    assert "hunter2" not in " ".join(said)


# --- what must not happen ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("", "--upload-pack=touch x", "-x", "ext::sh -c touch% x", "fd::17", "http::x", "a\nb"),
        *("ftp://host/a", "https://[bad/a", "https://host:port/a", "https:///a"),
    ],
)
def test_a_url_that_git_takes_for_something_else_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="no git URL"):
        GitSource("x", GitSettings(url), tmp_path)


@pytest.mark.parametrize(
    "ref", ["", "-x", "--upload-pack=x", "a b", "a..b", "a:b", "*", "a\n", "@{1}"]
)
def test_a_ref_that_git_takes_for_something_else_is_refused(tmp_path: Path, ref: str) -> None:
    with pytest.raises(InvalidInput, match="branch or tag"):
        GitSource("x", GitSettings("/srv/git", ref), tmp_path)


def test_a_refused_url_keeps_its_credentials_to_itself(tmp_path: Path) -> None:
    for url in ("https://me:hunter2@host:port/a", "ftp://me:hunter2@host/a"):
        with pytest.raises(InvalidInput) as refused:
            GitSource("x", GitSettings(url), tmp_path)
        assert "hunter2" not in str(refused.value)


def test_an_unreachable_repository_says_so(tmp_path: Path) -> None:
    with (
        GitSource("x", GitSettings(str(tmp_path / "nothing")), tmp_path / "copy") as git,
        pytest.raises(SourceUnavailable, match=r"nothing can't be reached: .*check the URL"),
    ):
        git.list()


def test_a_missing_git_says_so(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        source(repository, tmp_path) as git,
        pytest.raises(SourceUnavailable, match="install git"),
    ):
        git.list()


def test_no_hook_filter_or_configured_command_runs(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {trace}\nexit 0\n")
    script.chmod(0o755)
    repository.write(".gitattributes", "*.md filter=evil diff=evil\n")
    repository.commit(a="one")
    repository.push()
    hooks = ("post-checkout", "reference-transaction", "post-update", "fsmonitor-watchman")
    for hook in hooks:
        shutil.copy(script, repository.bare / "hooks" / hook)
    home = tmp_path / "home"
    (home / "template" / "hooks").mkdir(parents=True)
    for hook in hooks:
        shutil.copy(script, home / "template" / "hooks" / hook)
    config = f"""
[init]
    templateDir = {home}/template
[core]
    fsmonitor = {script}
    hooksPath = {home}/template/hooks
    sshCommand = {script}
    askPass = {script}
[credential]
    helper = !{script}
[uploadpack]
    packObjectsHook = {script}
[filter "evil"]
    smudge = {script}
    clean = {script}
[diff "evil"]
    command = {script}
    textconv = {script}
"""
    (home / ".gitconfig").write_text(config)
    with (repository.bare / "config").open("a") as own:
        own.write(config)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_ASKPASS", str(script))
    with source(repository, tmp_path) as git:
        assert read(git, "a.md").body == b"one"
    assert not trace.exists()


def test_a_calling_hooks_repository_is_not_taken_for_the_copy(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="one")
    repository.push()
    (tmp_path / "objects").mkdir()
    monkeypatch.setenv("GIT_DIR", str(repository.work / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    with source(repository, tmp_path) as git:
        assert ids(git.list()) == ["a.md"]
    assert list((tmp_path / "objects").iterdir()) == []


class Guarded(SimpleHTTPRequestHandler):
    """The files of a repository, for those who say that they are user with the token hunter2."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == "Basic dXNlcjpodW50ZXIy":
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(repository: Repository, handler: type[Guarded]) -> Iterator[str]:
    """The host and port of an HTTP server of the repository."""
    made = partial(handler, directory=str(repository.bare.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def server(repository: Repository) -> Iterator[str]:
    with serving(repository, Guarded) as address:
        yield address


def test_credentials_reach_the_server_and_nobody_else(
    repository: Repository, tmp_path: Path, server: str, commands: Path
) -> None:
    repository.commit(a="one")
    repository.push()
    subprocess.run(["git", "update-server-info"], cwd=repository.bare, check=True)
    settings = GitSettings(f"http://user:hunter2@{server}/payments.git")
    with GitSource("x", settings, tmp_path / "copy") as git:
        content = read(git, "a.md")
    assert content.body == b"one"
    assert "hunter2" not in repr(content) + commands.read_text()
    for path in (tmp_path / "copy").rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_credentials_do_not_follow_a_redirect(repository: Repository, tmp_path: Path) -> None:
    asked: list[str | None] = []

    class Elsewhere(Guarded):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            super().do_GET()

    class Redirect(Guarded):
        def do_GET(self) -> None:
            if self.headers.get("Authorization"):
                self.send_response(302)
                self.send_header("Location", f"http://{elsewhere}{self.path}")
                self.end_headers()
            else:
                super().do_GET()

    with serving(repository, Elsewhere) as elsewhere, serving(repository, Redirect) as front:
        settings = GitSettings(f"http://user:hunter2@{front}/payments.git")
        with (
            GitSource("x", settings, tmp_path / "copy") as git,
            pytest.raises(SourceUnavailable),
        ):
            git.list()
    assert asked
    assert not any(asked)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.sources.repository.ASK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = GitSettings(f"http://127.0.0.1:{port}/a.git")
        with (
            GitSource("x", settings, tmp_path / "copy") as git,
            pytest.raises(SourceUnavailable, match=r"no answer within 0\.1 s"),
        ):
            git.list()
        connection, _ = silent.accept()
        connection.settimeout(5)
        with connection:
            while connection.recv(4096):  # ends when the last process that holds it has ended
                pass


def test_refused_credentials_are_not_in_the_error(
    repository: Repository, tmp_path: Path, server: str
) -> None:
    settings = GitSettings(f"http://user:wrong-hunter2@{server}/payments.git")
    with (
        GitSource("x", settings, tmp_path / "copy") as git,
        pytest.raises(SourceUnavailable, match="token") as refused,
    ):
        git.list()
    assert "hunter2" not in str(refused.value)

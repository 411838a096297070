"""Paths that lead out: over HTTP, in folders, repositories and sites that are read, and where files are written."""

import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from index.embedder import Embedder
from index.errors import CasebookError
from index.schema import Document, DocumentId, Revision, content_hash
from ingest.access import AccessRules
from ingest.export import export_jsonl, export_markdown
from ingest.sources.folder import FolderSource
from ingest.sync import Synced, sync, sync_documents
from tests.attack.tenants import Service
from tests.attack.traversals import traversals
from tests.conftest import ROOT, World, casebook, quiet

SECRET = "outsidequartz"


# --- over HTTP --------------------------------------------------------------------------------


def raw(service: Service, target: bytes, key: str = "") -> tuple[int, bytes]:
    """What is answered to a request line of exactly these bytes, which no client has put in order."""
    place = urlsplit(service.address)
    with socket.create_connection(
        (place.hostname or "", place.port or 0), timeout=30
    ) as connection:
        sent = f"Host: {place.netloc}\r\nConnection: close\r\n{key}\r\n".encode()
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\n" + sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer


def as_sent(path: str) -> bytes:
    """UTF-8 in a request line, without what would end it."""
    return path.encode().replace(b" ", b"%20")


WITHIN = {
    (ROOT / "assistant/web" / name).read_bytes() for name in os.listdir(ROOT / "assistant/web")
}


@pytest.mark.parametrize("route", ["/static/", "/documents/", "/ingest/", "/v1/models/", "/"])
def test_no_path_leads_out_of_a_route(service: Service, route: str) -> None:
    root = service.identities["an administrator"].sent[0][1]
    key = f"Authorization: {root!s}\r\n"
    wrong = []
    for path in traversals():
        status, answer = raw(service, as_sent(route + path), key)
        head, _, body = answer.partition(b"\r\n\r\n")
        told = any(
            each in body for each in (b"root:x:", b"def create_app", b"SQLite format", b"PATH=")
        )
        strange = status == 200 and body not in WITHIN and b"application/json" not in head
        if told or strange or status >= 500 or b"Set-Cookie" in head or b"Traceback" in answer:
            wrong.append((path[:80], status, body[:200]))
        if status in (307, 308):
            assert b"location: http://127.0.0.1:" in head.lower(), path
    assert wrong == []


# --- folders ----------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the folder that is read, which must not be."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text(f"# Secret\n\n{SECRET}\n", encoding="utf-8")
    (outside / "secret.py").write_text(f"{SECRET} = 1\n", encoding="utf-8")
    return outside


def held(folder: Path, index: Path, embedder: Embedder) -> str:
    """All that is in an index after a folder was read."""
    source = FolderSource("docs", (folder,), folder.parent)
    sync([Synced(source, AccessRules(frozenset({"public"})))], index, embedder, report=quiet)
    out = index.parent / "out"
    export_jsonl(index, out)
    return (out / "chunks.jsonl").read_text(encoding="utf-8")


def test_links_do_not_lead_out_of_a_folder(world: World, outside: Path) -> None:
    world.write("a.md", "# Plain\n\nIt is here.\n")
    links = {
        "file.md": "secret.md",
        "folder": ".",
        "up": "..",
        "absolute.md": str(outside / "secret.md"),
    }
    for name, target in links.items():
        (world.docs / name).symlink_to(outside / target)
    (world.docs / "loop").symlink_to(world.docs)
    (world.docs / "dangling.md").symlink_to("nowhere")
    (world.docs / "environ.md").symlink_to("/proc/self/environ")
    os.mkfifo(world.docs / "pipe.md")
    found = held(world.docs, world.index, world.embedder)
    assert "It is here." in found
    assert SECRET not in found
    assert found.count("\n") == 1


def test_a_file_that_became_a_link_since_it_was_listed_is_not_followed(
    world: World, outside: Path
) -> None:
    world.write("a.md", "# Plain\n\nIt is here.\n")
    source = FolderSource("docs", (world.docs,), world.base)
    (item,) = source.list().items
    (world.docs / "a.md").unlink()
    (world.docs / "a.md").symlink_to(outside / "secret.md")
    with pytest.raises(CasebookError):
        source.read(item)


INCLUDES = {
    "a.adoc": "= A\n\ninclude::{0}[]\n",
    "b.rst": "B\n=\n\n.. include:: {0}\n\n.. literalinclude:: {0}\n",
    "c.mdx": "import Part from '{0}'\n\n# C\n\n<Part />\n",
    "d.md": '# D\n\n{{{{< readfile file="{0}" >}}}}\n\n{{{{% include "{0}" %}}}}\n\n--8<-- "{0}"\n',
}


def test_includes_do_not_lead_out_of_a_folder(world: World, outside: Path) -> None:
    (world.docs / "link").symlink_to(outside)
    for name in ("secret.md", "secret.py"):
        for number, target in enumerate(
            (
                f"../outside/{name}",
                f"{outside}/{name}",
                f"/{outside}/{name}",
                f"./../outside/{name}",
                f"x/../../outside/{name}",
                f"link/{name}",
                f"file://{outside}/{name}",
                f"..\\outside\\{name}",
                f"%2e%2e/outside/{name}",
                f"@site/../outside/{name}",
                f"~/../{outside}/{name}",
            )
        ):
            for page, text in INCLUDES.items():
                world.write(
                    f"{number}-{name}-{page}", f"{text.format(target)}\nWords of its own.\n"
                )
    found = held(world.docs, world.index, world.embedder)
    assert "Words of its own." in found
    assert SECRET not in found


# --- repositories -----------------------------------------------------------------------------


def test_paths_in_a_repository_do_not_lead_out_of_it(world: World, outside: Path) -> None:
    """A tree can be written with names that git itself would never check out."""
    from ingest.sources.settings import open_sources

    repository = world.base / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)

    def git(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    blob = git("hash-object", "-w", "--stdin", data=b"# Here\n\nWords of its own.\n")
    link = git("hash-object", "-w", "--stdin", data=f"{outside}/secret.md".encode())
    evil = [
        f"100644 blob {blob}\t{name}".encode()
        for name in (
            "a.md",
            "-x.md",
            "--upload-pack=x.md",
            "a\nb.md",
            "..md",
            "...md",
            "C:a.md",
            "a\\..\\b.md",
        )
    ]
    evil += [f"120000 blob {link}\tlink.md".encode(), f"120000 blob {link}\t.gitmodules".encode()]
    inner = git("mktree", "-z", data=b"\0".join(evil) + b"\0")
    # `mktree` takes no `..`; a tree object is bytes, which anybody can write.
    entries = b"".join(
        mode + b" " + name + b"\0" + bytes.fromhex(sha)
        for mode, name, sha in sorted(
            [(b"40000", b"..", inner), (b"40000", b".git", inner), (b"40000", b"docs", inner)],
            key=lambda entry: entry[1],
        )
    )
    tree = git("hash-object", "-w", "-t", "tree", "--stdin", "--literally", data=entries)
    who = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
    commit = git(*who, "commit-tree", tree, "-m", "x")
    git("update-ref", "refs/heads/main", commit)
    git("symbolic-ref", "HEAD", "refs/heads/main")

    from pydantic import TypeAdapter

    from ingest.sources.settings import Entry

    entry = TypeAdapter(Entry).validate_python(
        {"name": "code", "type": "git", "url": repository.as_uri(), "access": ["public"]}
    )
    before = {path for path in world.base.rglob("*") if "copies" not in path.parts}
    (source,) = open_sources([entry], world.base / "copies")
    try:
        sync([source], world.index, world.embedder, report=quiet)
        export_jsonl(world.index, world.base / "out")
        told = (world.base / "out/chunks.jsonl").read_text(encoding="utf-8")
    except CasebookError as error:
        told = str(error)
    assert SECRET not in told
    after = {path for path in world.base.rglob("*") if "copies" not in path.parts}
    assert all(
        path.is_relative_to(world.index) or path.is_relative_to(world.base / "out")
        for path in after - before
    )


# --- where files are written ------------------------------------------------------------------


def named(name: str) -> Document:
    return Document(
        id=DocumentId(name), title=name, text=f"# {name}\n\nWords.\n", source_name="", source=name,
        kind="note", revision=Revision(content_hash(name)[:8]), modified_at=None,
        ingested_at="2026-01-01T00:00:00+00:00", access=frozenset({"public"}), metadata={},
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../../x", "..", "/tmp/x", "a/b", "a\\..\\b", "x\0y", ".", "", "C:x", "a" * 300]
)
def test_an_export_stays_in_its_folder(tmp_path: Path, embedder: Embedder, name: str) -> None:
    index, out = tmp_path / "a/b/index", tmp_path / "a/b/out"
    sync_documents([named("plain"), named(name)], index, embedder, report=quiet)
    try:
        export_markdown(index, out)
    except CasebookError:
        pass  # refused by name is as good
    else:
        assert len(list(out.iterdir())) == 2
    assert not [path for path in tmp_path.rglob("*.md") if path.parent != out]
    assert all(path.is_file() for path in out.iterdir())


@pytest.mark.parametrize(
    "path",
    ["/proc/self/environ", "/dev/zero", "/etc/passwd\n", "\udcff", "nowhere", "-x", "a" * 5000],
)
def test_a_path_that_is_no_document_is_a_plain_error(tmp_path: Path, path: str) -> None:
    done = casebook("ingest", "--", path, cwd=tmp_path)
    assert done.returncode in (2, 3, 4)
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr

"""What git sources cost: `python -m benchmarks.repositories` writes the infra-faq corpus out as a git
repository for each project, and ingests them all through the git source.

Measured in a process of its own: the first sync, one with nothing changed, one with a page in a
hundred changed, and a change to one page, from the sync's start until it is answered with. The work
folder is kept: a second run measures the last three again without embedding anew.
"""

import gzip
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.questions import SHARED_EVAL

WORK = Path("build/repositories")

GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]


@click.command()
@click.option("--pages", type=int, help="Only so many of the pages.")
@click.option("--measure", is_flag=True, hidden=True)
def main(pages: int | None, measure: bool) -> None:
    """Write the repositories, measure, and print a JSON object."""
    if measure:
        print(json.dumps(measured()), flush=True)
        return
    count = write_repositories(pages)
    print(f"{count} pages in {len(list(repositories()))} repositories", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.repositories", "--measure"]
    subprocess.run(command, check=True)


def write_repositories(pages: int | None) -> int:
    """One repository a project, with one commit; left as they are where they exist. Returns the pages."""
    by_project: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(SHARED_EVAL / "infra-faq" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if pages is None or number < pages:
                page = json.loads(line)
                by_project.setdefault(page["project"], []).append(page)
    for project, its_pages in by_project.items():
        folder = WORK / "repositories" / re.sub(r"[^a-z0-9-]", "-", project.lower())
        if (folder / ".git").exists():
            continue
        for page in its_pages:
            path = folder / Path(page["path"]).with_suffix(".md")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page["text"], encoding="utf-8")
        subprocess.run([*GIT, "init", "-q", "-b", "main", folder], check=True)
        commit(folder, "The documentation as it is")
    return sum(map(len, by_project.values()))


def repositories() -> Iterator[Path]:
    """The repositories, by name."""
    yield from sorted(path for path in (WORK / "repositories").iterdir() if path.is_dir())


def commit(folder: Path, message: str) -> None:
    """Everything in the work tree as one commit."""
    subprocess.run([*GIT, "-C", folder, "add", "-A"], check=True)
    subprocess.run([*GIT, "-C", folder, "commit", "-q", "-m", message], check=True)


def measured() -> dict[str, Any]:
    """Seconds and counts of each sync, and the most memory this process had."""
    from assistant.access.caller import LOCAL
    from assistant.assistant import open_assistant
    from assistant.ingestion import ingest
    from assistant.schema import AskRequest
    from assistant.settings import load_settings

    settings = load_settings(
        index=WORK / "index",
        copies=WORK / "copies",
        sources=[
            {"name": path.name, "type": "git", "url": str(path), "access": ["public"]}
            for path in repositories()
        ],
    )
    assistant = open_assistant(settings)

    def synced() -> dict[str, Any]:
        began = time.perf_counter()
        summary = ingest(settings, assistant.embedder, lambda progress: None)
        return {
            "seconds": round(time.perf_counter() - began, 2),
            "documents": summary.documents,
            "new": summary.new,
            "changed": summary.changed,
            "embedded": summary.embedded,
            "failed": len(summary.failed),
        }

    results: dict[str, Any] = {"first": synced(), "unchanged": synced()}
    results["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if results["first"]["new"]:
        first = results["first"]
        first["pages_per_second"] = round(first["new"] / first["seconds"], 1)
    stamp = f"{time.time():.0f}"
    changed = [path for folder in repositories() for path in sorted(folder.rglob("*.md"))][::100]
    for path in changed:
        path.write_text(path.read_text(encoding="utf-8") + f"\nChecked again, {stamp}.\n")
    for folder in repositories():
        if any(path.is_relative_to(folder) for path in changed):
            commit(folder, "Checked again")
    results["one_percent"] = synced()
    assistant.reader.current()
    page = changed[len(changed) // 2]
    page.write_text(
        f"# The zebra switch {stamp}\n\nThe zebra switch is thrown every {stamp} days.\n"
    )
    commit(next(folder for folder in repositories() if page.is_relative_to(folder)), "One page")
    began = time.perf_counter()
    results["one_page"] = synced()
    answer = assistant.ask(AskRequest(question="How often is the zebra switch thrown?"), LOCAL)
    results["one_page"]["answered_after"] = round(time.perf_counter() - began, 2)
    results["one_page"]["answered_right"] = stamp in answer.answer
    return results


if __name__ == "__main__":
    main()

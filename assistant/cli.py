"""The command line: `casebook ingest | ask | search | serve | mcp | sources | status | …`."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.access.commands import keys_group
from assistant.access.keys import KeyStore
from assistant.gateway.commands import usage_command
from assistant.index_commands import index_group
from index.errors import CasebookError, InvalidInput

if TYPE_CHECKING:
    from assistant.gateway.ledger import Ledger
    from assistant.settings import Settings

# Heavy parts (models, FAISS, the server) are imported by the commands that use them, so that
# `casebook --help` answers at once.


class _Commands(click.Group):
    """Turns our errors into one line and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CasebookError as error:
            click.echo(f"casebook: {error}", err=True)
            context.exit(error.exit_code)


def _index_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--index", type=click.Path(path_type=Path), help="Folder of the index [.casebook/index]."
    )(command)


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


@click.group(cls=_Commands)
@click.version_option(package_name="casebook")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
def main(verbose: bool) -> None:
    """Ask your own engineering knowledge: short answers of cited passages, or an honest no."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--source", "names", multiple=True, help="Only this configured source: give several.")
@click.option(
    "--wait", default=0.0, metavar="SECONDS", help="Wait for another ingestion to end [0]."
)
@_index_option
@_json_option
def ingest(
    paths: tuple[Path, ...],
    names: tuple[str, ...],
    wait: float,
    index: Path | None,
    as_json: bool,
) -> None:
    """Bring the index up to date with the documents under PATHS, or with all configured sources.

    Without any in casebook.toml that is the folder corpus/. Reads .md, .txt, .rst, .adoc, .html,
    .pdf and .docx. Only what is new or changed is read and embedded; what was deleted leaves the
    index. Exits with 4 where something could not be read; the rest is ingested all the same.
    """
    if paths and names:
        raise InvalidInput("give paths, or sources by --source, not both")
    from assistant.ingestion import ingest as ingest_sources
    from assistant.ingestion import measured
    from assistant.progress import summary_lines, track
    from assistant.settings import load_settings
    from assistant.telemetry import exported
    from index.embedder import load_embedder
    from ingest.sync import sync_paths

    settings = load_settings(index=index)
    embedder = load_embedder(settings.embedder)
    with exported(settings.telemetry), track(sys.stderr) as report:
        if paths:
            summary = measured(
                lambda: sync_paths(
                    paths,
                    settings.index,
                    embedder,
                    base=Path.cwd(),
                    labels=frozenset(settings.default_access),
                    report=report,
                )
            )
        else:
            summary = ingest_sources(settings, embedder, report, names or None, wait)
    click.echo(json.dumps(asdict(summary)) if as_json else "\n".join(summary_lines(summary)))
    if summary.failed:
        sys.exit(4)


@main.command()
@click.argument("question")
@click.option("--explain", is_flag=True, help="Show how the answer came about.")
@_index_option
@_json_option
def ask(question: str, explain: bool, index: Path | None, as_json: bool) -> None:
    """Answer QUESTION from the sources, or say that they hold no answer."""
    from pydantic import ValidationError

    from assistant.access.caller import LOCAL
    from assistant.answering import answered
    from assistant.schema import AskRequest
    from assistant.settings import load_settings
    from assistant.terminal import show_answer

    try:
        request = AskRequest(question=_question(question), explain=explain)
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    answer = answered(request, LOCAL, load_settings(index=index))
    if as_json:
        click.echo(answer.model_dump_json(indent=2))
    else:
        show_answer(answer)


def _question(text: str) -> str:
    """The argument as text; bytes that are no UTF-8 arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("the question is not UTF-8: set a UTF-8 locale and ask again") from error
    if text == "-":
        return sys.stdin.read().strip()
    return text


@main.command()
@click.argument("query")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 100), help="Passages.")
@_index_option
@_json_option
def search(query: str, k: int, index: Path | None, as_json: bool) -> None:
    """Show the passages that fit QUERY, best first."""
    from assistant.access.caller import LOCAL
    from assistant.assistant import open_assistant
    from assistant.settings import load_settings
    from assistant.terminal import show_hits

    result = open_assistant(load_settings(index=index)).search(_question(query), k, LOCAL)
    if as_json:
        click.echo(result.model_dump_json(indent=2))
    else:
        show_hits(result)


@main.command()
@click.option("--host", help="Address to listen on [127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, 0 for any free one [8000].")
@click.option("--watch", is_flag=True, help="Keep the sources fresh: folders by their files.")
@_index_option
def serve(host: str | None, port: int | None, watch: bool, index: Path | None) -> None:
    """Serve the chat page and the HTTP API."""
    from assistant.server import run
    from assistant.settings import load_settings

    run(load_settings(host=host, port=port, index=index), watching=watch)


@main.command()
@_index_option
def mcp(index: Path | None) -> None:
    """Serve the Model Context Protocol over standard input and output, for one local client."""
    from assistant.answering import Answering
    from assistant.assistant import open_assistant
    from assistant.gateway.gateway import Gateway
    from assistant.mcp.server import run_stdio
    from assistant.settings import load_settings

    settings = load_settings(index=index)
    run_stdio(Answering(open_assistant(settings), Gateway(settings.gateway)))


@main.command()
@_index_option
@_json_option
def sources(index: Path | None, as_json: bool) -> None:
    """Show each source: what it holds, when it was last read, and what went wrong."""
    from assistant.access.caller import LOCAL
    from assistant.settings import load_settings
    from assistant.sources import Sources, known_sources
    from assistant.terminal import show_sources
    from index.reader import IndexReader

    settings = load_settings(index=index)
    listed = Sources(IndexReader(settings.index), known_sources(settings)).listed(LOCAL)
    if as_json:
        click.echo(listed.model_dump_json(indent=2))
    else:
        show_sources(listed)


@main.command()
@_index_option
@_json_option
def status(index: Path | None, as_json: bool) -> None:
    """Say in words how the index, its sources and the service are. Exits with 1 where something is not
    well, and with 5 where there is nothing to answer from.
    """
    from assistant.access.caller import LOCAL
    from assistant.settings import load_settings
    from assistant.sources import Sources, known_sources
    from assistant.status import local_health
    from assistant.terminal import show_health
    from index.reader import IndexReader

    settings = load_settings(index=index)
    reader = IndexReader(settings.index)
    found = local_health(settings, Sources(reader, known_sources(settings)), reader, LOCAL)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        show_health(found)
    sys.exit({"well": 0, "impaired": 1, "down": 5}[found.standing])


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "jsonl"]),
    default="markdown",
    show_default=True,
    help="Documents as markdown with front matter, or chunks with metadata for another embedder.",
)
@_index_option
def export(directory: Path, form: str, index: Path | None) -> None:
    """Write the curated corpus to DIRECTORY."""
    from assistant.settings import load_settings
    from ingest.export import export_jsonl, export_markdown

    settings = load_settings(index=index)
    write = export_markdown if form == "markdown" else export_jsonl
    count = write(settings.index, directory)
    click.echo(f"wrote {count} {'documents' if form == 'markdown' else 'chunks'} to {directory}")


@main.command(name="eval")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--split", help="Folder of the queries in a data set [dev, or the only one].")
@click.option("--corpus-ids", type=click.Path(path_type=Path), help="File of the pages to keep.")
@click.option(
    "--limit", type=click.IntRange(1), help="Ask so many of the questions, evenly spread."
)
@click.option("--embedder", "embedders", multiple=True, help="Compare embedders: give several.")
@click.option("--reranker", "rerankers", multiple=True, help="Compare rerankers, or `none`.")
@click.option(
    "--generate", is_flag=True, help="Ask for answers in the words of the configured models."
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write an HTML report to this file."
)
@_index_option
@_json_option
def evaluate(
    source: Path,
    split: str | None,
    corpus_ids: Path | None,
    limit: int | None,
    embedders: tuple[str, ...],
    rerankers: tuple[str, ...],
    generate: bool,
    report: Path | None,
    index: Path | None,
    as_json: bool,
) -> None:
    """Measure how well the questions of SOURCE are answered.

    SOURCE is the folder of a data set (corpus.jsonl, queries.jsonl, qrels.tsv and, where there are
    any, unanswerable.jsonl and sections.jsonl), whose index is kept under .casebook/eval or --index;
    or your own questions as .csv or .jsonl, asked of the index that there is: `question`, and what
    is expected as `document` (id, title or source), `passage` (words of it) or `answers` (in CSV
    separated by |), or `unanswerable` as the document.
    """
    from datetime import datetime

    from rich.console import Console

    from assistant.evaluation.compare import compare
    from assistant.evaluation.result import as_json as result
    from assistant.evaluation.source import open_source
    from assistant.evaluation.table import show
    from assistant.progress import track
    from assistant.settings import load_settings

    settings = load_settings(index=index)
    opened = open_source(source, split=split, corpus_ids=corpus_ids, limit=limit, indexes=index)
    if report:
        from assistant.evaluation.report import check_writable, write_report

        check_writable(report)
    with track(sys.stderr) as progress:
        comparison = compare(opened, settings, embedders, rerankers, progress, generate)
    now = datetime.now().astimezone()
    if report:
        write_report(comparison, report, now)
    if as_json:
        click.echo(json.dumps(result(comparison, now), ensure_ascii=False))
    else:
        show(comparison, Console())


def _keys() -> KeyStore:
    from assistant.settings import load_settings

    return KeyStore(load_settings().keys)


def _ledger() -> "Ledger":
    from assistant.gateway.ledger import Ledger
    from assistant.settings import load_settings

    settings = load_settings().gateway
    return Ledger(settings.ledger, settings.budgets)


def _at(index: Path | None) -> "Settings":
    from assistant.settings import load_settings

    return load_settings(index=index)


main.add_command(keys_group(_keys))
main.add_command(usage_command(_ledger))
main.add_command(index_group(_at))


if __name__ == "__main__":
    main()

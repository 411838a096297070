"""The load test: `python -m benchmarks.load rates | streams | soak --index …`.

Each runs the service and the generator as two processes on this machine, writes what it measured to a
JSON file, to which the next adds, and prints a report. `python -m benchmarks.scale` leaves an index of
a hundred thousand chunks.
"""

import asyncio
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.load.phases import Mix, many_streams, measured, soak
from benchmarks.load.report import markdown
from benchmarks.load.service import serving
from benchmarks.questions import SHARED_EVAL, rows
from index.reader import IndexReader

index_option = click.option(
    "--index", default=".casebook/eval/scale", type=click.Path(path_type=Path, exists=True)
)
out_option = click.option(
    "--out", default="build/load.json", type=click.Path(path_type=Path), help="The JSON."
)


@click.group()
def main() -> None:
    """Measure what the service holds."""


@main.command()
@index_option
@out_option
@click.option("--seconds", default=20.0, help="Of each rate.")
@click.option(
    "--search", default="2,5,8,12,20,30,40,50,60,80", help="Searches a second; '' for none."
)
@click.option("--ask", default="0.5,1,1.5,2,3,4,6,10,15", help="Questions a second; '' for none.")
def rates(index: Path, out: Path, seconds: float, search: str, ask: str) -> None:
    """What rates of /search and of extractive /ask are held, and what comes of three times that."""
    steps = {
        kind: [float(rate) for rate in given.split(",")]
        for kind, given in (("search", search), ("ask", ask))
        if given
    }
    _report(out, index, measured(index, _questions(), steps, seconds))


@main.command()
@index_option
@out_option
@click.option("--count", default=40, help="Streams open at a time.")
@click.option("--each", default=3, help="Questions that each client asks.")
def streams(index: Path, out: Path, count: int, each: int) -> None:
    """Many streams at a time, of a fake provider that writes a word each 20 ms."""
    with serving(index, with_model=True) as service:
        seen = asyncio.run(many_streams(service, _questions(), count, each))
    _report(out, index, {"streams": seen})


@main.command("soak")
@index_option
@out_option
@click.option("--minutes", default=60.0)
@click.option("--rate", default=1.0, help="Requests a second in all: half of what is held.")
@click.option("--search", default=4.0, help="Searches for each question.")
def soak_command(index: Path, out: Path, minutes: float, rate: float, search: float) -> None:
    """Searches, questions and streams for long, watching the service's memory."""
    mix = Mix(_questions(), {"search": search, "ask": 0.5, "stream": 0.5})
    with serving(index) as service:
        say = partial(click.echo, err=True)
        seen = asyncio.run(soak(service, mix, rate, 60 * minutes, say))
    _report(out, index, {"soak": seen})


def _questions() -> list[str]:
    return [row["text"] for row in rows(SHARED_EVAL / "infra-faq" / "dev" / "queries.jsonl")]


def _report(out: Path, index: Path, found: dict[str, Any]) -> None:
    known = json.loads(out.read_text()) if out.exists() else {}
    reader = IndexReader(index)
    chunks = sum(segment.chunk_count for segment in reader.current().segments)
    reader.close()
    known |= {"cores": os.cpu_count(), "chunks": chunks, **found}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(known, indent=1) + "\n")
    click.echo(markdown(known))


if __name__ == "__main__":
    main()

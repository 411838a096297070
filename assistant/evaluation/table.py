"""The figures as tables on a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assistant.evaluation.compare import Comparison
from assistant.evaluation.figures import SEARCH, Evaluation
from assistant.evaluation.wording import decider, facts, latency_lines, lines, models, title

ANSWERING = "ask: total"


def show(comparison: Comparison, console: Console) -> None:
    """Print one evaluation whole, several as a row each."""
    if len(comparison.evaluations) == 1:
        _show_one(comparison.best, console)
    else:
        _show_rows(comparison, console)


def _show_one(evaluation: Evaluation, console: Console) -> None:
    _show_title(evaluation, console)
    console.print(f"  {models(evaluation)}", markup=False, highlight=False)
    table = _table("measure", "value", "95 % interval", "questions")
    for group, found in lines(evaluation).items():
        table.add_row(f"[bold]{group}[/]")
        for line in found:
            table.add_row(f"  {line.measure.label}", line.value, line.interval, line.n)
    console.print(table)
    times = _table("milliseconds", "median", "95 % interval", "95th percentile", "95 % interval")
    for row in latency_lines(evaluation):
        times.add_row(*row)
    console.print(times)


def _show_rows(comparison: Comparison, console: Console) -> None:
    _show_title(comparison.evaluations[0], console)
    table = _table("models", "hit@1", "hit@10", "nDCG", "answer", "AUROC", "search", "ask")
    table.columns[0].min_width = 20
    for each in comparison.evaluations:
        keys = ("passage_hit@1", "passage_hit@10", "ndcg@10", "answer_span_hit", "auroc")
        figures = [each.figures.get(key) for key in keys]
        times = [each.latency.get(stage) for stage in (SEARCH, ANSWERING)]
        is_best = each is comparison.best
        table.add_row(
            f"{escape(models(each))}{' *' if is_best else ''}",
            *(f"{figure.value:.3f}" if figure else "–" for figure in figures),
            *(f"{time.p50.value:.0f}" if time else "–" for time in times),
            style="bold" if is_best else "",
        )
    console.print(table)
    console.print(
        f"  * best: {decider(comparison)}\n"
        "  search and ask: median milliseconds; nDCG: pages, to rank 10",
        highlight=False,
    )


def _show_title(evaluation: Evaluation, console: Console) -> None:
    console.print(title(evaluation), style="bold", markup=False, highlight=False)
    for fact in facts(evaluation):
        console.print(f"  {fact}", markup=False, highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left", overflow="fold")
    return table

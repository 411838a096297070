"""The report: one HTML file that needs nothing else, for a person to see why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assistant.evaluation import plots, wording
from assistant.evaluation.compare import Comparison
from assistant.evaluation.figures import SEARCH, Evaluation
from assistant.evaluation.gold import GoldQuestion, quoted
from assistant.evaluation.result import page_rank, worst
from assistant.evaluation.run import Outcome
from assistant.schema import SearchHit, TraceCandidate
from index.errors import InvalidInput

TEMPLATE = "report.html"


@dataclass(frozen=True)
class _Candidate:
    """A passage weighed for a question: a cell a stage, and whether it is gold."""

    place: str
    span: str
    cells: tuple[str, ...]
    gold: bool


def write_report(comparison: Comparison, file: Path, now: datetime) -> None:
    """Write the report; raises `InvalidInput` where the file can't be written."""
    check_writable(file)
    try:
        file.write_text(render(comparison, now), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} can't be written ({error}): name another --report") from error


def check_writable(file: Path) -> None:
    """Raise `InvalidInput` where a report can't be: better before the measuring than after."""
    if file.is_dir():
        raise InvalidInput(f"{file} is a folder: name a file for --report")
    if not file.absolute().parent.is_dir():
        raise InvalidInput(f"no folder {file.parent} for --report: make it, or name another")


def render(comparison: Comparison, now: datetime) -> str:
    """The report as HTML; everything from documents and questions is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quoted"] = quoted
    return environment.get_template(TEMPLATE).render(
        now=now,
        comparison=comparison,
        wording=wording,
        search=SEARCH,
        plots_of=_plots,
        worst=worst,
        page_rank=page_rank,
        candidates=_candidates,
        stages=_stages,
    )


def _plots(evaluation: Evaluation) -> dict[str, Markup]:
    """Captions and SVG, which matplotlib makes of numbers and of our own words."""
    drawn = {}
    if evaluation.reliability:
        drawn["Confidence: right as often as it says?"] = plots.reliability_diagram(
            evaluation.reliability
        )
    if evaluation.risk_coverage:
        coverage = evaluation.figures.get("coverage")
        drawn["Error as more is answered"] = plots.risk_coverage_plot(
            evaluation.risk_coverage, coverage.value if coverage else None
        )
    drawn["Latency by stage"] = plots.latency_plot(dict(evaluation.latency))
    return {caption: Markup(svg) for caption, svg in drawn.items()}


def _stages(outcome: Outcome) -> tuple[str, ...]:
    """The stages that the candidates of a question went through, in order."""
    found = outcome.answer.trace.candidates if outcome.answer and outcome.answer.trace else []
    return tuple(dict.fromkeys(stage for each in found for stage in each.scores)) or ("score",)


def _candidates(outcome: Outcome) -> list[_Candidate]:
    """What was weighed: by the trace of the answer, or else the hits of the search."""
    trace = outcome.answer.trace if outcome.answer else None
    if trace is None:
        return [_row(hit, (f"{hit.score:.3f}",), outcome.question) for hit in outcome.hits]
    stages = _stages(outcome)
    return [_row(each, _cells(each, stages), outcome.question) for each in trace.candidates]


def _row(
    passage: TraceCandidate | SearchHit, cells: tuple[str, ...], question: GoldQuestion
) -> _Candidate:
    place = " > ".join(part for part in (passage.title, passage.section) if part)
    return _Candidate(
        place=place,
        span=f"{passage.document_id}:{passage.start}-{passage.end}",
        cells=cells,
        gold=question.is_gold(passage.document_id, passage.start, passage.end),
    )


def _cells(candidate: TraceCandidate, stages: Sequence[str]) -> tuple[str, ...]:
    """Score and rank at each stage."""
    return tuple(
        (f"{candidate.scores[stage]:.2f}" if stage in candidate.scores else "–")
        + (f" (#{candidate.ranks[stage]})" if stage in candidate.ranks else "")
        for stage in stages
    )

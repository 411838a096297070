"""Plots as inline SVG: text stays text, and colours are those of the page around it."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure as Canvas

from assistant.evaluation.figures import Latency
from assistant.evaluation.metrics import Bin, RiskPoint

INK, ACCENT, ALARM = "#010203", "#040506", "#070809"
IN_PAGE = {INK: "currentColor", ACCENT: "var(--accent)", ALARM: "var(--warn)"}
"""Stand-ins, drawn with nothing else, for the colours of the page: it may be light or dark."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "casebook",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}


@contextmanager
def _axes(width: float, height: float, drawn: list[str], about: str) -> Iterator[Any]:
    """Axes to draw on; the SVG is in `drawn` afterwards."""
    with rc_context(STYLE):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        canvas.patch.set_alpha(0)
        axes = canvas.add_subplot()
        axes.patch.set_alpha(0)
        yield axes
        out = io.StringIO()
        canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Type": None})
    drawn.append(_inline(out.getvalue(), about))


def _inline(svg: str, about: str) -> str:
    """The SVG element alone, in the page's colours, named for those who can't see it."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'<g id="[^"]*">', "<g>", element)  # names that would repeat in one page
    for stand_in, colour in IN_PAGE.items():
        element = element.replace(stand_in, colour)
    return element.replace("<svg ", f'<svg role="img" aria-label="{about}" ', 1)


def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Share right against mean confidence, with the diagonal of honesty."""
    drawn: list[str] = []
    with _axes(4.6, 4.0, drawn, "Reliability diagram") as axes:
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linestyle="--", linewidth=1)
        x = [each.confidence for each in bins]
        y = [each.right for each in bins]
        below = [max(0.0, each.right - each.low) for each in bins]
        above = [max(0.0, each.high - each.right) for each in bins]
        axes.errorbar(x, y, yerr=[below, above], fmt="o-", color=ACCENT, capsize=3, linewidth=1.5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
    return drawn[0]


def risk_coverage_plot(points: Sequence[RiskPoint], coverage: float | None) -> str:
    """Share wrong as more is answered, and where the product's threshold stands."""
    drawn: list[str] = []
    with _axes(4.6, 4.0, drawn, "Error against coverage") as axes:
        x = [point.coverage for point in points]
        band = [point.low for point in points], [point.high for point in points]
        axes.fill_between(x, *band, color=ACCENT, alpha=0.2, linewidth=0)
        axes.plot(x, [point.risk for point in points], color=ACCENT, linewidth=1.8)
        if coverage is not None:
            axes.axvline(coverage, color=ALARM, linestyle="--", linewidth=1.2)
            axes.annotate(
                "threshold", (coverage, 1), xycoords=("data", "axes fraction"),
                xytext=(-4, -12), textcoords="offset points", color=ALARM, ha="right",
            )  # fmt: skip
        axes.set(xlim=(0, 1.02), ylim=(0, None), xlabel="share answered", ylabel="share wrong")
    return drawn[0]


def latency_plot(latency: dict[str, Latency]) -> str:
    """Median of each stage as a bar, with a whisker to its 95th percentile."""
    drawn: list[str] = []
    with _axes(9.2, 0.8 + 0.34 * len(latency), drawn, "Latency by stage") as axes:
        names = list(latency)
        median = [each.p50.value for each in latency.values()]
        slow = [max(0.0, each.p95.value - each.p50.value) for each in latency.values()]
        whisker = {"ecolor": ALARM, "capsize": 3}
        axes.barh(names, median, xerr=[[0.0] * len(slow), slow], color=ACCENT, error_kw=whisker)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="milliseconds: median, whisker to the 95th percentile")
    return drawn[0]

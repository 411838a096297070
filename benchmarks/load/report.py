"""The report: what was measured, as markdown."""

from typing import Any

from benchmarks.load.phases import TARGETS

COLUMNS = (
    *("rate/s", "answered/s", "goodput/s", "p50 ms", "p95 ms", "p99 ms", "refused"),
    *("p95 of refusals ms", "read less closely", "cores"),
)


def markdown(measured: dict[str, Any]) -> str:
    """A short report of what there is."""
    lines = [f"Load on {measured['cores']} cores, {measured['chunks']:,} chunks.", ""]
    for kind in TARGETS:
        if kind in measured:
            lines += _ramp(kind, measured[kind])
    if "streams" in measured:
        lines += _streams(measured["streams"])
    if "soak" in measured:
        lines += _soak(measured["soak"])
    return "\n".join(lines)


def _ramp(kind: str, seen: dict[str, Any]) -> list[str]:
    head = f"| {' | '.join(COLUMNS)} |"
    rows = [_row(kind, step, f"{step['rate']:g}") for step in seen["steps"]]
    rows.append(_row(kind, seen["overload"], f"{seen['overload']['rate']:g} (3×)"))
    return [
        f"## /{kind}: {seen['held']:g}/s held at p95 ≤ {seen['target_ms']:.0f} ms",
        "",
        head,
        "|" + " --- |" * len(COLUMNS),
        *rows,
        "",
        f"At three times the held rate goodput is {seen['goodput_of_peak']:.0%} of the peak.",
        "",
    ]


def _row(kind: str, step: dict[str, Any], rate: str) -> str:
    seen = step[kind]
    times = seen["answered"] or {}
    refused = seen["refused"] or {}
    others = {k: v for k, v in seen["statuses"].items() if k not in ("200", "429", "503")}
    shed = sum(seen["statuses"].get(status, 0) for status in ("429", "503"))
    told = f"{shed}" + (f" and {others}" if others else "")
    cells = [
        rate,
        seen["answered_a_second"],
        seen["goodput"],
        *(times.get(point, "") for point in ("p50", "p95", "p99")),
        told,
        refused.get("p95", ""),
        f"{seen['read_less_closely']:.0%}",
        step["cores"],
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _streams(seen: dict[str, Any]) -> list[str]:
    return [
        f"## {seen['clients']} clients with streams, {seen['open_at_once']} open at once",
        "",
        f"{seen['sent']} asked, {seen['ended_with_answer']} ended with an answer, statuses "
        f"{seen['statuses']}. First sentence: {seen['first_sentence']}; whole answer: "
        f"{seen['answered']} (ms).",
        "",
    ]


def _soak(seen: dict[str, Any]) -> list[str]:
    kinds = [kind for kind in ("search", "ask", "stream") if kind in seen]
    return [
        f"## {seen['minutes']:g} minutes at {seen['rate']:g}/s",
        "",
        f"Memory drifted by {seen['drift']:+.1%} "
        f"({seen['resident_mib'][0]:.0f} MiB at first, {seen['resident_mib'][-1]:.0f} at last).",
        *(
            f"- {kind}: {seen[kind]['statuses']}, {seen[kind]['left']} left, {seen[kind]['answered']}"
            for kind in kinds
        ),
        "",
    ]

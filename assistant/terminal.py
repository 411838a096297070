"""Answers and hits as text on a terminal."""

import textwrap

import click

from assistant.schema import (
    WORSE,
    Answer,
    AnswerUsage,
    Citation,
    Health,
    SearchResult,
    SourceList,
    Trace,
    TraceGeneration,
)

STANDING = {"well": "green", "impaired": "yellow", "down": "red"}


def show_answer(answer: Answer) -> None:
    """Print an answer with its sources."""
    if answer.status == "abstained":
        click.echo(click.style("The sources don't say. ", bold=True) + (answer.notice or ""))
        click.echo("\nNearest passages:")
    else:
        click.echo(_wrapped(answer.answer))
        if answer.notice:
            click.echo(_wrapped(f"Note: {answer.notice}"))
        click.echo()
    for citation in answer.citations:
        click.echo(_source(citation))
    if answer.mode == "generated":
        click.echo(f"\nwritten by {answer.model}{_used(answer.usage)}, every sentence checked")
    click.echo(f"\nconfidence {answer.confidence:.2f}, index state {answer.index_state}")
    if answer.trace:
        _show_trace(answer.trace)


def show_health(found: Health) -> None:
    """Print how things are, what is not well first."""
    for part in sorted(found.parts, key=lambda part: -WORSE.index(part.standing)):
        standing = click.style(part.standing, fg=STANDING[part.standing])
        click.echo(f"{part.name:9} {standing}  {part.words}")


def _used(usage: AnswerUsage | None) -> str:
    if usage is None or usage.from_cache:
        return " earlier" if usage else ""
    cost = "" if usage.cost is None else f", ${usage.cost}"
    return f" ({usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost})"


def _source(citation: Citation) -> str:
    place = " > ".join([citation.title, *citation.heading_path[1:]])
    told = [
        f"{citation.source}:{citation.start}-{citation.end}",
        f"revision {citation.revision[:12]}",
        f"changed {citation.modified_at[:10]}" if citation.modified_at else "undated",
        "changed since it was ingested" if citation.stale else "",
        citation.link or "",
    ]
    line = f"[{citation.n}] {place} ({', '.join(filter(None, told))})"
    return f"{line}\n{textwrap.indent(_wrapped(citation.quote), '    ')}"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 96) for line in text.splitlines())


def _show_trace(trace: Trace) -> None:
    click.echo(f"\nsearched for: {trace.query.searched}")
    click.echo(f"shelves: {', '.join('+'.join(labels) for labels in trace.shelves)}")
    for candidate in trace.candidates:
        ranks = " ".join(f"{stage} {rank}" for stage, rank in candidate.ranks.items())
        scores = " ".join(f"{stage} {score:.2f}" for stage, score in candidate.scores.items())
        click.echo(f"  {candidate.title} > {candidate.section}: ranks {ranks}; scores {scores}")
    parts = " ".join(f"{name} {value:.2f}" for name, value in trace.confidence.parts.items())
    click.echo(
        f"confidence {trace.confidence.value:.2f} (answers from "
        f"{trace.confidence.threshold:.2f}): {parts}"
    )
    if trace.generation:
        _show_generation(trace.generation)
    click.echo("ms: " + " ".join(f"{stage} {ms:.1f}" for stage, ms in trace.times_ms.items()))


def _show_generation(generation: TraceGeneration) -> None:
    click.echo(
        f"prompt version {generation.prompt_version} ({generation.prompt_sha256[:12]}), "
        f"{generation.prompt_tokens} tokens, {len(generation.passages)} passages; {generation.outcome}"
    )
    for attempt in generation.attempts:
        click.echo(f"  {attempt}")
    for sentence in generation.sentences:
        became = "kept" if sentence.kept else f"left out: {sentence.reason}"
        click.echo(f"  {sentence.text} ({became}; {sentence.probability:.2f})")


def show_hits(result: SearchResult) -> None:
    """Print search hits, best first."""
    for rank, hit in enumerate(result.hits, 1):
        click.echo(f"{rank}. {hit.title} > {hit.section} ({hit.score:.3f}) {hit.source}")
        click.echo(textwrap.indent(_wrapped(hit.text.strip()), "   "))
    if not result.hits:
        click.echo("nothing found")


def show_sources(listed: SourceList) -> None:
    """Sources for people: a line each, and one more where the last sync failed."""
    for source in listed.sources:
        kinds = ", ".join(f"{count} {kind}" for kind, count in source.kinds.items())
        read = f"read {source.synced_at}" if source.synced_at else "never read"
        stale = ", stale" if source.stale else ""
        click.echo(f"{source.name} ({source.type}): {kinds or 'nothing'}; {read}{stale}")
        if source.sync and source.sync["error"]:
            click.echo(f"  failed {source.sync['failed_at']}: {source.sync['error']}")

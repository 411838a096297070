"""No text takes a regular expression more than the square of its length, wherever in the packages it stands."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.attack.patterns import Expression, expressions, texts

SHORT, LONG = 1_000, 4_000
SEEN = 0.004
"""Seconds of CPU below which times say nothing."""
SQUARE = (LONG / SHORT) ** 2
NOISE = 1.8
MOST = 4.0
"""Seconds of CPU: the square of what is let through, twice over. More is a text that nobody should wait for."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="needs a clock that interrupts"),
]


class TookTooLong(Exception):
    """An expression was interrupted."""


@contextmanager
def interrupted(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TookTooLong

    former = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


def seconds(expression: Expression, text: Any) -> float:
    began = time.process_time()
    try:
        with interrupted(MOST):
            expression.run(text)
    except TookTooLong:
        return float("inf")
    return time.process_time() - began


def slowest(expression: Expression) -> tuple[float, str]:
    """The longest that a short text takes, and the name of that text."""
    return max((seconds(expression, text), name) for name, text in texts(expression.pattern, SHORT))


def growth(expression: Expression, name: str) -> float:
    """How many times longer a text takes that is four times as long; the best of three, as machines are busy."""
    found = []
    for _ in range(3):
        short, long = (
            seconds(expression, dict(texts(expression.pattern, length))[name])
            for length in (SHORT, LONG)
        )
        found.append(long / max(short, SEEN / 2))
    return min(found)


def test_expressions_are_found() -> None:
    places = [expression.place for expression in expressions()]
    assert len(places) > 200
    assert {"ingest/parsers/text.py FENCED", "assistant/access/authenticate.py BEARER"} <= set(
        places
    )


def test_no_expression_takes_more_than_the_square_of_a_texts_length() -> None:
    worse = {}
    for expression in expressions():
        took, name = slowest(expression)
        if took > SEEN and (times := growth(expression, name)) > SQUARE * NOISE:
            worse[expression.place] = (name, took, times, expression.pattern.pattern)
    assert worse == {}


AT_LENGTH = 100_000


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("md", "# " + "[" * AT_LENGTH),
        ("md", "# " + " \t" * AT_LENGTH + "{#x"),
        ("md", "# " + "![a" * AT_LENGTH),
        ("md", "|" + " |-" * AT_LENGTH + "x"),
        ("md", "\n" * AT_LENGTH + "x"),
        ("md", "a." * AT_LENGTH),
        ("md", "1." * AT_LENGTH),
        ("md", "<a " * AT_LENGTH),
        ("md", "`" * AT_LENGTH),
        ("html", "<p>a" + "&nbsp; " * AT_LENGTH + "b</p>"),
        ("html", "<pre>a" + " " * AT_LENGTH + "b</pre>"),
        ("html", "<p>" + "\\_a" * AT_LENGTH + "</p>"),
        ("adoc", "= T\n\na" + " " * AT_LENGTH + "+b\n"),
        ("adoc", "= T\n\ninclude::a.adoc[" + "_" * AT_LENGTH + "]\n"),
        ("adoc", "= T\n\n|===\n|" + "1" * AT_LENGTH + "+|a\n|===\n"),
        ("txt", " " * AT_LENGTH + "x"),
        ("py", "x = '" + "\\'" * AT_LENGTH),
    ],
    ids=lambda value: repr(value[:12]) if len(value) > 12 else value,
)
def test_a_long_line_of_one_thing_is_read_and_cut_in_time(kind: str, text: str) -> None:
    """The whole way of a document to its chunks and sentences, most of which is outside the sandbox."""
    from index.errors import ParseError
    from index.sentences import sentences
    from ingest.chunk import LEAST, ChunkSizes, chunk
    from ingest.parsers.sandbox import Limits, Parsers

    def count(text: str) -> int:
        return len(text) // 4

    sizes = ChunkSizes(count=count, model_count=count, model_limit=256)
    began = time.process_time()
    try:
        with Parsers(Limits(seconds=5)) as parsers:
            parsed = parsers.parse(f"a.{kind}", text.encode())
    except ParseError:
        parsed = None
    if parsed is not None:
        pieces = chunk((parsed.title,), parsed.text, sizes)
        assert len(pieces) <= max(10, len(parsed.text) / LEAST * 2)
        for piece in pieces[:500]:
            sentences(parsed.text[piece.start : piece.end])
    assert time.process_time() - began < 20

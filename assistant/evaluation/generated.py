"""Answers in a model's words: asking for them, and judging them by their words and numbers alone, with none
of the models that checked them when they were given.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from assistant.access.caller import LOCAL
from assistant.assistant import Assistant
from assistant.gateway.settings import GatewaySettings, Limits
from assistant.schema import Answer, AnswerSentence, AskRequest, Citation
from index.errors import InvalidInput
from index.text import terms

Ask = Callable[[AskRequest], Answer]

SAID = 0.9
"""Share of a sentence's words, and of its pairs of neighbouring words, that a text must hold to support
it. Of the 2,696 claims of `benchmarks.support_pairs` this accepts 73 % of those supported and 12 % of
the others (at 0.8: 82 % and 30 %): what is said freely counts as unsupported before and after the check.
"""

UNLIMITED = Limits(requests_per_minute=1_000_000, concurrent=1_000)
"""Limits are there for callers who share a service; budgets hold here too."""

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_DENIAL = re.compile(
    r"\b(?:not|no|never|none|nothing|without|cannot|nor)\b|n['’]t\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Judged:
    """What a model wrote to one question, judged sentence by sentence and citation by citation.

    `written`: all its sentences, whether a passage that it was given supports them; `removed`: how many
    of them the check took out; `shown`: likewise those in the answer; `cited`: those, whether their
    quotes together support them; `citations`: whether each of their citations is of use, that is supports
    its sentence alone or is missed by the others.
    """

    written: tuple[bool, ...]
    removed: int
    shown: tuple[bool, ...]
    cited: tuple[bool, ...]
    citations: tuple[bool, ...]


def judge(answer: Answer, passage: Callable[[str, int, int], str]) -> Judged | None:
    """Judge what a model wrote for an answer; None where none was asked, or the trace is missing.

    `passage` gives the text of `[start, end)` of a document by its id, with where it stands.
    Citation precision and recall are those of ALCE (Gao et al. 2023), with words in place of its model.
    """
    generation = answer.trace.generation if answer.trace else None
    if generation is None:
        return None
    given = [passage(each.document_id, each.start, each.end) for each in generation.passages]
    by_number = {citation.n: citation for citation in answer.citations}
    shown = [each for each in answer.sentences if each.mode == "generated"]
    quotes = [[_quoted(by_number[n]) for n in sentence.citations] for sentence in shown]
    return Judged(
        written=tuple(_any_supports(given, each.text) for each in generation.sentences),
        removed=sum(not each.kept for each in generation.sentences),
        shown=tuple(_any_supports(given, each.text) for each in shown),
        cited=tuple(
            supports("\n".join(of), each.text) for each, of in zip(shown, quotes, strict=True)
        ),
        citations=tuple(
            useful for each, of in zip(shown, quotes, strict=True) for useful in _useful(each, of)
        ),
    )


def supports(text: str, sentence: str) -> bool:
    """Whether a text holds nearly all words of a sentence, in its order, all of its numbers, and a denial
    if the sentence denies something.
    """
    said = _words_and_pairs(sentence)
    if not said or not set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(text)):
        return False
    if _DENIAL.search(sentence) and not _DENIAL.search(text):
        return False
    return len(said & _words_and_pairs(text)) >= SAID * len(said)


def _words_and_pairs(text: str) -> set[tuple[str, ...]]:
    found = terms(text)
    return {*zip(found), *pairwise(found)}


def _any_supports(texts: Sequence[str], sentence: str) -> bool:
    return any(supports(text, sentence) for text in texts)


def _useful(sentence: AnswerSentence, quotes: Sequence[str]) -> Iterator[bool]:
    whole = supports("\n".join(quotes), sentence.text)
    for at, quote in enumerate(quotes):
        others = "\n".join([*quotes[:at], *quotes[at + 1 :]])
        yield whole and (supports(quote, sentence.text) or not supports(others, sentence.text))


def _quoted(citation: Citation) -> str:
    return in_place((citation.title, *citation.heading_path), citation.quote)


def in_place(place: Sequence[str], text: str) -> str:
    """A text under the titles it stands at, whose words a sentence may take up."""
    return f"{' > '.join(filter(None, dict.fromkeys(place)))}\n{text}"


@contextmanager
def in_a_models_words(assistant: Assistant, settings: GatewaySettings) -> Iterator[Ask]:
    """Asks for generated answers, one at a time; raises `InvalidInput` where no model is configured."""
    from anyio.from_thread import start_blocking_portal

    from assistant.answering import Answering
    from assistant.gateway.gateway import Gateway

    if not settings.models:
        raise InvalidInput("no model is configured: add [[gateway.models]] to casebook.toml")

    async def opened() -> tuple[Gateway, Answering]:
        gateway = Gateway(settings.model_copy(update={"limits": UNLIMITED}))
        return gateway, Answering(assistant, gateway)

    with start_blocking_portal() as portal:
        gateway, answering = portal.call(opened)
        try:
            yield lambda request: portal.call(answering.answer, request, LOCAL)
        finally:
            portal.call(gateway.close)

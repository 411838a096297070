"""Words: how text becomes terms for lexical search, the same for passages and questions."""

import re
from functools import lru_cache

import snowballstemmer

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?(?:[-./_:][^\W_]+)*")
"""A word with its inner joints, so that `kube-system`, `v1.29.3` and `error_budget` stay whole."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
"""The parts of a joined or camel-cased word: `ArgoCD` is argo and cd, `p99` is p and 99."""

_stemmer = snowballstemmer.stemmer("english")

STOPWORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being
    below between both but by can could did do does doing down during each few for from further
    had has have having he her here hers him his how i if in into is it its itself just me more
    most my no nor not now of off on once only or other our ours out over own same she should so
    some such than that the their theirs them then there these they this those through to too
    under until up us very was we were what when where which while who whom why will with would
    you your yours tell please show give explain describe""".split()
)
"""Words that carry no subject; the common English list, with the verbs a request begins with."""


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Snowball (Porter 2) stem of a lower-case word."""
    return str(_stemmer.stemWord(word))


@lru_cache(maxsize=200_000)
def _word_terms(word: str) -> tuple[str, ...]:
    """The terms of one word as written: itself, and its parts where it is a compound."""
    whole = word.lower().replace("’", "'").removesuffix("'s")
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) < 2:
        return (stem(whole),)
    return (whole, *(stem(part) for part in parts if len(part) > 1 or part.isdigit()))


def words(text: str) -> list[str]:
    """The words of a text as they are written, compounds whole."""
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each of `words` stands in the text, as `[start, end)`."""
    return [match.span() for match in _WORD.finditer(text)]


def terms(text: str) -> list[str]:
    """The stemmed, lower-case terms of a text, stop words left out, in order, with repeats."""
    return [
        term for word in words(text) if word.lower() not in STOPWORDS for term in _word_terms(word)
    ]

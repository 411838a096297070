"""Literals: names, numbers, versions, dates, commands and the like, which a sentence has from its source
or has made up. Each is compared as people read it: 1,000 is a thousand, v1.2 is 1.2, May is 05.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from assistant.generation.quantities import dates, quantities, times, unit_of
from index.text import STOPWORDS, stem

IsWord = Callable[[str], bool]
"""Whether a lower-case word is common English."""

_FENCED = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n]*\n(.*?)(?:\n[ \t]*(?:```|~~~)[ \t]*|\Z)", re.S | re.M
)
_CODE = re.compile(r"`([^`\n]+)`")
_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]*://|www\.|mailto:|data:|javascript:)[^\s<>\"'`)\]]+|[\w.+-]+@[\w-]+\.[\w.-]*\w",
    re.I,
)
_DOMAIN = re.compile(
    r"\b(?:[a-z0-9-]+\.)+(?:com|net|org|io|dev|ai|cloud|app|sh|co|info|example|test)\b[^\s,;)]*",
    re.I,
)
_VERSION = re.compile(r"(?<![\w.])[vV](?=\d)")
_TECHNICAL = re.compile(
    r"(?<![\w/.$-])(?=[^\s]*(?:[\d_=/\\$@~]|\w[.:]+\w|[a-z][A-Z])|--?[A-Za-z])[-~/.$\\@]*\w[^\s,;()\"“”’'\[\]{}<>!?|*]*"
)
_ABBREVIATIONS = frozenset({"e.g", "i.e", "a.m", "p.m", "u.s", "u.k", "a.k.a"})
_QUANTITY = re.compile(r"[$€£]?[\d.,:]+[-%°\w]{0,12}")
_PLAIN_PARTS = re.compile(r"^[A-Za-z]{2,}(?:[/-][A-Za-z]{2,})+$")
_NAME = re.compile(r"(?<![\w`])[^\W\d_][^\W_]*(?:['’-][^\W_]+)*")
_SENTENCE_START = re.compile(r"^[\"'“‘(*\s]*|(?<=[.!?:])\s+[\"'“‘(*]*|\|\s*")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SINGULAR_VERB = re.compile(r" (?:[a-z]+ly )?(?:is|was|has|does|can|will|[a-z]{2,}[^us\W]s)\b")

_SAME = {"k8s": "kubernetes", "postgres": "postgresql", "golang": "go"}


@dataclass(frozen=True)
class Literal:
    """Something that can't be said in other words: its kind, and as it is written."""

    kind: str
    written: str


class Source:
    """What a passage says, with its title and headings, prepared for looking literals up in it."""

    def __init__(self, text: str) -> None:
        self._bare = " ".join(_VERSION.sub("", text.replace("`", "")).split())
        self._dates, without_dates = dates(self._bare)
        clock, without_times = times(without_dates)
        # A year in a date is a number that the source states; so is an hour.
        numbers = [*clock, *quantities(without_times), *quantities(self._bare)]
        self._numbers = {(each.value, each.unit) for each in numbers}
        self._values = {value for value, _ in self._numbers}
        self._stems = {_stem(word) for word in _WORD.findall(self._bare)}

    def missing(self, sentence: str, is_word: IsWord) -> list[Literal]:
        """The literals of a sentence that do not stand here."""
        return list(self._missing(sentence, is_word))

    def _missing(self, sentence: str, is_word: IsWord) -> Iterator[Literal]:
        sentence = _VERSION.sub("", sentence)
        for block in _FENCED.findall(sentence):
            yield from (
                Literal("code", line) for line in block.splitlines() if not self.holds(line)
            )
        rest = _blanked(_FENCED, sentence)
        for kind, pattern in (("code", _CODE), ("address", _ADDRESS), ("address", _DOMAIN)):
            for match in pattern.finditer(rest):
                written = (match[1] if kind == "code" else match[0]).rstrip(".:/")
                if not self.holds(written):
                    yield Literal(kind, written)
            rest = _blanked(pattern, rest)
        stated, rest = dates(rest)
        for date in stated:
            if not any(date.fits(other) for other in self._dates):
                yield Literal("date", date.written)
        yield from self._numbers_missing(rest)
        yield from self._words_missing(rest, is_word)

    def holds(self, written: str) -> bool:
        """Whether code, an address or a path stands here whole, white space and backticks apart."""
        wanted = re.escape(" ".join(written.replace("`", "").split()))
        return bool(re.search(rf"(?<!\w)(?<!\w-){wanted}(?![\w-]|[./:]\w)", self._bare))

    def _numbers_missing(self, text: str) -> Iterator[Literal]:
        clock, text = times(text)
        for each in (*clock, *quantities(text)):
            # A number alone may stand here with any unit; one with a unit needs just that.
            alike = (each.value, each.unit) in self._numbers
            if not alike and (each.unit or each.value not in self._values):
                yield Literal("number", each.written)

    def _words_missing(self, text: str, is_word: IsWord) -> Iterator[Literal]:
        for match in _TECHNICAL.finditer(text):
            written = match[0].rstrip(".:-/")
            if written.lower() in _ABBREVIATIONS:
                continue
            if not (_QUANTITY.fullmatch(written) or unit_of(written) or self._knows(written)):
                yield Literal("identifier", written)
        text = _blanked(_TECHNICAL, text)
        starts = {match.end() for match in _SENTENCE_START.finditer(text)}
        for match in _NAME.finditer(text):
            if not match[0][0].isupper() or (
                match.start() in starts and _is_ordinary(match, is_word)
            ):
                continue
            if not self.names(match[0]):
                yield Literal("name", match[0])

    def _knows(self, written: str) -> bool:
        if _PLAIN_PARTS.match(written):
            return self.names(written)
        whole = re.escape(written)
        if re.search(rf"(?<!\w)(?<!\w-){whole}(?![\w-]|[./]\w)", self._bare, re.I):
            return True
        return written.isalnum() and _stem(written) in self._stems

    def names(self, name: str) -> bool:
        """Whether a name occurs, in any case, as possessive or plural: each of its parts, but for what an
        ordinary word adds to it, as in "Kubernetes-native".
        """
        first, *others = _WORD.findall(name)
        parts = [first, *(word for word in others if word[0].isupper() or name.islower())]
        return all(_stem(word) in self._stems or word.lower() in STOPWORDS for word in parts)


def _stem(word: str) -> str:
    plain = re.sub(r"(?<=[A-Z])s$|['’]s?$", "", word).lower()
    return stem(_SAME.get(plain, plain))


def _is_ordinary(match: re.Match[str], is_word: IsWord) -> bool:
    """Whether a sentence's first word is capital for its place alone."""
    word = match[0]
    following = match.string[match.end() :]
    if word.lower() in STOPWORDS:
        return True
    first = re.split(r"[-'’]", word.lower())[0]
    if re.search(r"[A-Z]", word[1:]) or not any(map(is_word, (first, re.sub(r"e?s$", "", first)))):
        return False
    # "Kafka stores …" names something; "Services store …" and "Restoring …" may well be other words.
    return not (_SINGULAR_VERB.match(following) or re.match(r"\s+[A-Z]", following))


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: " " * len(match[0]), text)

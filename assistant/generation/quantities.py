"""Quantities: the numbers of a text with their units, and its dates, each in one way of writing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORDS = {
    **{word: value for value, word in enumerate(_SMALL)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    "dozen": 12,
}

_UNITS = {
    spelling: unit
    for unit, spellings in {
        "ns": "ns nanosecond nanoseconds",
        "us": "us µs μs microsecond microseconds",
        "ms": "ms msec millisecond milliseconds",
        "s": "s sec secs second seconds",
        "min": "m min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
        "w": "w week weeks",
        "month": "month months",
        "y": "y yr yrs year years",
        "B": "B byte bytes",
        "kB": "kb KB K kilobyte kilobytes",
        "MB": "mb MB M megabyte megabytes",
        "GB": "gb GB G gigabyte gigabytes",
        "TB": "tb TB T terabyte terabytes",
        "KiB": "kib KiB Ki kibibyte kibibytes",
        "MiB": "mib MiB Mi mebibyte mebibytes",
        "GiB": "gib GiB Gi gibibyte gibibytes",
        "TiB": "tib TiB Ti tebibyte tebibytes",
        "%": "% percent pct",
        "$": "$ dollar dollars usd USD",
        "€": "€ euro euros eur EUR",
        "£": "£ pound pounds gbp GBP",
        "Hz": "hz Hz hertz",
        "km": "km kilometer kilometers kilometre kilometres",
        "meter": "meter meters metre metres",
        "mile": "mile miles",
        "C": "°C celsius",
        "F": "°F fahrenheit",
    }.items()
    for spelling in spellings.split()
}

MONTHS = {
    spelling: number
    for number, name in enumerate(
        "january february march april may june july august september october november december".split(),
        1,
    )
    for spelling in (name, name[:3])
} | {"sept": 9}
_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))

_DATES = (
    re.compile(r"(?<![\w.-])(?P<y>\d{4})[-/](?P<m>\d{1,2})(?:[-/](?P<d>\d{1,2}))?(?![\w-])"),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<n>{_MONTH})\b\.?,?(?: (?P<y>\d{{4}})\b)?",
        re.I,
    ),
    re.compile(
        rf"\b(?P<n>{_MONTH})\b\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\.\d)(?:,? (?P<y>\d{{4}})\b)?",
        re.I,
    ),
    re.compile(rf"\b(?P<n>{_MONTH})\b\.?,? (?:of )?(?P<y>\d{{4}})\b", re.I),
)

_CLOCK = re.compile(
    r"\b(\d{1,2})(?::(\d{2}))?(?::\d{2})?\s?([ap])\.?m\b\.?|\b(\d{1,2}):(\d{2})\b", re.I
)

_NUMBER = re.compile(
    r"(?P<money>[$€£])?(?<![\w.])(?P<value>\d{1,3}(?:[,\u202f\u00a0]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)"
    r"(?:(?P<ordinal>st|nd|rd|th)\b|[ \t-]?(?P<unit>%|°[CF]|[A-Za-zµμ]+)?)"
)
_SPELLED = re.compile(
    rf"\b(?:{'|'.join((*_WORDS, *_SCALES))})(?:[ -](?:and )?(?:{'|'.join((*_WORDS, *_SCALES))}))*\b"
    r"(?:[ -](?P<unit>percent|[a-z]+))?",
    re.I,
)


@dataclass(frozen=True)
class Quantity:
    """A number as written without separators and trailing zeros, with its unit, empty for none."""

    value: str
    unit: str
    written: str


@dataclass(frozen=True)
class Date:
    """A day, a month or a time of day; what is not stated is None."""

    year: int | None
    month: int | None
    day: int | None
    written: str

    def fits(self, other: "Date") -> bool:
        """Whether the other date states all that this one does, alike."""
        pairs = ((self.year, other.year), (self.month, other.month), (self.day, other.day))
        return all(mine is None or mine == theirs for mine, theirs in pairs)


def dates(text: str) -> tuple[list[Date], str]:
    """The dates of a text, and the text with blanks in their place."""
    found = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            part = match.groupdict()
            name = part.get("n")
            month = MONTHS[name.lower()] if name else _whole(part.get("m"))
            found.append(
                Date(_whole(part.get("y")), month, _whole(part.get("d")), match[0].strip())
            )
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    return found, text


def times(text: str) -> tuple[list[Quantity], str]:
    """The times of day, as minutes since midnight, and the text with blanks in their place."""
    found = []
    for match in _CLOCK.finditer(text):
        hour, minute = int(match[1] or match[4]), int(match[2] or match[5] or 0)
        if match[3]:
            hour = hour % 12 + (12 if match[3].lower() == "p" else 0)
        found.append(Quantity(str(60 * hour + minute), "clock", match[0].strip(" .")))
    return found, _CLOCK.sub(lambda match: " " * len(match[0]), text)


def quantities(text: str) -> list[Quantity]:
    """The numbers of a text, in digits or in words, each with its unit if it has one."""
    return [*_in_digits(text), *_in_words(text)]


def _in_digits(text: str) -> Iterator[Quantity]:
    for match in _NUMBER.finditer(text):
        value = re.sub(r"[,\u202f\u00a0]", "", match["value"])
        word = match["unit"] or ""
        unit = _UNITS[match["money"]] if match["money"] else unit_of(word)
        if scale := _SCALES.get(word.lower()):
            value = f"{float(value) * scale:.0f}" if value.count(".") < 2 else value
        elif unit and value.count(".") == 1:
            # 1.50 s are 1.5 s; version 1.50 is not version 1.5.
            value = value.rstrip("0").rstrip(".")
        yield Quantity(value, unit, match[0].strip(" -") if unit else match["value"])


def _in_words(text: str) -> Iterator[Quantity]:
    for match in _SPELLED.finditer(text):
        unit = unit_of((match["unit"] or "").lower())
        words = re.findall(r"[a-z]+", match[0].lower())
        words = [word for word in words if word in _WORDS or word in _SCALES]
        # "One of them" counts nothing; "one minute" does.
        if words == ["one"] and not unit:
            continue
        yield Quantity(str(_worth(words)), unit, match[0])


def _worth(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word in _SCALES:
            part = max(1, part) * _SCALES[word]
            if word != "hundred":
                total, part = total + part, 0
        else:
            part += _WORDS[word]
    return total + part


def unit_of(spelling: str) -> str:
    """The unit under its one name; empty for a word that is none."""
    return _UNITS.get(spelling) or _UNITS.get(spelling.lower(), "")


def _whole(digits: str | None) -> int | None:
    return int(digits) if digits else None

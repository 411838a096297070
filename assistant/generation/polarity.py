"""Polarity: where a sentence denies what its source affirms, says the opposite word, or turns a relation round.

What a negation denies are the words close behind it (NegEx; Chapman et al., *A simple algorithm for
identifying negated findings*, 2001).
"""

import re

from index.text import STOPWORDS, stem, terms

_DENIES = re.compile(
    r"\b(?:no longer|not|never|no|none|cannot|can['’]?t|without|neither|nor|unable to|fails? to|failed to"
    r"|lacks?|lacking|instead of|rather than|(?:is|are|was|were|do|does|did|has|have|had|would|could"
    r"|should|must|wo|need)n['’]?t)\b",
    re.I,
)
_NOT_DENYING = re.compile(
    r"\b(?:not only|not just|no later|no more than|no less than|whether or not|no\.)", re.I
)
_REACH = 3
"""Words of content that a negation denies, within its clause."""

_CLAUSE = re.compile(
    r"[,.;:!?()]|\b(?:but|because|so that|unless|until|if|when|which|while|although|and|in|at|for|from|by|with)\b"
    r"|(?<!\brely )(?<!\bdepend )(?<!\bbased )(?<!\brelies )(?<!\bdepends )\bon\b",
    re.I,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")

_PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being)\s+(?:\w+ly\s+)?\w+(?:ed|en|wn|lt|ght)\b"
)

_REACH_OF_RELATION = 12
"""Terms between which a source's words may belong to one relation."""

_OPPOSITES = [
    tuple(stem(word) for word in pair.split("/"))
    for pair in (
        "enable/disable allow/deny allow/forbid allowed/forbidden allow/block increase/decrease"
        " increase/reduce raise/lower before/after above/below more/less more/fewer most/least maximum/minimum"
        " always/never required/optional mandatory/optional start/stop first/last true/false success/failure"
        " succeed/fail internal/external public/private automatic/manual automatically/manually add/remove"
        " create/delete upper/lower higher/lower faster/slower largest/smallest highest/lowest accept/reject"
        " older/newer older/newest stable/unstable secure/insecure supported/unsupported synchronous/asynchronous"
        " encrypted/unencrypted inbound/outbound north/south east/west easy/hard same/different all/none"
        " stateless/stateful mutable/immutable earlier/later inside/outside import/export"
        " change/unchanged modify/unchanged"
    ).split()
]
_OPPOSED = {word for pair in _OPPOSITES for word in pair}


def contradicts(sentence: str, source: str) -> str | None:
    """The word by which a sentence says the opposite of its source; None if by no word."""
    denied, affirmed = _sides(sentence)
    denied_there, affirmed_there = _sides(source)
    flipped = (denied & affirmed_there) - denied_there | (affirmed & denied_there) - (
        denied | affirmed_there
    )
    if flipped:
        return min(flipped)
    said, stated = denied | affirmed, denied_there | affirmed_there
    for pair in _OPPOSITES:
        for mine, other in (pair, pair[::-1]):
            if mine in said - stated and other in stated - said:
                return mine
    return None


def _sides(text: str) -> tuple[set[str], set[str]]:
    """The stems of the words that a text denies, and of the others."""
    text = _NOT_DENYING.sub(lambda match: " " * len(match[0]), text)
    denied: set[str] = set()
    affirmed: set[str] = set()
    reach = 0
    denials = {match.start(): match.end() for match in _DENIES.finditer(text)}
    ends = {match.start() for match in _CLAUSE.finditer(text)}
    skip_to = 0
    for position in sorted({*denials, *ends, *(match.start() for match in _WORD.finditer(text))}):
        if position in ends:
            reach = 0
        if position in denials:
            reach, skip_to = _REACH, denials[position]
        if position < skip_to or not (word := _WORD.match(text, position)):
            continue
        if word[0].lower() in STOPWORDS and stem(word[0].lower()) not in _OPPOSED:
            continue
        (denied if reach else affirmed).add(stem(word[0].lower()))
        reach = max(0, reach - 1)
    return denied, affirmed


def turns_round(sentence: str, source: str) -> tuple[str, str, str] | None:
    """Three terms that follow each other in a sentence and stand the other way round in its source, as in "B depends on
    A" for "A depends on B"; None if there are none, or one of the two is in the passive.
    """
    if bool(_PASSIVE.search(sentence)) != bool(_PASSIVE.search(source)):
        return None
    places: dict[str, list[int]] = {}
    for at, term in enumerate(terms(source)):
        places.setdefault(term, []).append(at)
    said = terms(sentence)
    for first, middle, last in zip(said, said[1:], said[2:], strict=False):
        if len({first, middle, last}) < 3:
            continue
        mine = [places.get(term, []) for term in (first, middle, last)]
        if _in_a_row(*reversed(mine)) and not _in_a_row(*mine):
            return first, middle, last
    return None


def _in_a_row(first: list[int], middle: list[int], last: list[int]) -> bool:
    """Whether three terms follow each other in this order somewhere, in one relation's reach."""
    return any(a < b < c <= a + _REACH_OF_RELATION for a in first for b in middle for c in last)

"""Content: the words of a sentence that say something by themselves, and how two sentences share them."""

from collections.abc import Sequence
from itertools import pairwise

from index.text import STOPWORDS, stem, terms

NEAR = 4
"""Terms within which two words are about each other: a phrase, or a verb and what it does it to."""

_LIGHT = frozenset(
    """use used using uses user parameter parameters option options flag setting settings value values
    following determine determines determined amount number way ways problem problems issue issues occur
    occurs happen happens thing things called known refer refers mean means make makes made sure need needs
    needed based related include includes including provide provides allow allows help helps""".split()
)
"""Words that a paraphrase adds or leaves out without saying more or less."""

EMPTY = STOPWORDS | _LIGHT

_LIGHT_TERMS = frozenset(terms(" ".join(_LIGHT)))

_IRREGULAR = {
    form: verb
    for verb, *forms in (
        verbs.split()
        for verbs in """begin began begun,become became,break broke broken,bring brought,build built
        buy bought,catch caught,choose chose chosen,come came,deal dealt,draw drew drawn,drive drove driven
        fall fell fallen,feed fed,find found,forget forgot forgotten,get got,give gave given,go went gone
        grow grew grown,hear heard,hide hid hidden,hold held,keep kept,know knew known,lay laid,lead led
        leave left,lend lent,lose lost,mean meant,meet met,pay paid,rise rose risen,run ran,say said
        see saw seen,seek sought,sell sold,send sent,show shown,sleep slept,speak spoke spoken,spend spent
        stand stood,stick stuck,strike struck,take took taken,teach taught,tell told,think thought
        throw threw thrown,understand understood,wear wore worn,win won,write wrote written""".replace(
            "\n", ","
        ).split(",")
    )
    for form in forms
}


def content_terms(text: str) -> list[str]:
    """The stemmed terms of a text that say something, irregular verbs under their first form."""
    found = (_IRREGULAR.get(term, term) for term in terms(text))
    return [stem(term) for term in found if term not in _LIGHT_TERMS]


def near(said: Sequence[str], stated: Sequence[Sequence[str]]) -> float:
    """The share of neighbouring terms of a claim that are within `NEAR` terms of each other in a sentence of its
    source.
    """
    pairs = [(one, other) for one, other in pairwise(said) if one != other]
    places = _places(stated)
    close = sum(_are_near(one, other, places) for one, other in pairs)
    return close / len(pairs) if pairs else 1.0


def _places(stated: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Where each term stands; sentences are out of each other's reach."""
    places: dict[str, list[int]] = {}
    start = 0
    for sentence in stated:
        for at, term in enumerate(sentence, start):
            places.setdefault(term, []).append(at)
        start += len(sentence) + NEAR
    return places


def _are_near(one: str, other: str, places: dict[str, list[int]]) -> bool:
    return any(abs(a - b) <= NEAR for a in places.get(one, ()) for b in places.get(other, ()))

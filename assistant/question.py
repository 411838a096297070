"""Understanding a question: typos, what an earlier turn was about, and what kind of answer it wants."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from assistant.roles import ROLES
from index.lexical import LexicalShelf
from index.text import STOPWORDS, stem, words

_SHORTEST_CORRECTED = 4
_ONE_EDIT_UP_TO = 7
"""Letters up to which one edit is a typo; longer words may have two."""


@dataclass(frozen=True)
class Question:
    """A question as it is searched for.

    `corrections` maps words as typed to the corpus's spelling; `from_conversation` tells that the
    subject was taken from an earlier turn.
    """

    asked: str
    searched: str
    corrections: Mapping[str, str]
    from_conversation: bool = False


# --- typos ------------------------------------------------------------------------------------


def correct(
    text: str, shelves: Sequence[LexicalShelf], is_word: Callable[[str], bool]
) -> tuple[str, dict[str, str]]:
    """The text with its typos mended, and the words mended.

    A word is taken for a typo only if no readable shelf holds it or another form of it, it is no
    English word (`is_word`), and a word of the shelves is one or two edits away.
    """
    corrections: dict[str, str] = {}
    for word in words(text):
        if (mended := _correction(word, shelves, is_word)) is not None:
            corrections[word] = mended
    for typed, mended in corrections.items():
        text = re.sub(rf"\b{re.escape(typed)}\b", mended, text)
    return text, corrections


def _correction(
    word: str, shelves: Sequence[LexicalShelf], is_word: Callable[[str], bool]
) -> str | None:
    typed = word.lower()
    if len(typed) < _SHORTEST_CORRECTED or not typed.isalpha() or typed in STOPWORDS:
        return None
    if any(typed in shelf.words.ids or stem(typed) in shelf.terms.ids for shelf in shelves):
        return None
    if is_word(typed):
        return None
    edits = 1 if len(typed) <= _ONE_EDIT_UP_TO else 2
    nearest: dict[str, int] = {}
    for shelf in shelves:
        choices = shelf.words_by_length(len(typed) - edits, len(typed) + edits)
        for known, distance, _ in process.extract(
            typed, choices, scorer=OSA.distance, score_cutoff=edits, limit=5
        ):
            if known[0] == typed[0] and _is_slip(typed, known):
                nearest[known] = int(distance)
    if not nearest:
        return None
    counts = {word: sum(shelf.words.frequency(word) for shelf in shelves) for word in nearest}
    return min(nearest, key=lambda known: (nearest[known], -counts[known], known))


def _is_slip(typed: str, meant: str) -> bool:
    """Whether a hand would slip so: letters left out, swapped, wrong or doubled. A letter too many
    that doubles none is more likely another word: `linkerd` is no slip for `linked`.
    """
    return len(typed) <= len(meant) or _undoubled(typed) == _undoubled(meant)


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1", r"\1", word)


# --- follow-ups -------------------------------------------------------------------------------

_POINTS_BACK = re.compile(
    r"\b(?:it|its|it's|they|them|their|theirs|that|this|those|these|the same|the (?:former|latter)"
    r"|he|she|his|her|there)\b",
    re.IGNORECASE,
)
_CONTINUES = re.compile(
    r"^\s*(?:and|but|so|also|then|ok|okay|what about|how about|what else|why|how so|"
    r"which ones?|more)\b",
    re.IGNORECASE,
)


def leans_on_conversation(question: str) -> bool:
    """Whether a question needs an earlier turn to have a subject.

    It does if it points back ("its result?") or goes on ("and the constraints?") while it names
    next to nothing itself once the words that ask for a part of a story are set aside.
    """
    subject = subject_words(question)
    if not subject:
        return True
    return len(subject) <= 1 and bool(_POINTS_BACK.search(question) or _CONTINUES.match(question))


LIGHT_WORDS = frozenset(
    """actually add allow anyone anything apply applied available back become bring brings case
    cases come comes currently different end ever everyone everything feel find finds first get
    gets getting give gives go goes going good got happen happens keep keeps kept know known let
    like look looks lot main make makes making many much need needed needs new normally often part parts
    people put puts putting real really run say says see someone something still study studies sure
    take takes thing things today try use used useful user usually want wants way ways well work
    working works yes""".split()
)
"""Words that carry little: a passage that answers need not speak of them."""


def subject_words(question: str) -> list[str]:
    """The words of a question that name its subject: none that are common, light or ask for a
    role.
    """
    without_roles = question
    for role in ROLES:
        without_roles = role.asked.sub(" ", without_roles)
    return [
        word
        for word in words(without_roles)
        if word.lower() not in STOPWORDS and word.lower() not in LIGHT_WORDS
    ]


def last_subject(questions: Sequence[str]) -> str | None:
    """The newest earlier question that stands on its own, or None."""
    for question in reversed(questions):
        if not leans_on_conversation(question):
            return question
    return None


# --- what kind of answer ----------------------------------------------------------------------

_NUMBER = (
    r"\b\d+(?:[.,]\d+)*\b|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"dozen|hundred|thousand|million|billion|once|twice|half|zero|single)\b|%"
)
_UNIT_OF_TIME = (
    r"(?:milli|micro|nano)?(?:second|minute|hour|day|week|month|quarter|year)s?|ms|ns|[smhd]"
)

_KINDS = (
    (
        "version",
        r"\b(?:what|which) (?:[\w-]+ ){0,4}versions?\b|\bversions? (?:of|do|does|is|are)\b"
        r"|\b(?:what|which) release\b",
        r"\bv?\d+(?:\.\d+)+\b|\bv\d+\b|\bversion \d+|\b[A-Za-z]+ \d+\b",
    ),
    (
        "date",
        r"^when\b|\b(?:since|until|by) when\b|\b(?:what|which) (?:[\w-]+ ){0,2}(?:date|year|month|day)\b"
        r"|\bwhen (?:was|were|did|is|will)\b|\bhow long ago\b",
        r"\b(?:1[5-9]|20)\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|"
        r"October|November|December|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b"
        r"|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b(?:when|before|after|during|until|while|if|once|"
        r"late|later|early|earlier|ahead|often|already|currently|today|now)\b",
    ),
    (
        "money",
        r"\bhow much (?:does|do|did|is|was|are|were|money|will)\b.*\b(?:cost|costs|pay|spend|save\w*|price|charge)"
        r"|\bhow expensive\b|\b(?:price|pricing|salary|fee)\b|\b(?:what|which) (?:[\w-]+ ){0,3}costs?\b",
        r"[$€£]\s?\d|\b\d[\d.,]{0,40}\s?(?:USD|EUR|GBP|dollars?|euros?|pounds?|cents?|k|million|billion)\b",
    ),
    (
        "duration",
        r"\bhow (?:long|often|frequently|soon|quickly|fast)\b|\b(?:RTO|RPO|TTL|timeout|interval|cadence"
        r"|retention period|time window)\b",
        rf"\b\d[\d.,]{{0,40}}\s?(?:{_UNIT_OF_TIME})\b|\b(?:hourly|daily|weekly|monthly|quarterly|yearly|"
        rf"annually|always|never|every|continuous\w*|(?:{_NUMBER})\s+(?:{_UNIT_OF_TIME}))",
    ),
    (
        "number",
        r"\bhow (?:many|much|large|big|high|low|far|deep|wide|tall|old)\b"
        r"|\b(?:what|which) (?:[\w-]+ ){0,3}(?:percent\w*|number|amount|port|ratio|rate|threshold|size|count"
        r"|quota|limit value|score)\b",
        _NUMBER,
    ),
    (
        "person",
        r"^(?:who|whose|whom)\b|\bby whom\b|\bwhose\b"
        r"|\bwho (?:is|was|are|were|did|owns?|maintains?|wrote|leads?|approved?|runs?)\b",
        r"\b[A-Z][a-z]+ [A-Z][a-z]+\b|\b(?:teams?|engineers?|developers?|operators?|owners?|users?|"
        r"administrators?|admins?|maintainers?|customers?|managers?|people|staff|company|group|"
        r"committee|council|on-call|SREs?)\b",
    ),
    (
        "procedure",
        r"^how (?:do|can|should|would|to) ?(?:i|we|you|one)? (?:\w+ )?(?:install|configure|set ?up|"
        r"write|create|deploy|upgrade|update|tune|enable|disable|roll ?back|run|debug|add|remove|"
        r"delete|migrate|connect|reset|change|start|stop|uninstall|use|make|center|onboard)\b",
        r"`|^\s*\$ |https?://|(?:^|[.:;]\s+|\n[^\S\n]*(?:[-*]|\d+[.)])\s+)(?:To |You (?:can|need|must|should)|"
        r"Run|Use|Set|Add|Create|Install|Click|Open|Configure|Enable|Edit|Make|Go|Start|Stop|If)\b"
        r"|\b(?:you can|you need to|you must|you should|by (?:setting|running|using|adding))\b",
    ),
    (
        "address",
        r"\b(?:URL|link|website|e-?mail|hostname|IP address|phone|endpoint address|slack channel)\b",
        r"https?://|\b[\w.+-]+@[\w-]+\.\w+|\b\d{1,3}(?:\.\d{1,3}){3}\b|#[a-z][\w-]+",
    ),
)

_FOCUS = re.compile(
    r"\b(?:which|what|whose)\s+((?:[\w/'-]+\s+){1,4}?)(?=(?:is|are|was|were|do|does|did|has|have|had|"
    r"can|could|should|would|will|must|gets?|got|needs?|makes?|made|came|comes?|\w+s|\w+ed)\b)",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|should|would|will)\b", re.IGNORECASE
)


def focus_words(question: str) -> list[str]:
    """The words that say what kind of thing is asked for: `vector database` in "Which vector
    database does the platform use?"; none where the question has no such phrase.
    """
    found = _FOCUS.search(question)
    return [word for word in words(found[1]) if word.lower() not in STOPWORDS] if found else []


def asks_yes_or_no(question: str) -> bool:
    """Whether a question begins with its verb, so that yes or no would answer it."""
    return bool(_YES_NO.match(question))


def named_things(question: str) -> list[str]:
    """The words written as names: capitals inside the question, or digits."""
    if question.isupper():
        return []
    found = words(question)
    return [
        word
        for position, word in enumerate(found)
        if word.lower() not in STOPWORDS
        and ((position > 0 and word[0].isupper()) or any(letter.isdigit() for letter in word))
    ]


_COMPILED = tuple(
    (kind, re.compile(asked, re.IGNORECASE), re.compile(found)) for kind, asked, found in _KINDS
)


def expected_kinds(question: str) -> list[str]:
    """The kinds of value a question asks for: version, date, money, duration, number, person…"""
    return [kind for kind, asked, _ in _COMPILED if asked.search(question)]


def holds_kind(kind: str, text: str) -> bool:
    """Whether a text holds any value of that kind."""
    return any(name == kind and found.search(text) for name, _, found in _COMPILED)

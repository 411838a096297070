"""Claims made by rule from passages, of which it is known whether the passage supports them.

Supported are a passage's own sentences, said otherwise by rule, and SQuAD's questions put together with
their answers; unsupported are sentences of its neighbours, and sentences with a name, a number, a word, a
relation or a denial changed, or with another passage's half.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from benchmarks.generated_claims import document_of
from benchmarks.questions import ROOT, SHARED_EVAL, rows
from index.embedder import llm_tokens, load_embedder
from index.schema import Document, Passage
from index.sentences import plain, sentences
from index.text import STOPWORDS
from ingest.chunk import ChunkSizes, chunk

INFRA_PAGES = 250
PASSAGES = {"case studies": 88, "infra-faq": 170, "squad2": 90}
"""Passages that claims are made from, of each set; each gives up to ten claims."""

STATEMENTS = 250
"""SQuAD's questions that are made into statements, each with a right answer and a wrong one."""


@dataclass(frozen=True)
class Pair:
    """A claim, the passage it is checked against, whether that supports it, and the rule it was made by."""

    claim: str
    passage: Passage
    supported: bool
    rule: str
    source: str


def make_pairs(seed: int = 5) -> list[Pair]:
    """All pairs, the same for the same seed."""
    chance = random.Random(seed)
    found: list[Pair] = []
    for source, documents in _documents(chance).items():
        groups = [_passages(group) for group in documents]
        chosen = [
            (passage, [other for other in group if other.row != passage.row])
            for group in groups
            for passage in group
            if _told(passage)
        ]
        chance.shuffle(chosen)
        for passage, others in chosen[: PASSAGES[source]]:
            found += _of_passage(passage, others, source, chance)
    return [*found, *_statements(chance)]


def _documents(chance: random.Random) -> dict[str, list[list[Document]]]:
    """Documents in groups: those of a group are about one subject."""
    case_studies = sorted((ROOT / "corpus").rglob("*.md"))
    infra: dict[str, list[Document]] = defaultdict(list)
    pages = rows(SHARED_EVAL / "infra-faq" / "corpus.jsonl.gz")
    for row in chance.sample(pages, INFRA_PAGES):
        infra[row["project"]].append(
            document_of(row["_id"], row["title"], row["text"], row["project"])
        )
    squad: dict[str, list[Document]] = defaultdict(list)
    for row in rows(SHARED_EVAL / "squad2" / "corpus.jsonl.gz"):
        squad[row["title"]].append(document_of(row["_id"], row["title"], row["text"]))
    texts = [
        re.sub(r"\A---\n.*?\n---\n", "", each.read_text(), flags=re.S) for each in case_studies
    ]
    return {
        "case studies": [
            [document_of(path.stem, text.strip().partition("\n")[0].lstrip("# "), text.strip())]
            for path, text in zip(case_studies, texts, strict=True)
        ],
        "infra-faq": list(infra.values()),
        "squad2": list(squad.values()),
    }


def _passages(documents: Sequence[Document]) -> list[Passage]:
    """The chunks of some documents, as the product cuts them."""
    cut = [(each, part) for each in documents for part in chunk(each.place, each.text, _sizes())]
    return [Passage(row, document, part) for row, (document, part) in enumerate(cut)]


@lru_cache(maxsize=1)
def _sizes() -> ChunkSizes:
    embedder = load_embedder()
    return ChunkSizes(
        llm_tokens(), lambda text: embedder.count_tokens([text])[0], embedder.max_tokens
    )


def _told(passage: Passage) -> list[str]:
    """The sentences of a passage that tell something, as a person reads them."""
    found = []
    for each in sentences(passage.body):
        text = plain(passage.body[each.start : each.end])
        if not each.code and 6 <= len(text.split()) <= 45 and re.match(r"[A-Z`\"].*[.!]$", text):
            found.append(text)
    return found


def _of_passage(
    passage: Passage, others: Sequence[Passage], source: str, chance: random.Random
) -> list[Pair]:
    own = _told(passage)
    foreign = [
        text for other in chance.sample(others, min(6, len(others))) for text in _told(other)
    ]
    made: list[Pair] = []

    def add(claim: str | None, supported: bool, rule: str) -> None:
        if claim and not any(claim == pair.claim for pair in made):
            made.append(Pair(claim, passage, supported, rule, source))

    sentence = chance.choice(own)
    add(sentence, True, "as it is")
    for rule, rewrite in chance.sample(list(_REWORDINGS.items()), 4):
        for text in chance.sample(own, len(own)):
            if (said := rewrite(text, passage.document.title)) != text:
                add(_varied(said, chance), True, rule)
                break
    if len(own) > 1:
        add(_fused(*chance.sample(own, 2)), True, "two fused")
    if joined := _joined(passage, chance):
        longer, half = joined
        words = _words(" ".join(foreign))
        made.append(Pair(_varied(half, chance), longer, True, "half of a sentence", source))
        if changed := _other_word(half, longer.body, words, chance):
            made.append(Pair(changed, longer, False, "half with another word", source))
    if foreign:
        add(chance.choice(foreign), False, "neighbour")
        add(
            _fused(*chance.sample([sentence, chance.choice(foreign)], 2)),
            False,
            "half from a neighbour",
        )
    for rule, change in chance.sample(list(_CHANGES.items()), 4):
        text = chance.choice(own)
        if rule == "turned round":
            text = next((each for each in own if change(each, "", (), chance)), text)
        words = _words(" ".join(foreign)) if foreign else []
        changed = change(text, passage.body, words, chance)
        if changed:
            add(_varied(changed, chance), False, rule)
    return made


def _joined(passage: Passage, chance: random.Random) -> tuple[Passage, str] | None:
    """The passage with two neighbouring sentences made one, and one of the two."""
    body = passage.body
    found = [each for each in sentences(body) if not each.code]
    pairs = [
        (one, other)
        for one, other in pairwise(found)
        if re.fullmatch(r"\s", body[one.end : other.start])
        and {plain(body[each.start : each.end]) for each in (one, other)} <= set(_told(passage))
    ]
    if not pairs:
        return None
    one, other = chance.choice(pairs)
    texts = [body[each.start : each.end] for each in (one, other)]
    text = body[: one.start] + _fused(*texts) + body[other.end :]
    document = replace(passage.document, text=text)
    longer = replace(
        passage,
        document=document,
        chunk=replace(passage.chunk, start=0, body_start=0, end=len(text)),
    )
    return longer, plain(chance.choice(texts))


def _varied(text: str, chance: random.Random) -> str:
    """Half of the time with other function words, so that change as such tells nothing."""
    return _function_words(text, "") if chance.random() < 0.5 else text


# --- said otherwise ---------------------------------------------------------------------------

_SYNONYMS = [
    (r"\bin order to\b", "to"),
    (r"\bsuch as\b", "like"),
    (r"\bmust\b", "has to"),
    (r"\bcan\b", "may"),
    (r"\bshould\b", "ought to"),
    (r"\buses?\b", "relies on"),
    (r"\bhowever, ", ""),
    (r"\balso \b", ""),
    (r"\ballows? you to\b", "lets you"),
    (r"\bvia\b", "through"),
    (r"\bneed to\b", "have to"),
    (r"\bwhile\b", "whereas"),
    (r"\bmultiple\b", "several"),
    (r"\bprovides?\b", "offers"),
    (r"\bensures?\b", "makes sure"),
    (r"\bcreates?\b", "makes"),
    (r"\bdon't\b", "do not"),
    (r"\bmany\b", "a lot of"),
    (r"\bbecause\b", "since"),
    (r"\bthroughout\b", "all over"),
    (r"\bduring\b", "in the course of"),
    (r"\bbegan\b", "started"),
    (r"\blarge\b", "big"),
]


def _function_words(text: str, title: str) -> str:
    for pattern, other in _SYNONYMS:
        text = re.sub(pattern, other, text, flags=re.I)
    return text[:1].upper() + text[1:]


def _clause_order(text: str, title: str) -> str:
    found = re.match(
        r"(If|When|After|Before|While|Because|Since|Once|Although|In|For|At|During|By) ([^,`]+), ([^.]+)\.$",
        text,
    )
    if found:
        rest = found[3]
        return f"{rest[:1].upper() + rest[1:]} {found[1].lower()} {found[2]}."
    found = re.match(
        r"([^,`]{15,}?),? (if|when|after|before|because|once|although|while) ([^,`.]+)\.$", text
    )
    if found:
        return f"{found[2].capitalize()} {found[3]}, {found[1][:1].lower() + found[1][1:]}."
    return text


def _shortened(text: str, title: str) -> str:
    shorter = re.sub(
        r"\s*\([^()]*\)|, (?:which|who|where|including|such as|like|e\.g\.)[^,.]*(?=,|\.$),?",
        "",
        text,
    )
    shorter = re.sub(
        r"\b(?:very|really|quite|simply|just|also|often|usually|easily|directly|quickly) ",
        "",
        shorter,
    )
    return shorter if len(shorter.split()) >= 5 else text


def _phrase_dropped(text: str, title: str) -> str:
    """Without a phrase of place, time or manner in its middle or at its end."""
    phrase = r" (?:in|on|at|with|from|by|during|across|within|via|through) (?:the |a |an )?[\w-]+(?: [\w-]+)?"
    shorter = re.sub(rf"(?<=[a-z]){phrase}(?=,|\.$| and | when | if | so | to )", "", text, count=1)
    return shorter if len(shorter.split()) >= 5 else text


def _second_clause(text: str, title: str) -> str:
    """Only what stands behind the "and", said of the subject."""
    found = re.match(
        r"((?:The |A |An )?[\w`-]+(?: [\w`-]+)?) \w+s [^,]*,? and (?:then |also )?([a-z]+s) ([^,]+)\.$",
        text,
    )
    return f"{found[1]} {found[2]} {found[3]}." if found else text


def _pronoun_resolved(text: str, title: str) -> str:
    return re.sub(
        r"^(?:It|This|They) (?=(?:is|was|has|can|are|were|have|may|will)\b)", f"{title} ", text
    )


def _passive(text: str, title: str) -> str:
    found = re.match(
        r"([A-Z][\w -]{2,40}) (uses|provides|creates|manages|supports|requires|contains) ([\w -]{4,60})\.$",
        text,
    )
    if not found:
        return text
    verb = {"uses": "used", "creates": "created", "manages": "managed"}.get(
        found[2], found[2][:-1] + ("d" if found[2][-2] == "e" else "ed")
    )
    thing = found[3][:1].upper() + found[3][1:]
    return f"{thing} {'are' if thing.endswith('s') else 'is'} {verb} by {found[1]}."


_REWORDINGS: dict[str, Callable[[str, str], str]] = {
    "function words": _function_words,
    "clause order": _clause_order,
    "shortened": _shortened,
    "phrase dropped": _phrase_dropped,
    "second clause": _second_clause,
    "pronoun resolved": _pronoun_resolved,
    "passive": _passive,
}


def _fused(one: str, other: str) -> str:
    joined = other if re.match(r"[A-Z][A-Z`]|`", other) else other[:1].lower() + other[1:]
    return f"{one.rstrip('.!')}, and {joined}"


# --- changed ----------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\b[a-z]{4,}\b", text) if word not in STOPWORDS]


def _other_word(text: str, body: str, foreign: Sequence[str], chance: random.Random) -> str | None:
    """With one or two words of content that are its neighbours'."""
    for _ in range(chance.choice((1, 2, 2))):
        mine = _words(text)
        theirs = [word for word in foreign if word not in body.lower()]
        if not mine or not theirs:
            return None
        text = re.sub(rf"\b{chance.choice(mine)}\b", chance.choice(theirs), text, count=1)
    return text


def _other_name(text: str, body: str, foreign: Sequence[str], chance: random.Random) -> str | None:
    """With a name that the passage gives to something else."""
    mine = re.findall(r"(?<!^)\b[A-Z]\w+(?: [A-Z]\w+)*", text)
    theirs = [
        name for name in re.findall(r"(?<=[a-z,] )[A-Z]\w+(?: [A-Z]\w+)*", body) if name not in text
    ]
    if not mine or not theirs:
        return None
    return text.replace(chance.choice(mine), chance.choice(theirs), 1)


def _other_number(
    text: str, body: str, foreign: Sequence[str], chance: random.Random
) -> str | None:
    found = list(re.finditer(r"\d+", text))
    if not found:
        return None
    at = chance.choice(found)
    return text[: at.start()] + str(int(at[0]) + chance.choice((1, 2, 10))) + text[at.end() :]


def _number_of_another(
    text: str, body: str, foreign: Sequence[str], chance: random.Random
) -> str | None:
    """With a number that the passage gives to something else."""
    mine = re.findall(r"\b\d[\d.,]*\b", text)
    theirs = [number for number in re.findall(r"\b\d[\d.,]*\b", body) if number not in text]
    if not mine or not theirs:
        return None
    return text.replace(chance.choice(mine), chance.choice(theirs), 1)


def _denied(text: str, body: str, foreign: Sequence[str], chance: random.Random) -> str | None:
    if re.search(r"\bnot\b|n't\b|\bnever\b|\bno\b", text):
        changed = re.sub(r" not\b|n't\b| never\b", "", text, count=1)
        return changed if changed != text else None
    changed = re.sub(
        r"\b(is|are|was|were|can|will|should|must|has been|may)\b", r"\1 not", text, count=1
    )
    return changed if changed != text else None


_VERBS = (
    "depends?|uses?|used|manages?|managed|calls?|replaces?|replaced|requires?|contains?|supports?|supported|creates?"
    "|created|sends?|triggers?|owns?|reads?|writes?|written|runs?|provides?|provided|needs?|follows?|followed|led"
    "|won|founded|defeated|became|monitors?|controls?|generates?|stores?|includes?|introduced|built|made|makes?"
    "|connects?|coordinates?|becomes?|keeps?|gets?|receives?|received|configures?|allows?|adds?|watches|joined"
)


def _turned_round(
    text: str, body: str, foreign: Sequence[str], chance: random.Random
) -> str | None:
    """With what stands before a verb put behind it, and the other way round."""
    found = re.match(
        r"((?:The |A |An )?[\w`-]+(?: [\w`-]+){0,3}) "
        rf"((?:is |are |was |were )?(?:{_VERBS})(?: by| on| to| from| for| with| in)?) "
        r"((?:the |a |an )?[\w`-]+(?: [\w`-]+){0,2})\b(.*)$",
        text,
    )
    if not found or found[3].lower() in STOPWORDS:
        return None
    first, last = found[3], found[1]
    return f"{first[:1].upper() + first[1:]} {found[2]} {last[:1].lower() + last[1:]}{found[4]}"


def _names_exchanged(
    text: str, body: str, foreign: Sequence[str], chance: random.Random
) -> str | None:
    names = list(dict.fromkeys(re.findall(r"\b[A-Z]\w+(?: [A-Z]\w+)*", text)))
    names = [name for name in names if name.lower() not in STOPWORDS]
    if len(names) < 2:
        return None
    one, other = chance.sample(names, 2)
    between = re.search(rf"{re.escape(one)}(.*?){re.escape(other)}", text)
    # "A and B" is "B and A".
    if not between or not re.search(r"[a-z]{4,}", between[1]):
        return None
    return re.sub(
        rf"\b(?:{re.escape(one)}|{re.escape(other)})\b",
        lambda found: other if found[0] == one else one,
        text,
    )


_CHANGES: dict[str, Callable[[str, str, Sequence[str], random.Random], str | None]] = {
    "another word": _other_word,
    "two other words": _other_word,
    "another name": _other_name,
    "another number": _other_number,
    "number of another": _number_of_another,
    "denied": _denied,
    "turned round": _turned_round,
    "names exchanged": _names_exchanged,
}


# --- questions with answers -------------------------------------------------------------------


def _statements(chance: random.Random) -> list[Pair]:
    """SQuAD's questions as statements: with their answer, and with that to another of the paragraph."""
    folder = SHARED_EVAL / "squad2"
    passages = {
        row["_id"]: _passages([document_of(row["_id"], row["title"], row["text"])])
        for row in rows(folder / "corpus.jsonl.gz")[:400]
    }
    asked = [
        row
        for row in rows(folder / "dev" / "queries.jsonl")
        if len(passages.get(row["paragraph"], ())) == 1
    ]
    answers: dict[str, list[str]] = defaultdict(list)
    for row in asked:
        answers[row["paragraph"]] += row["answers"][:1]
    made: list[Pair] = []
    for row in chance.sample(asked, len(asked)):
        passage = passages[row["paragraph"]][0]
        right = statement(row["text"], min(row["answers"], key=len))
        wrong = [
            each
            for each in answers[row["paragraph"]]
            if not set(each.split()) & set(" ".join(row["answers"]).split())
        ]
        if right:
            made.append(Pair(right, passage, True, "answered", "squad2"))
            if wrong:
                said = statement(row["text"], chance.choice(wrong))
                made.append(Pair(said or "", passage, False, "answered wrongly", "squad2"))
        if len(made) >= 2 * STATEMENTS:
            break
    return made


def statement(question: str, answer: str) -> str | None:
    """A question and its answer as one statement; None where no simple rule makes one."""
    question = question.strip().rstrip("?")
    if re.search(r"\b(?:did|does|do|had)\b", question):
        return None
    verb = r"(?!is |are |was |were )\w+(?:ed|s|d|t|w|k)"
    if found := re.match(rf"(?:Who|What|Which [\w ]{{3,20}}?) ({verb}) (.+)", question):
        return f"{_capital(answer)} {found[1]} {found[2]}."
    if found := re.match(r"(?:Who|What|Where) (is|are|was|were) ((?:the|a|an) .+)", question):
        return f"{_capital(found[2])} {found[1]} {answer}."
    if found := re.match(r"When (?:was|were) (.+) (\w+ed|born|built|made|held|given)$", question):
        return f"{_capital(found[1])} was {found[2]} in {answer}."
    return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

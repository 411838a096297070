"""Section roles: what part of a story a question asks for, and what part a heading announces.

Engineering documents tell the same story under different headings: a design record has Context,
Decision and Consequences, a case study Problem, Architecture and Result, a runbook Symptoms and
Steps. A question asks for one of these parts in words that rarely stand in the part itself
("what did we gain" for a Result), so neither BM25 nor embeddings connect the two; this does.
"""

import re
from dataclasses import dataclass

from index.text import stem, words


@dataclass(frozen=True)
class Role:
    """A part of a story: the words that head it, and the patterns by which people ask for it."""

    name: str
    headings: frozenset[str]
    asked: re.Pattern[str]


def _role(name: str, headings: str, asked: str) -> Role:
    compiled = re.compile(rf"\b(?:{asked})\b", re.IGNORECASE)
    return Role(name, frozenset(stem(word) for word in headings.split()), compiled)


ROLES = (
    _role(
        "problem",
        "problem problems context background motivation challenge challenges issue issues why "
        "pain rationale symptom symptoms",
        r"problems?|issues?|challenges?|pains?(?: points?)?|motivat\w+|trouble\w*|struggl\w+|"
        r"go(?:es|ing)? wrong|went wrong|why|wrong with|difficult\w*|hard|hurts?|suffer\w*|"
        r"gaps?|symptoms?|bother\w*|before(?=\W*$)|before (?:the|this|that|there)|used to|"
        r"root causes?|risk(?:s|y)?|danger\w*|bad|slow(?:s|ed)? down|fail(?:s|ed|ing)?|"
        r"downsides?|what happens when|unhappy|complain\w*|lose|losing|waste\w*|broken",
    ),
    _role(
        "constraints",
        "constraint constraints requirement requirements limitation limitations consideration "
        "considerations assumption assumptions scope caveat caveats prerequisites",
        r"constraints?|constrain\w*|limits?|limit(?:ed|ing)|limitations?|requirements?|required|"
        r"considerations?|consider\w*|concerns?|worr(?:y|ies)|trade-?offs?|watch out|careful\w*|"
        r"care|boundar\w+|factors?|restrict\w*|assumptions?|must(?: not)?|has to|have to|had to|"
        r"need(?:s|ed)? to|account for|take into account|balance\w*|respect\w*|caveats?|"
        r"prerequisites?|keep in mind|kept in mind|matter(?:s|ed)?|avoid\w*|pressures?|overhead|"
        r"could go wrong|shaped",
    ),
    _role(
        "architecture",
        "architecture design solution approach implementation decision components overview "
        "structure mechanism steps procedure mitigation resolution remediation",
        r"architectures?|architected|design\w*|solutions?|approach\w*|implement\w*|components?|"
        r"built|building|structur\w+|made (?:up )?of|consists?|composed|"
        r"how (?:does|do|is|are|can|did|was|were)|what if|do(?:es)? (?:[\w-]+ ){1,5}do|"
        r"pieces|parts|layers?|patterns?|mechanisms?|"
        r"works|using|uses?|put together|set up|provid(?:es|ed)|contains?|includ\w+|covers?|"
        r"offers?|which tools?|what tools?|building blocks?|happens (?:if|when)|handles?|"
        r"take care of|takes care of|ties? together|hooked up|connected|modelled|secures?|who has to",
    ),
    _role(
        "result",
        "result results outcome outcomes consequence consequences benefit benefits conclusion "
        "effect effects success impact",
        r"results?|outcomes?|benefits?|consequences?|achiev\w+|gain\w*|improv\w+|effects?|"
        r"impacts?|pa(?:y|id) ?offs?|end(?:s|ed)? up|becomes?|became|become of|changed?|changes|"
        r"success\w*|accomplish\w*|deliver(?:s|ed)?|value|in the end|better|easier|afterwards?|"
        r"conclusion|now|replaced|lead(?:s)? to|led to|c(?:a|o)me(?:s)? (?:out )?of|came out|"
        r"get out of|got out of|advantages?|good for|helps|(?:does|did|do) (?:[\w-]+ ){1,5}help|after",
    ),
)


def asked_roles(question: str) -> dict[str, float]:
    """How strongly a question asks for each role: shares of its cues, empty if it has none."""
    found = {role.name: len(set(map(str.lower, role.asked.findall(question)))) for role in ROLES}
    total = sum(found.values())
    return {name: count / total for name, count in found.items() if count}


def heading_roles(heading_path: tuple[str, ...]) -> frozenset[str]:
    """The roles that the last heading of a path announces: it must say little else."""
    if not heading_path:
        return frozenset()
    named = {stem(word.lower()) for word in words(heading_path[-1])}
    return frozenset(role.name for role in ROLES if 2 * len(named & role.headings) >= len(named))


_ANSWERS = re.compile(
    r"\b(?:faqs?|frequently asked|questions? (?:and|&) answers?|q ?& ?a|troubleshoot\w*|debugging|"
    r"(?:known|common) (?:issues?|problems?|errors?|questions?))\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?\s*(?:\([^()]*\)\s*)?$|^\W*(?:how|why|what|when|where|which|who|can|could|do|does|did|is|are|"
    r"was|were|should|will|would|has|have|may|must)\b|^\W*(?:i|we)(?:'m|'ve| (?:am|get|got|see|have|can))\b|"
    r"\b(?:errors?|fail(?:s|ed|ing|ure)?|stuck|crash\w*|cannot|can't|unable|not (?:\w+ )?work\w*|"
    r"timeouts?|timed out|denied|refused|missing|too many|not found|does not|doesn't|isn't|won't)\b",
    re.IGNORECASE,
)


def asks_for_help(question: str) -> bool:
    """Whether a text is a question or describes a symptom, rather than naming a subject."""
    return bool(_ASKS.search(question))


def answers_questions(title: str, heading_path: tuple[str, ...]) -> bool:
    """Whether a passage stands where questions are answered: under a FAQ, a list of known issues, a
    guide to troubleshooting.
    """
    return any(_ANSWERS.search(heading) for heading in (title, *heading_path))

"""Orders: sentences of a passage that tell whoever answers what to write. They are no evidence of anything.

What a runbook orders ("Restart the node", "Add the label to your manifest") is an answer and stays one: an order
in the sense of this module speaks of the answer itself, of the prompt, or of the assistant. Of the 54,170 sentences
of every sixth page of `infra-faq` one is taken for one, and none of the 6,330 of `squad2`.
"""

import re

_WRITTEN = r"""(?:(?:final|first|next|whole|entire|full|own)\s)?(?:answers?|responses?|reply|replies)\b
    (?!\s(?:plans?|teams?|times?|process|files?|headers?|codes?|bod))"""
_DONE_TO_IT = r"""(?:add|append|apply|augment|base|begin|change|compose|convert|embed|encipher|encode|encrypt|end
    |enhance|express|fabricate|finish|format|generate|give|include|incorporate|insert|integrate|jumble|make|mention|mirror|
    modify|invert|output|print|provide|put|render|reorder|repeat|replace|reverse|rewrite|say|scramble|shift|show
    |start|state|substitute|switch|transform|translate|turn|use|weave|write)"""
_PROMPT = r"(?:(?:system|initial|original|full|entire)\s(?:prompt|message|instructions?)|prompt|instructions?)"

ORDER = re.compile(
    rf"""
    # of the answer
      \b{_DONE_TO_IT}\b .{{0,120}}? \b(?:your|each|every)\s{_WRITTEN}
    | \A\W*your\s{_WRITTEN} .{{0,120}}? \b(?:should|must|needs?\sto|has\sto)\b
    | \A\W*(?:reply|respond|answer)\s (?:only|just|using|with|in|by|as)\b
    | \A\W*in\syour\s{_WRITTEN}\s*,
    | \bcan\syou\s(?:reply|respond|answer)\b
    | \b(?:encode|encrypt|invert|reverse|translate)\b .{{0,60}}? \byour\smessage\b
    # of the prompt
    | \b(?:ignore|disregard|forget|override)\b .{{0,60}}? \b(?:instructions?|prompts?|your\s(?:rules|guidelines)
        |(?:is|was|comes?|came|said|written|text|everything|all)\s(?:above|before|earlier|said)|I\s(?:have\s)?said)\b
    | \b(?:reveal|print|output|recite|convert|translate|summari[sz]e|leak|display|paraphrase|write|repeat|tell|give
        |copy|show|list|explain|describe|return)\b
        .{{0,120}}? \b(?:your|my|these|those|(?:system|previous|above|initial|original)) \s (?:\w+\s)?{_PROMPT}\b
    # of the assistant
    | \b(?:you\sare|you're|act\sas|pretend\s(?:to\sbe|that\syou|you))\b .{{0,120}}? \b(?:an?\s(?:\w+\s)?(?:AI|assistant)
        |chat\s?bot|language\smodel|\w*GPT)\b
    | \b(?:as|for|to|dear)\s (?:the|an|any)?\s? (?:AI|(?:AI\s)?assistant|language\smodel)s?\b   .{{0,120}}? \b(?:must
        |should|shall|say|write|send|ignore)\b
    | \b(?:all|everything|whatever)\s (?:that\s)? you\s (?:have\s(?:read|seen|been\stold)|can\s(?:read|see))\b
    | \A\W*(?:please\s)? (?:show|tell|give|help|teach|write)\s me\b
    | \bI\s (?:want|need|order|command)\s you\s to\b
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_order(sentence: str) -> bool:
    """Whether a sentence tells its reader what to answer, or how."""
    return bool(ORDER.search(sentence))

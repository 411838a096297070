"""Wording: a unit of a model's text reduced to plain words, with nothing left to click or to load."""

import re

from assistant.generation.units import FENCE
from index.sentences import plain

CITED = "\ue000"
"""Stands for a citation that was taken out, until the words around it are mended."""

CODE = re.compile(r"(`[^`\n]*`)")

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ue001-\uf8ff]"
)
_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\((?:[^()\n]|\([^()\n]*\))*\)|\[[^\[\]]*\])")
_HALF_LINK = re.compile(r"!\[|\]\([^()\s]*\)?")
_HALF_TAG = re.compile(r"<+(?=[A-Za-z/!?|])")
_DEFINITION = re.compile(r"^\s*\[[^\]\n]+\]:.*$", re.M)
_ADDRESS = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]*)>", re.I)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_TAG = re.compile(r"<[/!?|]*[A-Za-z][^<>]*(?:>|\Z)")
_DEBRIS = re.compile(r"\[/?(?:INST|SYSTEM_PROMPT)\]|<<?/?SYS>>?", re.I)

_LABEL = re.compile(
    r"^[*_]*(?:(?:final |short )?answer|response|assistant|model|output)[*_]*:[*_\s]*", re.I
)
_SOURCES = (
    r"(?:(?:the |these |this )?(?:provided |given |numbered |above |cited )?(?:passages?|sources?"
    rf"|documents?|context|documentation|information|text)(?: provided| given| above)?{CITED}*|{CITED}+)"
)
_SOURCES = rf"(?:(?:passages? )?{_SOURCES}(?:(?:,| and|, and) {_SOURCES})?)"
_PREAMBLE = re.compile(
    rf"^(?:(?:according to|based on|as (?:stated|described|mentioned|noted|shown) (?:in|by)|per|from|in)"
    rf" {_SOURCES},(?: it is (?:clear|stated) that)?"
    rf"|{_SOURCES} (?:says?|states?|mentions?|explains?|notes?|indicates?|describes?|shows?) that"
    r"|(?:sure|certainly|of course|yes|no|okay|ok|great question|hello|hi)(?:[,!:]|\.(?!\s*\d)))(?:\s+|\Z)",
    re.I,
)
_ANNOUNCEMENT = re.compile(
    r"^(?:here (?:is|are)|here's|the answer is|below (?:is|are)|hope|let me know"
    rf"|(?:based on|according to) {_SOURCES})\b[^.]*[:.!]?$",
    re.I,
)
_LEFT_OVER = re.compile(
    rf"\(\s*(?:see |cf\. ?)?{CITED}[{CITED}\s,;&]*\)|{CITED}(?:\s*,?\s*{CITED})*"
)
_GAP = re.compile(r"\s+(?=[.,;:!?](?:\s|$))")
_TWO_STOPS = re.compile(r"(?<=[^.])\.\s*\.$")


def plain_words(unit: str) -> str:
    """What a unit says, links, images, HTML, emphasis, citations and preambles taken away.

    Code in fences and between backticks stays as written, but for characters that nobody sees.
    """
    if FENCE.match(unit):
        return _UNSEEN.sub("", unit)
    parts = CODE.split(_UNSEEN.sub("", unit))
    parts[::2] = [_without_markup(part) for part in parts[::2]]
    text = _LEFT_OVER.sub("", _without_preamble(plain("".join(parts)).strip()))
    parts = CODE.split(text)
    # What took several pieces of markup away may have put others together.
    parts[::2] = [_HALF_TAG.sub("", _HALF_LINK.sub("", part)) for part in parts[::2]]
    return _tidy("".join(parts))


def _without_markup(text: str) -> str:
    text = _DEFINITION.sub("", _COMMENT.sub("", _DEBRIS.sub("", text)))
    while (less := _TAG.sub("", _IMAGE_OR_LINK.sub(r"\1", _ADDRESS.sub(r"\1", text)))) != text:
        text = less
    return text


def _without_preamble(text: str) -> str:
    while (less := _PREAMBLE.sub("", _LABEL.sub("", text))) != text:
        text = less[:1].upper() + less[1:]
    return "" if text.endswith(":") and _ANNOUNCEMENT.match(text) else text


def _tidy(text: str) -> str:
    """A sentence without the gaps that its citations left."""
    return _TWO_STOPS.sub(".", " ".join(_GAP.sub("", text).split()))

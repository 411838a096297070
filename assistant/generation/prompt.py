"""Prompts: a question, what was said before it and the best passages, as messages for a model.

The words are those of `prompt.md`. Passages are data: they stand between fences that do not occur in them,
and what in them would read as a mark of the prompt or of a model's chat template is broken by an
invisible character, which `restored` takes out of what the model copies.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path

from assistant.extract import PER_DOCUMENT
from assistant.gateway.schema import Message, Role
from assistant.schema import Turn
from index.embedder import llm_tokens
from index.retriever import Candidate
from index.schema import Passage, content_hash

TEMPLATE_FILE = Path(__file__).with_name("prompt.md")

SILENT = "The passages do not say."
"""What the model is told to write where the passages don't answer; no claim to check."""

PASSAGES = 8
PASSAGES_ALONE = 4
"""Passages of one document where it is the only one; of several, each may have `PER_DOCUMENT`."""

CONVERSATION_SHARE = 0.25
"""Part of the room that earlier turns may take."""

MESSAGE_TOKENS = 4
"""What a chat format adds to a message: OpenAI's adds three and three more in all."""

UNKNOWN = "(no answer kept)"
"""What stands for an earlier answer that is not there: many chat templates want each turn answered."""

BREAK = "\N{WORD JOINER}"

_MARKS = re.compile(
    r"""
      [<\uFF1C] (?= [|\uFF5C]                        # <|im_start|>, <|eot_id|> and their kin
        | /? (?: start_of_turn | end_of_turn | bos | eos | pad | unk | mask | s | think | thinking
               | tool_call | tool_response | start_of_image | end_of_image | unused\d+ ) >
        | </?SYS>> )
    | \[ (?= /? (?: INST | SYSTEM_PROMPT | TOOL_CALLS | TOOL_RESULTS | AVAILABLE_TOOLS | IMG ) \] )
    | ^[ \t]* \[ (?= \d+\] )                        # the number that begins a passage
    | ^[ \t]* -- (?= -[ ]\d{9} )                     # a fence
    | ^[ \t]* (?: \#{1,6}[ ]* )? (?: Human | Assistant | System | User | Model | Question | Answer
        | Instruction | Response ) (?= : )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)

_CITED = re.compile(r"(?<![ \t])[ \t]*\[\d+\]")
"""Begins nowhere inside a row of spaces: trying each of 80,000, which a turn may hold, takes 9 s."""
_PLACE = re.compile(r"\{(fence|passages|question)\}")


@dataclass(frozen=True)
class Packed:
    """Messages, the tokens they take (tiktoken, as `Call.tokens`), and the passages they hold, whose
    numbers in the prompt are their places here, from 1. `version` and `sha256` are the template's.
    """

    messages: tuple[Message, ...]
    tokens: int
    passages: tuple[Passage, ...]
    version: str
    sha256: str


@dataclass(frozen=True)
class Template:
    """The messages of `prompt.md`; the last has places for the fence, the passages and the question."""

    messages: tuple[Message, ...]
    version: str
    sha256: str

    def filled(self, passages: Sequence[Passage], question: str) -> Message:
        """The last message with everything in its place."""
        shown = [_shown(number, each) for number, each in enumerate(passages, 1)]
        asked = neutral(question.strip())
        parts = {
            "fence": _fence([*shown, asked]),
            "passages": "\n\n".join(shown),
            "question": asked,
        }
        last = self.messages[-1]
        return Message(last.role, _PLACE.sub(lambda place: parts[place[1]], last.text))


def pack(
    question: str, turns: Sequence[Turn], candidates: Sequence[Candidate], room: int
) -> Packed:
    """The prompt for a question in at most `room` tokens; `candidates` are best first, `turns` oldest first.

    A passage that does not fit is left out and the next one tried. Where the question itself does not fit
    the result holds no passages, and its `tokens` exceed the room.
    """
    template = load_template()
    fixed = tokens_of((*template.messages[:-1], template.filled((), question)))
    said = _conversation(turns, min(CONVERSATION_SHARE * room, room - fixed))
    passages = _chosen(candidates, room - fixed - tokens_of(said))
    messages = (*template.messages[:-1], *said, template.filled(passages, question))
    return Packed(messages, tokens_of(messages), passages, template.version, template.sha256)


def tokens_of(messages: Sequence[Message]) -> int:
    """Tokens of messages, as tiktoken counts them and a chat format frames them."""
    return sum(llm_tokens()(each.text) + MESSAGE_TOKENS for each in messages)


def neutral(text: str) -> str:
    """A text in which nothing reads as a mark of the prompt or of a chat template."""
    return _MARKS.sub(lambda found: found[0] + BREAK, text.replace(BREAK, ""))


def restored(text: str) -> str:
    """A model's text without what `neutral` put in; may be applied to each piece of a stream."""
    return text.replace(BREAK, "")


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template as the file states it."""
    stored = TEMPLATE_FILE.read_bytes()
    text = stored.decode()
    head, *sections = re.split(r"^## (system|user|assistant)\n", text, flags=re.MULTILINE)
    # The pattern lets nothing but roles through.
    roles: Sequence[Role] = sections[::2]  # type: ignore[assignment]
    messages = tuple(
        Message(role, body.strip()) for role, body in zip(roles, sections[1::2], strict=True)
    )
    version = head.partition("\n")[0].removeprefix("version:").strip()
    return Template(messages, version, hashlib.sha256(stored).hexdigest())


def _chosen(candidates: Sequence[Candidate], room: int) -> tuple[Passage, ...]:
    """The best passages that fit together."""
    chosen: list[Passage] = []
    of_document: Counter[str] = Counter()
    documents = {candidate.passage.document.id for candidate in candidates}
    most = PER_DOCUMENT if len(documents) > 1 else PASSAGES_ALONE
    for candidate in candidates:
        passage = candidate.passage
        # Two line ends join a passage to the one before it.
        tokens = llm_tokens()(_shown(PASSAGES, passage) + "\n\n")
        full = of_document[passage.document.id] == most
        if full or tokens > room or not passage.body.strip():
            continue
        room -= tokens
        of_document[passage.document.id] += 1
        chosen.append(passage)
        if len(chosen) == PASSAGES:
            break
    return tuple(chosen)


def _conversation(turns: Sequence[Turn], room: float) -> tuple[Message, ...]:
    """The newest turns that fit, in the order they were said in."""
    kept: list[tuple[Message, ...]] = []
    for turn in reversed(turns):
        said = _said(turn)
        room -= tokens_of(said)
        if room < 0:
            break
        kept.append(said)
    return tuple(message for said in reversed(kept) for message in said)


def _said(turn: Turn) -> tuple[Message, ...]:
    """A turn without the numbers it cited, which mean other passages now."""
    question, answer = neutral(turn.question.strip()), neutral(_CITED.sub("", turn.answer).strip())
    return (Message("user", question), Message("assistant", answer or UNKNOWN))


def _shown(number: int, passage: Passage) -> str:
    """A passage between its number and where it stands, and its number once more."""
    place = dict.fromkeys((*passage.document.place, *passage.chunk.heading_path))
    head = " > ".join(" ".join(part.split()) for part in place if part)
    return f"[{number}] {neutral(head)}\n{neutral(passage.body.strip())} [{number}]"


def _fence(texts: Sequence[str]) -> str:
    """A word that occurs in none of the texts, the same for the same texts; nine digits, because
    tiktoken makes three tokens of any nine.
    """
    words = (f"{int(content_hash(*texts, str(salt)), 16) % 10**9:09}" for salt in count())
    return next(word for word in words if not any(word in text for text in texts))

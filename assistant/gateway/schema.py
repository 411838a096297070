"""What goes into the gateway and what comes out of it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from index.schema import Labels

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One message of a prompt."""

    role: Role
    text: str


@dataclass(frozen=True)
class Payer:
    """Whose budgets and limits a call counts against: a caller by name, and their team."""

    name: str
    team: str = ""


UNLABELLED = ""
"""Stands among the labels of a call where a document carries none: only administrators read it, and
every rule that speaks of labels applies to it."""


@dataclass(frozen=True)
class Call:
    """One thing asked of a language model.

    `tokens` are those of the messages, counted with tiktoken; `labels` all access labels of the
    documents whose text the messages hold; `audience` the labels that the caller holds and
    `index_state` the state they were answered from: answers are reused only where all of it is equal.
    """

    messages: tuple[Message, ...]
    tokens: int
    max_output_tokens: int
    payer: Payer
    labels: Labels
    audience: Labels
    index_state: str


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as its provider counted them; `cached` are among `input`."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True)
class Delta:
    """The next piece of text."""

    text: str


@dataclass(frozen=True)
class Completed:
    """The end of a call that came to its end. `model` is the name in the settings; `cost` in US dollars, None where
    no price is known; `estimated`: the provider gave no usage, so it was counted with tiktoken.
    `truncated`: the model stopped at the limit of tokens, not by itself.
    """

    model: str
    usage: Usage
    cost: Decimal | None
    attempts: int
    from_cache: bool = False
    estimated: bool = False
    truncated: bool = False


Event = Delta | Completed

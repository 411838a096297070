"""Budgets: which limits a caller stands under, and what is said when one is used up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from assistant.gateway.schema import Payer
from assistant.gateway.settings import Budget

Per = Literal["key", "team", "all"]
Measure = Literal["requests", "tokens", "dollars"]
MEASURES: tuple[Measure, ...] = ("requests", "tokens", "dollars")


class Scope(NamedTuple):
    """Whose use is added up: a key's, a team's, or all; `name` is empty for all."""

    per: Per
    name: str


@dataclass(frozen=True)
class Amounts:
    """What was used, is reserved or is asked for."""

    requests: int = 0
    tokens: int = 0
    dollars: Decimal = Decimal(0)

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.dollars + other.dollars,
        )

    def of(self, measure: Measure) -> Decimal:
        """The amount of one measure."""
        return Decimal(getattr(self, measure))


@dataclass(frozen=True)
class Limit:
    """What a scope may use in a day; None is without limit."""

    requests: int | None = None
    tokens: int | None = None
    dollars: Decimal | None = None

    def of(self, measure: Measure) -> Decimal | None:
        """The limit of one measure."""
        limit = getattr(self, measure)
        return None if limit is None else Decimal(limit)

    def __bool__(self) -> bool:
        return any(self.of(measure) is not None for measure in MEASURES)


def scopes_of(payer: Payer) -> tuple[Scope, ...]:
    """The scopes that a payer's calls count in; who has no team is in no team's."""
    scopes = (Scope("key", payer.name), Scope("team", payer.team), Scope("all", ""))
    return tuple(scope for scope in scopes if scope.per != "team" or scope.name)


def limit_of(scope: Scope, budgets: Sequence[Budget]) -> Limit:
    """The limit a scope stands under.

    A budget that names a key or team stands in place of the one for each key or team, measure by measure:
    so one key can be given more than the others, and keeps the limits that its own budget does
    not set. Of two budgets for the same, the smaller counts.
    """
    named = [b for b in budgets if b.per == scope.per and b.name == scope.name]
    general = [b for b in budgets if b.per == scope.per and (b.name is None or b.per == "all")]

    def smallest(measure: Measure) -> Decimal | None:
        for group in (named, general):
            stated = [getattr(b, measure) for b in group if getattr(b, measure) is not None]
            if stated:
                return Decimal(min(stated))
        return None

    requests, tokens = smallest("requests"), smallest("tokens")
    return Limit(
        None if requests is None else int(requests),
        None if tokens is None else int(tokens),
        smallest("dollars"),
    )


def exceeded(limit: Limit, used: Amounts, asked: Amounts) -> Measure | None:
    """The first measure that `used` and `asked` together go beyond, if any."""
    for measure in MEASURES:
        most = limit.of(measure)
        if most is not None and used.of(measure) + asked.of(measure) > most:
            return measure
    return None


def notice(scope: Scope, measure: Measure, limit: Limit, used: Amounts, day: date) -> str:
    """What whoever asked is told: which budget it is and when it renews, and no figures of others."""
    whose = {"key": repr(scope.name), "team": f"team {scope.name!r}", "all": "the service"}
    spent = used.of(measure) >= (limit.of(measure) or 0)
    state = "is used up" if spent else "has too little left for this question"
    return (
        f"Today's budget of {measure} for {whose[scope.per]} {state}; it renews at "
        f"{day + timedelta(days=1)} 00:00 UTC."
    )

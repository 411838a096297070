"""The gateway's part of the settings: `[gateway]` in casebook.toml."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Amount = Annotated[Decimal, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Entry):
    """US dollars for a million tokens."""

    input: Amount
    output: Amount
    cached: Amount | None = Field(default=None, description="of input found in a cache [as input]")


class ModelEntry(_Entry):
    """A model under a name of one's own."""

    name: Name
    provider: Literal["openai", "anthropic"] = Field(
        "openai", description="the API it speaks; openai is spoken by most servers"
    )
    model: str = Field(description="what its provider calls it")
    address: AnyHttpUrl | None = Field(default=None, description="base URL [the provider's own]")
    key_env: str | None = Field(default=None, description="environment variable that holds the key")
    key_file: Path | None = Field(
        default=None, description="file that holds the key, read when it changes"
    )
    context: int = Field(default=8192, gt=0, description="tokens of prompt and answer together")
    max_output: int = Field(default=512, gt=0, description="tokens of an answer at most")
    stream: bool = Field(default=True, description="whether it can send its answer piece by piece")
    price: Price | None = Field(default=None, description="[what is publicly known of the model]")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_env and self.key_file:
            raise ValueError(f"model {self.name!r} has key_env and key_file: keep one")
        if self.max_output >= self.context:
            raise ValueError(f"model {self.name!r} has max_output of its context or more: lower it")
        return self


class Rule(_Entry):
    """Which models a call may go to, in order, where all that is given applies to it.

    Several rules may apply: then only models that all of them allow are asked, in the order of the first.
    """

    models: list[Name]
    labels: list[str] | None = Field(
        None, description="applies where a passage of the prompt carries one of these labels"
    )
    min_tokens: int | None = Field(default=None, description="applies to prompts so long or longer")
    max_tokens: int | None = Field(
        default=None, description="applies to prompts so long or shorter"
    )


class Budget(_Entry):
    """What may be used in a day (UTC): by each key, each team, or all together."""

    per: Literal["key", "team", "all"]
    name: str | None = Field(default=None, description="only this key or team [each one]")
    requests: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    dollars: Amount | None = None


class Limits(_Entry):
    """What one caller may ask at a time."""

    requests_per_minute: int = Field(default=60, gt=0)
    concurrent: int = Field(default=8, gt=0)


class Timeouts(_Entry):
    """Seconds that a model is waited for."""

    connect: float = Field(default=2.0, gt=0)
    first_token: float = Field(default=10.0, gt=0)
    between_tokens: float = Field(default=15.0, gt=0)
    total: float = Field(default=60.0, gt=0, description="for a question, all attempts together")


class Alerts(_Entry):
    """A webhook that is told when a budget is used up to a threshold."""

    url_env: str | None = Field(None, description="environment variable that holds the address")
    url_file: Path | None = Field(None, description="file that holds the address to POST to")
    at: list[Annotated[float, Field(gt=0, le=1)]] = [0.8, 1.0]

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if bool(self.url_env) == bool(self.url_file):
            raise ValueError("alerts need the address of a webhook: give url_env or url_file")
        return self


class GatewaySettings(_Entry):
    """Language models and what may be asked of them. Without models answers are extractive."""

    models: list[ModelEntry] = []
    rules: list[Rule] = []
    budgets: list[Budget] = []
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    alerts: Alerts | None = None
    ledger: Path = Field(default=Path(".casebook/usage.sqlite"), description="the log of calls")
    cache: int = Field(
        default=1000, ge=0, description="answers kept for questions asked again, 0 for none"
    )
    log_texts: bool = Field(default=False, description="whether prompts and answers go to the log")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [model.name for model in self.models]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two models are called {', '.join(sorted(twice))}: rename one")
        for rule in self.rules:
            if unknown := sorted(set(rule.models) - set(names)):
                raise ValueError(f"a rule names {', '.join(unknown)}, which is no model's name")
        return self

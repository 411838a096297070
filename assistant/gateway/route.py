"""Which models a call may go to, in which order."""

from collections.abc import Iterator, Sequence

from assistant.gateway.errors import NoRoute
from assistant.gateway.schema import UNLABELLED, Call
from assistant.gateway.settings import GatewaySettings, ModelEntry, Rule
from index.schema import Labels


class Router:
    """The rules of the settings, applied. Without a rule that applies, models are asked in their order."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._models = {model.name: model for model in settings.models}
        self._rules = tuple(settings.rules)

    def route(self, call: Call) -> tuple[ModelEntry, ...]:
        """The models for this call, best first, at least one; raises `NoRoute`."""
        allowed = self._allowed(call.labels, call.tokens)
        if not allowed:
            raise NoRoute("No language model may see the passages that this answer needs.")
        fitting = tuple(
            model for model in allowed if call.tokens + output_of(model, call) <= model.context
        )
        if not fitting:
            raise NoRoute("No language model that may see these passages takes so long a prompt.")
        return fitting

    def room(self, labels: Labels) -> int:
        """Tokens of prompt that fit the first model these labels may go to, 0 if there is none.

        A prompt of as many tokens has a route; a shorter one may have another.
        """
        always = [rule for rule in self._for_labels(labels) if not _by_length(rule)]
        for first in self._models_of(always):
            most = first.context - first.max_output
            for tokens in self._lengths(most):
                if self._fits(labels, tokens):
                    return tokens
        return 0

    def _allowed(self, labels: Labels, tokens: int) -> tuple[ModelEntry, ...]:
        rules = [rule for rule in self._for_labels(labels) if _applies_to_length(rule, tokens)]
        return self._models_of(rules)

    def _for_labels(self, labels: Labels) -> Iterator[Rule]:
        return (
            rule
            for rule in self._rules
            if rule.labels is None or UNLABELLED in labels or not labels.isdisjoint(rule.labels)
        )

    def _models_of(self, rules: Sequence[Rule]) -> tuple[ModelEntry, ...]:
        names = list(dict.fromkeys(rules[0].models)) if rules else list(self._models)
        return tuple(
            self._models[name] for name in names if all(name in rule.models for rule in rules)
        )

    def _lengths(self, most: int) -> list[int]:
        """`most`, and shorter lengths where rules change, longest first."""
        ends = [rule.max_tokens for rule in self._rules]
        ends += [rule.min_tokens - 1 for rule in self._rules if rule.min_tokens is not None]
        return sorted(
            {most, *(end for end in ends if end is not None and 0 < end < most)}, reverse=True
        )

    def _fits(self, labels: Labels, tokens: int) -> bool:
        allowed = self._allowed(labels, tokens)
        return any(tokens + model.max_output <= model.context for model in allowed)


def output_of(model: ModelEntry, call: Call) -> int:
    """Tokens of answer that this model is asked for at most."""
    return min(call.max_output_tokens, model.max_output)


def _by_length(rule: Rule) -> bool:
    return rule.min_tokens is not None or rule.max_tokens is not None


def _applies_to_length(rule: Rule, tokens: int) -> bool:
    return (rule.min_tokens is None or tokens >= rule.min_tokens) and (
        rule.max_tokens is None or tokens <= rule.max_tokens
    )

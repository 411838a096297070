"""What a call costs: by the settings' price, else by what is publicly known of the model."""

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from assistant.gateway.schema import Usage
from assistant.gateway.settings import ModelEntry, Price

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

MILLION = Decimal(10**6)
NANO = Decimal("1e-9")


def price_of(entry: ModelEntry) -> Price | None:
    """The price of a model, None where it is not known: then its calls count nothing in dollars.

    The list comes with the library `genai-prices` and nothing is fetched. A model is looked up among
    those of the provider that its address belongs to: the same name on a machine of one's own has
    no price. The first look-up takes a second to load the list, later ones 0.1 ms.
    """
    return entry.price or _listed(entry)


def cost(price: Price, usage: Usage) -> Decimal:
    """US dollars for this usage, rounded up to a whole nano-dollar, which is what the ledger keeps."""
    cached = min(usage.cached, usage.input)
    cached_price = price.input if price.cached is None else price.cached
    total = (
        (usage.input - cached) * price.input + cached * cached_price + usage.output * price.output
    )
    return (total / MILLION).quantize(NANO, ROUND_UP)


def _listed(entry: ModelEntry) -> Price | None:
    from genai_prices import Usage as NoUsage
    from genai_prices import calc_price

    try:
        if entry.address is None:
            found = calc_price(NoUsage(), entry.model, provider_id=entry.provider)
        else:
            found = calc_price(NoUsage(), entry.model, provider_api_url=str(entry.address))
    except LookupError:
        return None
    return _by_tokens(found.model_price, entry.context)


def _by_tokens(listed: "ModelPrice", context: int) -> Price | None:
    """The listed price, if it is one by tokens alone: per request or without a part it is no known price."""
    if listed.requests_kcount is not None or not (listed.input_mtok and listed.output_mtok):
        return None
    cached = listed.cache_read_mtok
    return Price(
        input=_flat(listed.input_mtok, context),
        output=_flat(listed.output_mtok, context),
        cached=None if cached is None else _flat(cached, context),
    )


def _flat(listed: "Decimal | TieredPrices", context: int) -> Decimal:
    """One price for all prompts: where long ones cost more, that of the longest the settings allow."""
    if isinstance(listed, Decimal):
        return listed
    return next(
        (tier.price for tier in reversed(listed.tiers) if context > tier.start), listed.base
    )

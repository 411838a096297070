"""How full budgets are, for whoever watches the service: no key and no team is named."""

from datetime import UTC

from assistant.gateway.budgets import MEASURES, Measure, Per, Scope, limit_of
from assistant.gateway.counters import used_by
from assistant.gateway.ledger import Ledger


def fullest(ledger: Ledger) -> dict[tuple[Per, Measure], float]:
    """The share used of today's fullest budget, of each kind there is; raises `LedgerUnavailable`."""
    shares: dict[tuple[Per, Measure], float] = {}
    day = ledger.now().astimezone(UTC).date()
    with ledger.file.read() as db:
        for per in {budget.per for budget in ledger.budgets}:
            of_today = "SELECT name FROM counters WHERE day = ? AND per = ?"
            names = [row[0] for row in db.execute(of_today, (str(day), per))]
            named = [each.name for each in ledger.budgets if each.per == per and each.name]
            for name in {*names, *named, ""}:
                scope = Scope(per, name)
                limit, used = limit_of(scope, ledger.budgets), used_by(db, day, scope)
                for measure in MEASURES:
                    if (most := limit.of(measure)) is not None:
                        share = float(used.of(measure) / most) if most else 1.0
                        shares[per, measure] = max(share, shares.get((per, measure), 0.0))
    return shares

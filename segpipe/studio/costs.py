"""What was paid: in all, by day, by deal and by run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segpipe.segmenters.sam3.segmind.ledger_costs import CostSum, DealCost, sum_costs

_DAY_ENDS = len("2026-01-01")
_MAX_DEALS = 100


@dataclass(frozen=True, slots=True)
class Costs:
    """What was paid.

    Attributes:
        total: In all.
        days: By day in UTC, the last first.
        deals: By deal, the dearest first; no more than a hundred.
        spent: Run by run and deal by deal, the last first.
        credits_left: What the service last said was left; None when it did not.
    """

    total: CostSum
    days: Sequence[CostSum]
    deals: Sequence[CostSum]
    spent: Sequence[DealCost]
    credits_left: float | None


def costs_of(spent: Iterable[DealCost]) -> Costs:
    """What was paid, of what the account says of runs and deals, the earliest first."""
    spent = list(spent)
    told = [cost.remaining_credits for cost in spent if cost.remaining_credits is not None]
    deals = sum_costs(spent, of=lambda cost: cost.deal)
    return Costs(
        total=next(iter(sum_costs(spent, of=lambda _: "all")), CostSum("all", 0, 0.0, 0)),
        days=sum_costs(spent, of=lambda cost: cost.started[:_DAY_ENDS])[::-1],
        deals=sorted(deals, key=lambda each: -each.cost)[:_MAX_DEALS],
        spent=spent[::-1],
        credits_left=told[-1] if told else None,
    )

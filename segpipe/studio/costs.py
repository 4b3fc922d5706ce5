"""What was paid: in all, by day, by deal and by run."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segpipe.errors import SegpipeError
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.sam3.segmind.ledger_costs import CostSum, DealCost, read_costs, sum_costs
from segpipe.segmenters.sam3.segmind.segmind_settings import LEDGER_FOLDER

_DAY_ENDS = len("2026-01-01")
_MAX_DEALS = 100
_KEPT_S = 10.0


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


class CostsOfDeals:
    """What each deal has cost, for lists: read anew every few seconds at most.

    Args:
        data: Where the accounts of paid calls are.
    """

    def __init__(self, data: KeptData) -> None:
        self._data = data
        self._reading = threading.Lock()
        self._known: Mapping[str, CostSum] = {}
        self._read_at = float("-inf")

    def known(self) -> Mapping[str, CostSum]:
        """By deal, those for which calls were paid; none where the account cannot be read."""
        with self._reading:
            if time.monotonic() - self._read_at > _KEPT_S:
                self._known = self._read()
                self._read_at = time.monotonic()
            return self._known

    def _read(self) -> Mapping[str, CostSum]:
        try:
            spent = read_costs(self._data.ledgers(LEDGER_FOLDER))
        except SegpipeError:
            return {}  # the page of costs says what is wrong
        return {each.of: each for each in sum_costs(spent, of=lambda cost: cost.deal)}

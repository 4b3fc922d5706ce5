"""What the ledgers say that runs and deals have cost."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from pydantic import BaseModel, ConfigDict, ValidationError

from segpipe.segmenters.kept_data import Ledgers


class _Line(BaseModel):
    """A line of a ledger; the last one of a call is what is known of it."""

    model_config = ConfigDict(extra="ignore")

    time: str
    run: str
    deal: str
    call: str
    cost: float | None
    remaining_credits: float | None


@dataclass(frozen=True, slots=True)
class DealCost:
    """What one run spent on one deal.

    Attributes:
        run_id: The run.
        deal: The deal; "" for lines that a full disk cut off.
        started: When the first call was sent, ISO 8601 in UTC.
        calls: Calls that were sent.
        cost: What they are known to have cost, in credits.
        unknown: Calls whose cost is not known: still under way, or without an answer.
        remaining_credits: What the service last said was left; None when it did not.
    """

    run_id: str
    deal: str
    started: str
    calls: int
    cost: float
    unknown: int
    remaining_credits: float | None


@dataclass(frozen=True, slots=True)
class CostSum:
    """What was spent on one thing: a day, a deal, a run.

    Attributes:
        of: The thing.
        calls: Calls that were sent.
        cost: What they are known to have cost, in credits.
        unknown: Calls whose cost is not known.
    """

    of: str
    calls: int
    cost: float
    unknown: int


def sum_costs(costs: Iterable[DealCost], of: Callable[[DealCost], str]) -> list[CostSum]:
    """What was spent on each thing that costs have in common, in the order of their first calls.

    >>> spent = [DealCost("run-1", deal, "2026-01-01T09:00:00", 2, 0.01, 0, None)
    ...          for deal in ("a", "b")]
    >>> sum_costs(spent, of=lambda cost: cost.started[:10])
    [CostSum(of='2026-01-01', calls=4, cost=0.02, unknown=0)]
    """
    groups: dict[str, list[DealCost]] = {}
    for cost in costs:
        groups.setdefault(of(cost), []).append(cost)
    return [
        CostSum(
            name,
            calls=sum(each.calls for each in group),
            cost=sum(each.cost for each in group),
            unknown=sum(each.unknown for each in group),
        )
        for name, group in groups.items()
    ]


def read_costs(ledgers: Ledgers) -> list[DealCost]:
    """The costs of every run and deal, the earliest first.

    Raises:
        StoreError: A ledger cannot be read.
    """
    lines: dict[tuple[str, str], list[_Line]] = {}
    for line in _lines(ledgers):
        lines.setdefault((line.run, line.deal), []).append(line)
    costs = [_sum(run_id, deal, found) for (run_id, deal), found in lines.items()]
    return sorted(costs, key=lambda cost: (cost.started, cost.deal))


def cost_of_day(ledgers: Ledgers, day: date, *, unknown: float) -> float:
    """What the calls of all runs have cost that were sent on a day of UTC, in credits.

    Args:
        ledgers: The accounts.
        day: The day.
        unknown: What a call counts of which no cost is known.

    Raises:
        StoreError: A ledger cannot be read.
    """
    since = datetime.combine(day, time(), UTC).timestamp()
    costs: dict[str, float | None] = {}
    for line in _lines(ledgers, since):
        if line.time.startswith(day.isoformat()):
            costs[line.call] = line.cost
    return sum(unknown if cost is None else cost for cost in costs.values())


def _lines(ledgers: Ledgers, since: float = 0) -> Iterator[_Line]:
    """Every line of the accounts that were written to since a time, seconds since 1970."""
    for name, text in ledgers.accounts(since):
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                yield _Line.model_validate(json.loads(line))
            except (ValueError, ValidationError):
                # A full disk cut it off: a call, of whatever cost, as the ledger itself takes it.
                yield _Line(
                    time="",
                    run=name,
                    deal="",
                    call=f"unreadable-{number}",
                    cost=None,
                    remaining_credits=None,
                )


def _sum(run_id: str, deal: str, lines: Iterable[_Line]) -> DealCost:
    lines = sorted(lines, key=lambda line: line.time)
    last = {line.call: line for line in lines}
    told = [line.remaining_credits for line in lines if line.remaining_credits is not None]
    return DealCost(
        run_id=run_id,
        deal=deal,
        started=lines[0].time,
        calls=len(last),
        cost=sum(line.cost or 0.0 for line in last.values()),
        unknown=sum(line.cost is None for line in last.values()),
        remaining_credits=told[-1] if told else None,
    )

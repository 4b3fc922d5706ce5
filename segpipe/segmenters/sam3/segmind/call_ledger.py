"""What every call of a request cost, kept, and the limits that it may not pass.

A request has one account of JSON lines, also when it is cut into runs, which may go on at once; a
run that is for no such request is one by itself. A call has a line when it is sent and one when its
outcome is known, with the same ``call``: so what several processes or machines, or a retry after a
kill, have under way counts too.
"""

import asyncio
import hashlib
import json
import math
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from segpipe.detection import Usage
from segpipe.errors import BudgetExceededError, StoreError
from segpipe.segmenters.http import Attempt, Outcome
from segpipe.segmenters.kept_data import Ledgers, Line
from segpipe.segmenters.sam3.segmind.ledger_costs import cost_of_day
from segpipe.segmenters.segmenter import CallContext

_NO_RUN = "no-run"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS = 60
_DIGEST_CHARS = 12
_FREE = frozenset({Outcome.UNAVAILABLE, Outcome.REFUSED})
_ROUNDING = 1e-9  # sums of decimal costs
_MAX_TRIES = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """What a request may spend; 0 is no limit.

    Attributes:
        max_paid_calls: Calls that were billed or may have been.
        max_cost: Credits.
        max_cost_per_day: Credits of all runs of a day of UTC together.
        cost_per_call: What a call is thought to cost before any cost is known, in credits.
    """

    max_paid_calls: int = 0
    max_cost: float = 0.0
    cost_per_call: float = 0.0
    max_cost_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the ledger says last of a call; a cost of None is not known."""

    is_paid: bool
    cost: float | None


class Ledger:
    """The calls of one request.

    Args:
        ledgers: Where the accounts of all requests are.
        request: Names the account: the request, or the run that is one; "" is "no-run".
    """

    def __init__(self, ledgers: Ledgers, request: str) -> None:
        self._ledgers = ledgers
        self._lines = ledgers.lines(_file_stem(request))
        self._entries: dict[str, _Entry] = {}
        self._paid_calls = 0
        self._known_cost = 0.0
        self._unknown_costs = 0
        self._highest_cost: float | None = None
        self.first_calls = asyncio.Lock()
        """Held, in this process, by the one call under way while no cost is known."""

    @property
    def place(self) -> str:
        """Where the account is, for people."""
        return self._lines.place

    def knows_a_cost(self) -> bool:
        """Whether any call has told what it cost; raises StoreError when that cannot be read."""
        with self._turn():
            return self._highest_cost is not None

    def require_budget(self, calls: int, budget: Budget) -> None:
        """Raise BudgetExceededError when so many more calls would pass a limit.

        Raises:
            StoreError: The ledger cannot be read.
        """
        with self._turn():
            self._check(budget, calls)

    def open_call(self, line: dict[str, object], budget: Budget) -> None:
        """Write that a call is about to be sent.

        Raises:
            BudgetExceededError: It would pass a limit; nothing is written, or that it is not made.
            StoreError: The ledger cannot be written.
        """
        self._add(line, lambda: self._check(budget))
        if budget.max_cost_per_day and not self._ledgers.one_at_a_time:
            # Other runs may have written at the same moment: each sees both now.
            try:
                self._check_day(budget, 0)
            except BudgetExceededError:
                self.append({**line, "outcome": Outcome.REFUSED.value, "cost": 0.0})
                raise

    def append(self, line: dict[str, object]) -> None:
        """Write what has become known of a call; raises StoreError when that fails."""
        self._add(line, lambda: None)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """All lines are counted, and as far as it can be nobody else writes."""
        try:
            with self._lines.turn() as new:
                for line in new:
                    self._note(line)
                yield
        except OSError as error:
            raise StoreError(
                f"the ledger {self.place} cannot be written, and without it no call is made: "
                f"{error}"
            ) from error

    def _add(self, fields: dict[str, object], check: Callable[[], None]) -> None:
        text = json.dumps(fields).encode()
        for _ in range(_MAX_TRIES):
            with self._turn():
                check()
                if self._lines.append(text):
                    self._note(Line("", text))
                    return
        raise StoreError(f"{_MAX_TRIES} others wrote into the ledger {self.place} first; try again")

    def _note(self, line: Line) -> None:
        try:
            fields = json.loads(line.text)
            call, cost = str(fields["call"]), fields["cost"]
            is_paid = Outcome(fields["outcome"]) not in _FREE or bool(cost)
            entry = _Entry(is_paid, None if cost is None else float(cost))
        except (ValueError, KeyError, TypeError):
            # A call, of whatever cost.
            call, entry = f"unreadable-{line.place}", _Entry(is_paid=True, cost=None)
        self._count(self._entries.get(call), -1)
        self._count(entry, 1)
        self._entries[call] = entry

    def _count(self, entry: _Entry | None, times: int) -> None:
        if entry is None:
            return
        self._paid_calls += times * entry.is_paid
        self._unknown_costs += times * (entry.cost is None)
        self._known_cost += times * (entry.cost or 0.0)
        if entry.cost:
            self._highest_cost = max(self._highest_cost or 0.0, entry.cost)

    def _check(self, budget: Budget, more: int = 1) -> None:
        calls = self._paid_calls + more
        of_which = "" if more == 1 else f" {more}"
        none_made = "it was not made" if more == 1 else "none of them was made"
        spent = f"What has been spent is in {self.place.rpartition('/')[2]}"
        if budget.max_paid_calls and calls > budget.max_paid_calls:
            last = "would be" if more == 1 else "would end with"
            raise BudgetExceededError(
                f"the next{of_which} call{'s' * (more > 1)} {last} paid call {calls} of the "
                f"request, more than the {budget.max_paid_calls} allowed; {none_made}. {spent}",
                field="max_paid_calls",
            )
        assumed = budget.cost_per_call if self._highest_cost is None else self._highest_cost
        cost = self._known_cost + assumed * (self._unknown_costs + more)
        if budget.max_cost and cost > budget.max_cost + _ROUNDING:
            raise BudgetExceededError(
                f"with the next{of_which} call{'s' * (more > 1)} the request may cost {cost:.6g} "
                f"credits, more than the {budget.max_cost:g} allowed; {none_made}. {spent}",
                field="max_cost",
            )
        self._check_day(budget, more)

    def _check_day(self, budget: Budget, more: int) -> None:
        if not budget.max_cost_per_day:
            return
        assumed = budget.cost_per_call if self._highest_cost is None else self._highest_cost
        spent = cost_of_day(self._ledgers, datetime.now(UTC).date(), unknown=assumed)
        if spent + assumed * more > budget.max_cost_per_day + _ROUNDING:
            of_which = f"{more} calls" if more > 1 else "call"
            none_made = "none of them was made" if more > 1 else "it was not made"
            raise BudgetExceededError(
                f"with the next {of_which} all runs of today may cost "
                f"{spent + assumed * more:.6g} credits, more than the "
                f"{budget.max_cost_per_day:g} allowed a day; {none_made}. 'segpipe costs' "
                "shows what has been spent; days are those of UTC",
                field="max_cost_per_day",
            )


class Bill:
    """The calls that one answer takes: an observer of attempts that keeps the ledger.

    Args:
        ledger: The request's.
        budget: Its limits.
        context: For which run, deal and image the calls are.
    """

    def __init__(self, ledger: Ledger, budget: Budget, context: CallContext) -> None:
        self._ledger, self._budget, self._context = ledger, budget, context
        self._call = ""
        self._last = Attempt(0)
        self._is_settled = False
        self.usage = Usage()
        """What has been spent so far on this answer."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a call may be under way.

        With a limit of cost, and until a call has told what one costs, calls of this process are
        made one after the other: many at once, each thought to be cheap, could pass the limit
        together. From then on all may go: those under way count at the highest cost seen.

        Raises:
            StoreError: The ledger cannot be read.
        """
        async with AsyncExitStack() as held:
            if self._must_take_turns():
                await held.enter_async_context(self._ledger.first_calls)
                if not self._must_take_turns():
                    await held.aclose()
            yield

    def require_budget(self, calls: int) -> None:
        """Raise BudgetExceededError when so many more calls would pass a limit of the request."""
        self._ledger.require_budget(calls, self._budget)

    def _must_take_turns(self) -> bool:
        has_limit = self._budget.max_cost > 0 or self._budget.max_cost_per_day > 0
        return has_limit and not self._ledger.knows_a_cost()

    def observe(self, attempt: Attempt) -> None:
        """Write an attempt into the ledger, before it is sent and afterwards.

        Raises:
            BudgetExceededError: It would pass a limit of the request.
            StoreError: The ledger cannot be written.
        """
        if attempt.outcome is Outcome.UNDER_WAY:
            self._call = uuid.uuid4().hex
            self._ledger.open_call(self._line(attempt, cost=None, left=None), self._budget)
            self.usage += Usage(calls=1)
            return
        cost = amount(attempt.headers.get("x-cost"))
        if cost is None and attempt.outcome in _FREE:
            cost = 0.0
        self._last = attempt
        self._write(attempt, cost, amount(attempt.headers.get("x-remaining-credits")))

    def settle(self, cost: float | None, left: float | None, *, failed: bool = False) -> None:
        """Write what has become known of the last call after its answer, unless that told it.

        Args:
            cost: What was billed, in credits; None when it is not known.
            left: The credits that remain; None when it is not known.
            failed: Whether the service did not do the work after all, and so did not bill it.
        """
        if self._is_settled:
            return
        outcome = Outcome.REFUSED if failed else self._last.outcome
        known = 0.0 if failed and cost is None else cost
        self._write(Attempt(self._last.number, outcome, self._last.status), known, left)

    def _write(self, attempt: Attempt, cost: float | None, left: float | None) -> None:
        self._ledger.append(self._line(attempt, cost=cost, left=left))
        self._is_settled = cost is not None
        self.usage += Usage(cost=cost or 0.0, remaining_credits=left)

    def _line(
        self, attempt: Attempt, *, cost: float | None, left: float | None
    ) -> dict[str, object]:
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self._context.run_id,
            "deal": self._context.deal,
            "image": self._context.image,
            "call": self._call,
            "attempt": attempt.number,
            "outcome": attempt.outcome.value,
            "status": attempt.status,
            "cost": cost,
            "remaining_credits": left,
        }


def amount(value: object) -> float | None:
    """A sum of credits, 0 or more; None when the value is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        sum_of_credits = float(value)
    except (ValueError, OverflowError):
        return None
    return sum_of_credits if math.isfinite(sum_of_credits) and sum_of_credits >= 0 else None


def _file_stem(request: str) -> str:
    """The id of a request, or a safe form that no other id has."""
    if not request:
        return _NO_RUN
    if _SAFE_NAME.fullmatch(request):
        return request
    digest = hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{_UNSAFE.sub('_', request)[:_NAME_CHARS].strip('_-')}.{digest}"

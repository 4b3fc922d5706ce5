"""Many in flight, results in order."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.flow.deal import map_in_order


class Work:
    """Finishes items in an order of its own."""

    def __init__(self, turns: list[int]) -> None:
        self.turns = turns
        self.running = 0
        self.most = 0
        self.cancelled = 0

    async def __call__(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(self.turns[item]):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return item


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 4))
def test_results_come_in_order_and_no_more_than_the_limit_run(turns: list[int], limit: int) -> None:
    work = Work(turns)

    async def collect() -> list[int]:
        return [result async for result in map_in_order(work, range(len(turns)), limit=limit)]

    assert asyncio.run(collect()) == list(range(len(turns)))
    assert work.most <= limit


def test_stopping_early_leaves_nothing_running() -> None:
    work = Work([0, 1000, 1000, 1000])

    async def first() -> int:
        async with aclosing(map_in_order(work, range(4), limit=3)) as results:
            async for result in results:
                return result
        return -1

    assert asyncio.run(first()) == 0
    assert work.running == 0
    assert work.cancelled > 0


def test_a_failure_reaches_the_caller_and_stops_the_rest() -> None:
    async def fail_at_one(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        await asyncio.sleep(0)
        return item

    async def collect() -> list[int]:
        return [result async for result in map_in_order(fail_at_one, range(9), limit=2)]

    with pytest.raises(ValueError, match="one"):
        asyncio.run(collect())

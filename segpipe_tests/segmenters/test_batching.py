"""Batches of calls from many tasks."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import chain

import pytest

from segpipe.errors import SegmenterError
from segpipe.segmenters.batching import MicroBatcher

PATIENT_S = 5.0
"""Longer than any test waits: a batch is closed by being full."""


class Doubler:
    """Doubles numbers, notes its batches, and waits at the gate before each."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.entered.set()
        assert self.gate.wait(timeout=20)
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        return [2 * item for item in items]


def batcher(
    compute: Callable[[Sequence[int]], Sequence[int | Exception]],
    *,
    max_items: int = 4,
    max_wait_s: float = 0.0,
) -> MicroBatcher[int, int]:
    return MicroBatcher(compute, max_items=max_items, max_wait_s=max_wait_s, name="doubler")


def test_calls_at_the_same_time_share_a_batch_and_each_gets_its_own_result() -> None:
    doubler = Doubler()

    async def run() -> list[int]:
        together = batcher(doubler, max_items=3, max_wait_s=PATIENT_S)
        results = await asyncio.gather(*(together.submit(item) for item in (1, 2, 3)))
        await together.aclose()
        return results

    assert asyncio.run(run()) == [2, 4, 6]
    assert doubler.batches == [[1, 2, 3]]


def test_no_batch_is_larger_than_allowed_and_all_are_computed_in_one_thread() -> None:
    doubler = Doubler()

    async def run() -> None:
        together = batcher(doubler, max_items=4)
        await asyncio.gather(*(together.submit(item) for item in range(21)))
        await together.aclose()

    asyncio.run(run())
    assert sorted(chain.from_iterable(doubler.batches)) == list(range(21))
    assert max(map(len, doubler.batches)) <= 4
    assert doubler.threads == {"doubler"}


def test_a_lone_call_does_not_wait_for_others_for_ever() -> None:
    async def run() -> int:
        together = batcher(Doubler(), max_items=100, max_wait_s=0.01)
        result = await together.submit(4)
        await together.aclose()
        return result

    assert asyncio.run(run()) == 8


def test_what_comes_while_a_batch_is_computed_goes_into_the_next() -> None:
    doubler = Doubler()
    doubler.gate.clear()

    async def run() -> None:
        together = batcher(doubler)
        first = asyncio.create_task(together.submit(0))
        await asyncio.to_thread(doubler.entered.wait, 20)
        rest = [asyncio.create_task(together.submit(item)) for item in (1, 2, 3)]
        await asyncio.sleep(0)
        doubler.gate.set()
        await asyncio.gather(first, *rest)
        await together.aclose()

    asyncio.run(run())
    assert doubler.batches == [[0], [1, 2, 3]]


def test_a_cancelled_call_is_not_computed() -> None:
    doubler = Doubler()
    doubler.gate.clear()

    async def run() -> int:
        together = batcher(doubler)
        first = asyncio.create_task(together.submit(0))
        await asyncio.to_thread(doubler.entered.wait, 20)
        leaver = asyncio.create_task(together.submit(1))
        stayer = asyncio.create_task(together.submit(2))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.sleep(0)
        doubler.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await first
        result = await stayer
        await together.aclose()
        return result

    assert asyncio.run(run()) == 4
    assert doubler.batches == [[0], [2]]


def test_a_call_that_is_cancelled_while_it_is_computed_harms_no_other() -> None:
    doubler = Doubler()
    doubler.gate.clear()

    async def run() -> list[int]:
        together = batcher(doubler, max_items=2, max_wait_s=PATIENT_S)
        leaver = asyncio.create_task(together.submit(1))
        stayer = asyncio.create_task(together.submit(2))
        await asyncio.to_thread(doubler.entered.wait, 20)
        leaver.cancel()
        doubler.gate.set()
        results = [await stayer, *await asyncio.gather(*(together.submit(n) for n in (3, 4)))]
        await together.aclose()
        return results

    assert asyncio.run(run()) == [4, 6, 8]


def test_a_failure_is_given_to_its_own_call_alone() -> None:
    def compute(items: Sequence[int]) -> list[int | Exception]:
        return [ValueError("odd") if item % 2 else item for item in items]

    async def run() -> list[int | BaseException]:
        together = batcher(compute, max_items=3, max_wait_s=PATIENT_S)
        calls = (together.submit(item) for item in (2, 3, 4))
        results = await asyncio.gather(*calls, return_exceptions=True)
        await together.aclose()
        return results

    first, failed, last = asyncio.run(run())
    assert (first, last) == (2, 4)
    assert isinstance(failed, ValueError)


def test_a_batch_that_fails_as_a_whole_is_tried_item_by_item() -> None:
    batches: list[list[int]] = []

    def compute(items: Sequence[int]) -> list[int | Exception]:
        batches.append(list(items))
        if 3 in items:
            raise MemoryError("three is too much")
        return list(items)

    async def run() -> list[int | BaseException]:
        together = batcher(compute, max_items=3, max_wait_s=PATIENT_S)
        calls = (together.submit(item) for item in (2, 3, 4))
        results = await asyncio.gather(*calls, return_exceptions=True)
        await together.aclose()
        return results

    first, failed, last = asyncio.run(run())
    assert (first, last) == (2, 4)
    assert isinstance(failed, MemoryError)
    assert batches == [[2, 3, 4], [2], [3], [4]]


def test_it_serves_one_event_loop_after_another() -> None:
    together = batcher(Doubler())
    assert asyncio.run(together.submit(1)) == 2
    assert asyncio.run(together.submit(2)) == 4
    asyncio.run(together.aclose())


def test_closing_computes_what_waits_and_ends_the_thread() -> None:
    doubler = Doubler()
    doubler.gate.clear()
    before = threading.active_count()

    async def run() -> list[int]:
        together = batcher(doubler)
        tasks = [asyncio.create_task(together.submit(item)) for item in (1, 2)]
        await asyncio.to_thread(doubler.entered.wait, 20)
        closing = asyncio.create_task(together.aclose())
        doubler.gate.set()
        await closing
        await together.aclose()
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [2, 4]
    assert threading.active_count() == before


def test_after_closing_a_call_is_refused() -> None:
    async def run() -> None:
        together = batcher(Doubler())
        await together.aclose()
        await together.submit(1)

    with pytest.raises(SegmenterError, match="closed"):
        asyncio.run(run())

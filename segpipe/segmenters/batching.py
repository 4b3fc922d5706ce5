"""Work that is cheaper together: calls from many tasks, computed in batches in one thread."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

from segpipe.errors import SegmenterError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T, R]):
    """An item, who waits for it, and since when (seconds of the monotonic clock)."""

    item: T
    future: Future[R]
    since: float


class MicroBatcher(Generic[T, R]):
    """Collects what comes in at about the same time, and computes it together.

    A batch starts when it is full, or when its first item has waited long enough; what comes in
    while a batch is computed waits for the next one. All batches are computed in one thread, one
    after another, so ``compute`` may keep things that must not be shared. Callers may come from
    several event loops.

    An item whose caller was cancelled before its batch started is not computed. When a batch
    fails as a whole, each item of it is tried alone, so that only those fail that have to.

    Args:
        compute: Takes the items of a batch and gives for each, in their order, its result or the
            exception that its caller is to get.
        max_items: Items of one batch at most.
        max_wait_s: How long the first item of a batch waits for others, in seconds.
        name: Of the thread.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_items: int,
        max_wait_s: float,
        name: str,
    ) -> None:
        self._compute = compute
        self._max_items = max_items
        self._max_wait_s = max_wait_s
        # A queue of threads, not of asyncio: a segmenter outlives the loop of one deal.
        self._queue: SimpleQueue[_Waiting[T, R] | None] = SimpleQueue()
        self._closing = Lock()
        self._is_closed = False
        # A daemon: who forgets to close it can still leave.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def submit(self, item: T) -> R:
        """The result of one item, computed with others.

        Raises:
            SegmenterError: The batcher is closed.
            Exception: What ``compute`` gave or raised for this item.
        """
        future: Future[R] = Future()
        with self._closing:
            if self._is_closed:
                raise SegmenterError("the model is closed; build the segmenter again")
            self._queue.put(_Waiting(item, future, time.monotonic()))
        return await asyncio.wrap_future(future)

    async def aclose(self) -> None:
        """Compute what is waiting, then end the thread."""
        with self._closing:
            if not self._is_closed:
                self._queue.put(None)
            self._is_closed = True
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Compute one batch; whether there may be another.

        A function of its own, so that the thread holds on to no item while it waits.
        """
        batch, goes_on = self._collect()
        started = [one for one in batch if one.future.set_running_or_notify_cancel()]
        if started:
            self._settle(started)
        return goes_on

    def _collect(self) -> tuple[list[_Waiting[T, R]], bool]:
        batch: list[_Waiting[T, R]] = []
        first = self._queue.get()
        if first is None:
            return batch, False
        batch.append(first)
        deadline = first.since + self._max_wait_s
        while len(batch) < self._max_items:
            try:
                following = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            if following is None:
                return batch, False
            batch.append(following)
        return batch, True

    def _settle(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            outcomes = self._compute([one.item for one in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            if len(batch) > 1:
                for one in batch:
                    self._settle([one])
            else:
                batch[0].future.set_exception(error)
            return
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                one.future.set_exception(outcome)
            else:
                one.future.set_result(outcome)

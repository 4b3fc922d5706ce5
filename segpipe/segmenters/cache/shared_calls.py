"""One call for all tasks that ask for the same thing at the same time."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from segpipe.errors import SegpipeError

T = TypeVar("T")


@dataclass(slots=True)
class _SharedCall(Generic[T]):
    task: asyncio.Task[T]
    joined: int = 0
    waiting: int = 0
    claimed: bool = False


class SharedCalls(Generic[T]):
    """Calls under way, by key; for the tasks of one event loop.

    A call runs in a task of its own: it goes on when the one who began it is cancelled, and is
    cancelled itself when nobody waits for it any more. What it returns or raises goes to all who
    wait, so that a service that fails is not asked again by each of them.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, _SharedCall[T]] = {}

    async def join(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """What the call under way for a key gives, or a new one when there is none.

        The call sees the context variables of the first who asked. Exactly one of those who get
        its outcome is told True: the one that the outcome is accounted to.
        """
        shared = self._under_way.get(key) or self._begin(key, call)
        shared.joined += 1
        shared.waiting += 1
        try:
            outcome = await asyncio.shield(shared.task)
        except SegpipeError as error:
            if shared.joined == 1:
                raise
            # Each fills in the deal and image that it was for: one error cannot name them all.
            raise copy.copy(error) from error
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                self._forget(key, shared)
                shared.task.cancel()
                await asyncio.wait([shared.task])
        return outcome, _claim(shared)

    def _begin(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> _SharedCall[T]:
        shared = self._under_way[key] = _SharedCall(asyncio.create_task(call()))
        shared.task.add_done_callback(lambda _: self._forget(key, shared))
        return shared

    def _forget(self, key: str, shared: _SharedCall[T]) -> None:
        if self._under_way.get(key) is shared:
            del self._under_way[key]
        if shared.task.done() and not shared.task.cancelled():
            shared.task.exception()  # else asyncio warns of an error that nobody waited for


def _claim(shared: _SharedCall[T]) -> bool:
    first = not shared.claimed
    shared.claimed = True
    return first

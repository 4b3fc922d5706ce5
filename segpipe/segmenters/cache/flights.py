"""One call for all tasks that ask for the same thing at the same time."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from segpipe.errors import SegpipeError

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    joined: int = 0
    waiting: int = 0
    claimed: bool = False


class Flights(Generic[T]):
    """Calls under way, by key; for the tasks of one event loop.

    A call runs in a task of its own: it goes on when the one who began it is cancelled, and is
    cancelled itself when nobody waits for it any more. What it returns or raises goes to all who
    wait, so that a service that fails is not asked again by each of them.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight[T]] = {}

    async def join(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """What the call under way for a key gives, or a new one when there is none.

        The call sees the context variables of the first who asked. Exactly one of those who get
        its outcome is told True: the one that the outcome is accounted to.
        """
        flight = self._under_way.get(key) or self._begin(key, call)
        flight.joined += 1
        flight.waiting += 1
        try:
            outcome = await asyncio.shield(flight.task)
        except SegpipeError as error:
            if flight.joined == 1:
                raise
            # Each fills in the deal and image that it was for: one error cannot name them all.
            raise copy.copy(error) from error
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()
                await asyncio.wait([flight.task])
        return outcome, _claim(flight)

    def _begin(self, key: str, call: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = self._under_way[key] = _Flight(asyncio.create_task(call()))
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: str, flight: _Flight[T]) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # else asyncio warns of an error that nobody waited for


def _claim(flight: _Flight[T]) -> bool:
    first = not flight.claimed
    flight.claimed = True
    return first

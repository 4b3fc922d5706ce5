"""Many items in flight, results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def map_in_order(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, limit: int
) -> AsyncGenerator[Result, None]:
    """Yield ``function(item)`` in the order of the items, at most ``limit`` under way.

    When the caller stops early, or an item fails, what is under way is cancelled and awaited.
    """
    pending: deque[asyncio.Future[Result]] = deque()
    try:
        for item in items:
            if len(pending) == limit:
                yield await pending.popleft()
            pending.append(asyncio.ensure_future(function(item)))
        while pending:
            yield await pending.popleft()
    finally:
        for future in pending:
            future.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

"""Work in threads, which cannot be stopped."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def finish_in_thread(work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """The result of work in a thread; who is cancelled waits for it all the same.

    So what the work takes, such as the room of a photo, is not given up before it is free.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **options))
    try:
        return await asyncio.shield(task)
    finally:
        await asyncio.gather(task, return_exceptions=True)

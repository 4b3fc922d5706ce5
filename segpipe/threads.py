"""The one way in which coroutines have work done in threads, which nobody can stop from outside.

Whoever is cancelled while a thread works for them goes on only once the thread has ended: what the
work holds (a photo, a model, a place in a queue) is then really free. Work that takes long asks
between its steps whether somebody still waits for it, and ends early when nobody does.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from threading import Event
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

IsWanted = Callable[[], bool]
"""Whether somebody still waits for the result; asked by the work itself, in its thread."""


def always() -> bool:
    """An :data:`IsWanted` for work that nobody can cancel."""
    return True


async def finish_in_thread(work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Give the result of work in a thread; who is cancelled waits for its end all the same.

    >>> asyncio.run(finish_in_thread(sum, [1, 2, 3]))
    6
    """
    return await stoppable_in_thread(lambda _: work(*args, **options))


async def stoppable_in_thread(
    work: Callable[[IsWanted], R], *, executor: Executor | None = None
) -> R:
    """Give the result of work that ends early once the one who waits for it is cancelled.

    Args:
        work: Is given a function that tells whether its result is still wanted. When it is not,
            whatever the work gives or raises is thrown away.
        executor: The threads; None takes those of the event loop. Work that is cancelled before
            it has a thread never begins, and a given executor lets its caller go at once.
    """
    is_unwanted = Event()
    run = copy_context().run

    def begin() -> R:
        if is_unwanted.is_set():
            raise asyncio.CancelledError
        return run(work, lambda: not is_unwanted.is_set())

    submitted: Future[R] | None = None
    if executor is None:
        job = asyncio.get_running_loop().run_in_executor(None, begin)
    else:
        submitted = executor.submit(begin)
        job = asyncio.wrap_future(submitted)

    def give_up() -> None:
        is_unwanted.set()
        if submitted:
            submitted.cancel()  # has an effect while it waits for a thread

    return await wait_for_end(job, on_cancel=give_up)


async def wait_for_end(
    job: "asyncio.Future[R]", *, on_cancel: Callable[[], object] = lambda: None
) -> R:
    """Give the result of a task or future; who is cancelled waits for it, however often.

    Args:
        job: What is waited for; it is not cancelled.
        on_cancel: Called when the one who waits is cancelled, such as to ask the job to end.
    """
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        on_cancel()
        while not job.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # or asyncio says that nobody asked for it
        raise


def share_range(work: Callable[[int, int], object], size: int, *, least: int) -> None:
    """Do work over 0 to ``size`` on all processors: each does one part, from ``start`` to ``stop``.

    >>> share_range(lambda start, stop: print(start, stop), 3, least=10)
    0 3

    Args:
        work: Is given start and stop; what it calls lets other threads run.
        size: Where the last part stops.
        least: A part of less is not worth a thread.
    """
    parts = max(1, min(_processors(), size // max(least, 1)))
    if parts == 1:
        work(0, size)
        return
    edges = [size * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as threads:
        list(threads.map(work, edges[:-1], edges[1:]))


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

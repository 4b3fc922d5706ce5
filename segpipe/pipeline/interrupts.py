"""Runs asynchronous work of a step so that Ctrl-C, a termination and Dagster's own stop end it.

Dagster's handler of SIGINT and SIGTERM raises an exception wherever the program is just then.
Inside a callback of an event loop that is a fault of the callback: the loop logs it and goes on.
Here the signals cancel the work instead. And an interrupt is no fault to try again, as Dagster
would where there is a retry policy.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from dagster import DagsterError
from dagster._core.errors import DagsterExecutionInterruptedError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

ResultT = TypeVar("ResultT")


class StepStoppedError(DagsterExecutionInterruptedError, DagsterError):
    """Somebody stopped the step: no DagsterError is tried again; an interrupt cancels the run."""


@contextmanager
def interrupts_end_the_step() -> Iterator[None]:
    """Turn an interrupt into one that no retry policy catches."""
    try:
        yield
    except (DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise StepStoppedError from interrupt


def run_until_interrupted(runner: asyncio.Runner, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run work in the event loop of a step; cancel it at a signal to stop.

    Raises:
        DagsterExecutionInterruptedError: It was stopped; what it had begun has been cleaned up.
    """
    stops: list[int] = []

    async def cancellable() -> ResultT:
        task = asyncio.current_task()
        loop = runner.get_loop()

        def stop(number: int, _frame: FrameType | None) -> None:
            stops.append(number)
            if task:
                loop.call_soon_threadsafe(task.cancel)

        with _handled_by(stop):
            return await work

    try:
        result = runner.run(cancellable())
    except asyncio.CancelledError:
        if not stops:
            raise
    else:
        if not stops:
            return result
    raise DagsterExecutionInterruptedError


@contextmanager
def _handled_by(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function take the signals, and give them back to who had them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

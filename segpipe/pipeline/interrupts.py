"""Runs asynchronous work of a step so that Ctrl-C, a termination and Dagster's own stop end it.

Dagster's handler of SIGINT and SIGTERM raises an exception wherever the program is just then.
Inside a callback of an event loop that is a fault of the callback: the loop logs it and goes on.
Here the signals cancel the work instead. And an interrupt is no fault to try again, as Dagster
would where there is a retry policy.

A signal can come to nothing while the process of a run starts: Dagster asks none of a run that is
starting, and one amid an import is lost. So whoever ends a run also notes it with the run, and a
step looks there while it works.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import dagster as dg
from dagster import DagsterError
from dagster._core.errors import DagsterExecutionInterruptedError

CANCEL_TAG = "segpipe/cancelled"
"""The tag of a run that somebody has ended; its value is the run, as other runs may inherit it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class StepStoppedError(DagsterExecutionInterruptedError, DagsterError):
    """Somebody stopped the step: no DagsterError is tried again; an interrupt cancels the run."""


def note_cancel(instance: dg.DagsterInstance, run_id: str) -> None:
    """Note with a run that it is to end."""
    instance.add_run_tags(run_id, {CANCEL_TAG: run_id})


def is_cancelled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether somebody has ended a run; then Dagster knows, too, that its end is no failure."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is dg.DagsterRunStatus.CANCELED:
        return True
    if run.status is dg.DagsterRunStatus.CANCELING:
        return True
    is_noted = run.tags.get(CANCEL_TAG) == run_id
    if is_noted:
        instance.report_run_canceling(run)
    return is_noted


@contextmanager
def interrupts_end_the_step() -> Iterator[None]:
    """Turn an interrupt into one that no retry policy catches."""
    try:
        yield
    except (DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise StepStoppedError from interrupt


def run_until_interrupted(
    runner: asyncio.Runner,
    work: Coroutine[Any, Any, ResultT],
    is_unwanted: Callable[[], bool] = lambda: False,
) -> ResultT:
    """Run work in the event loop of a step; cancel it at a signal to stop.

    Args:
        runner: The event loop.
        work: The work.
        is_unwanted: Whether somebody wants it to stop; asked now and then, in a thread.

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

        watch = asyncio.create_task(_watch(is_unwanted, lambda: stop(signal.SIGTERM, None)))
        try:
            with _handled_by(stop):
                return await work
        finally:
            watch.cancel()

    try:
        result = runner.run(cancellable())
    except asyncio.CancelledError:
        if not stops:
            raise
    else:
        if not stops:
            return result
    raise DagsterExecutionInterruptedError


async def _watch(is_unwanted: Callable[[], bool], stop: Callable[[], None]) -> None:
    while True:
        try:
            if await asyncio.to_thread(is_unwanted):
                stop()
                return
        except Exception:  # noqa: BLE001 - such as a busy database: the next look may succeed
            _log.warning("whether the run is to end could not be looked up", exc_info=True)
        await asyncio.sleep(_LOOK_EVERY_S)


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

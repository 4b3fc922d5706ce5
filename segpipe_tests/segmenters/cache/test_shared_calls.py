"""Those who ask for the same thing at the same time share one call."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from segpipe.errors import BackendUnavailableError
from segpipe.segmenters.cache.shared_calls import SharedCalls


class Call:
    """A call that waits until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.started += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error:
            raise self._error
        return "outcome"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def joined(
    shared_calls: SharedCalls[str], call: Call, tasks: int
) -> list[asyncio.Task[tuple[str, bool]]]:
    return [asyncio.create_task(shared_calls.join("key", call)) for _ in range(tasks)]


def run(test: Callable[[SharedCalls[str]], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await test(SharedCalls[str]())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main(), debug=True)


def test_all_get_the_outcome_of_one_call_and_one_of_them_is_accounted() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        tasks = joined(shared_calls, call, 3)
        await settle()
        call.gate.set()
        outcomes = await asyncio.gather(*tasks)
        assert call.started == 1
        assert sorted(outcomes) == [("outcome", False), ("outcome", False), ("outcome", True)]

    run(test)


def test_a_finished_call_is_not_joined_any_more() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        call.gate.set()
        assert await shared_calls.join("key", call) == ("outcome", True)
        assert await shared_calls.join("key", call) == ("outcome", True)
        assert call.started == 2

    run(test)


def test_calls_of_different_keys_run_side_by_side() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        tasks = [asyncio.create_task(shared_calls.join(key, call)) for key in "ab"]
        await settle()
        assert call.started == 2
        call.gate.set()
        await asyncio.gather(*tasks)

    run(test)


@pytest.mark.parametrize("leaver", [0, 1, 2])
def test_the_call_goes_on_for_the_others_when_one_is_cancelled(leaver: int) -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        tasks = joined(shared_calls, call, 3)
        await settle()
        tasks.pop(leaver).cancel()
        await settle()
        call.gate.set()
        outcomes = await asyncio.gather(*tasks)
        assert (call.started, call.cancelled) == (1, 0)
        assert sorted(is_first for _, is_first in outcomes) == [False, True]

    run(test)


def test_a_call_that_nobody_waits_for_is_cancelled_and_the_next_one_is_new() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        tasks = joined(shared_calls, call, 2)
        await settle()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert call.cancelled == 1

        call.gate.set()
        assert await shared_calls.join("key", call) == ("outcome", True)
        assert call.started == 2

    run(test)


def test_one_who_asks_while_a_call_is_being_cancelled_gets_a_call_of_its_own() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call()
        (first,) = joined(shared_calls, call, 1)
        await settle()
        first.cancel()
        (second,) = joined(shared_calls, call, 1)
        await settle()
        call.gate.set()
        assert await second == ("outcome", True)
        assert first.cancelled()

    run(test)


def test_all_get_the_error_of_a_failed_call_each_with_its_own_place() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call(BackendUnavailableError("busy", field="endpoint"))

        async def fail(image: str) -> str:
            with pytest.raises(BackendUnavailableError) as failure:
                await shared_calls.join("key", call)
            return str(failure.value.at(image=image))

        tasks = [asyncio.create_task(fail(f"{number}.png")) for number in range(3)]
        await settle()
        call.gate.set()
        assert call.started == 1
        assert await asyncio.gather(*tasks) == [
            f"image '{number}.png', field 'endpoint': busy" for number in range(3)
        ]

    run(test)


def test_an_error_of_another_kind_reaches_everyone_too() -> None:
    async def test(shared_calls: SharedCalls[str]) -> None:
        call = Call(ZeroDivisionError())
        tasks = joined(shared_calls, call, 2)
        await settle()
        call.gate.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [ZeroDivisionError, ZeroDivisionError]

    run(test)


def test_an_error_that_nobody_waited_for_is_not_reported_by_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail_when_cancelled() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    async def test(shared_calls: SharedCalls[str]) -> None:
        task = asyncio.create_task(shared_calls.join("key", fail_when_cancelled))
        await settle()
        task.cancel()
        await asyncio.wait([task])

    run(test)
    assert "never retrieved" not in caplog.text

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Event

import pytest

from segpipe.threads import IsWanted, finish_in_thread, share_range, stoppable_in_thread

PATIENCE_S = 20


def test_a_result_an_error_and_the_context_come_through() -> None:
    name: ContextVar[str] = ContextVar("name")

    async def main() -> None:
        name.set("deal")
        assert await finish_in_thread(name.get) == "deal"
        with pytest.raises(ZeroDivisionError):
            await finish_in_thread(lambda: 1 // 0)

    asyncio.run(main())


def test_who_is_cancelled_even_twice_goes_on_only_when_the_thread_has_ended() -> None:
    began, go, ended = Event(), Event(), Event()

    def work() -> None:
        began.set()
        assert go.wait(PATIENCE_S)
        time.sleep(0.05)
        ended.set()

    async def main() -> None:
        call = asyncio.create_task(finish_in_thread(work))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        for _ in range(2):
            call.cancel()
            await asyncio.sleep(0)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()

    asyncio.run(main())


def test_work_that_asks_ends_early_and_work_without_a_thread_never_begins() -> None:
    began = Event()
    later: list[str] = []

    def until_unwanted(is_wanted: IsWanted) -> None:
        began.set()
        deadline = time.monotonic() + PATIENCE_S
        while is_wanted():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            first = asyncio.create_task(stoppable_in_thread(until_unwanted, executor=executor))
            second = asyncio.create_task(
                stoppable_in_thread(lambda _: later.append("ran"), executor=executor)
            )
            await asyncio.to_thread(began.wait, PATIENCE_S)
            for call in (second, first):
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        assert later == []

    asyncio.run(main())


def test_an_error_of_work_that_nobody_waits_for_is_not_reported_as_lost(
    recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    began = Event()

    def fail(is_wanted: IsWanted) -> None:
        began.set()
        while is_wanted():
            time.sleep(0.001)
        raise ValueError("too late")

    async def main() -> None:
        call = asyncio.create_task(stoppable_in_thread(fail))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert caplog.records == []
    assert not recwarn.list


def test_a_range_is_shared_whole_and_each_part_is_worth_a_thread() -> None:
    for size in (0, 1, 9, 10, 1000):
        parts: list[tuple[int, int]] = []

        def note(start: int, stop: int, parts: list[tuple[int, int]] = parts) -> None:
            parts.append((start, stop))

        share_range(note, size, least=10)
        parts.sort()
        assert (parts[0][0], parts[-1][1]) == (0, size)
        assert [stop for _, stop in parts[:-1]] == [start for start, _ in parts[1:]]
        assert len(parts) == 1 or all(stop - start >= 10 for start, stop in parts)


def test_an_error_in_a_part_of_a_range_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        share_range(lambda start, _: 1 // start, 1000, least=1)

"""A lock in an object store: one holder at a time, and one who is killed holds nobody up."""

import asyncio
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event

import pytest

from segpipe.store.data_root import DataRoot
from segpipe.store.lease import LeaseTimes, held_lease
from segpipe.store.storage import Storage
from segpipe_tests.loopback.s3 import S3Server, use_s3

QUICK = LeaseTimes(beat_s=0.1, dead_s=0.6, patience_s=30)
WAIT_S = 60
KEY = "cache/ab/cd.lock"

_spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    use_s3(monkeypatch, s3_server.url)
    return s3_server.root()


@pytest.fixture
def storage(root: str) -> Storage:
    return DataRoot.parse(root).storage()


def is_given_back(storage: Storage) -> bool:
    """Removed, or left empty by one who was slow."""
    found = storage.entry(KEY)
    return found is None or found.size == 0


def test_of_many_who_want_it_one_has_it_at_a_time(storage: Storage) -> None:
    inside: list[int] = []
    most: list[int] = []

    async def work(number: int) -> None:
        async with held_lease(storage, KEY, QUICK) as is_held:
            assert is_held
            inside.append(number)
            most.append(len(inside))
            await asyncio.sleep(0.02)
            inside.remove(number)

    async def body() -> None:
        await asyncio.gather(*map(work, range(8)))

    asyncio.run(body())
    assert most == [1] * 8
    assert is_given_back(storage)


def test_one_who_works_for_long_and_gives_signs_of_life_keeps_it(storage: Storage) -> None:
    async def body() -> None:
        async with held_lease(storage, KEY, QUICK):
            waiting = asyncio.create_task(enter())
            await asyncio.sleep(4 * QUICK.dead_s)
            assert not waiting.done()
        await waiting

    async def enter() -> None:
        async with held_lease(storage, KEY, QUICK) as is_held:
            assert is_held

    asyncio.run(body())


def hold(root: str, has_it: Event) -> None:
    async def body() -> None:
        async with held_lease(DataRoot.parse(root).storage(), KEY, QUICK):
            has_it.set()
            await asyncio.sleep(WAIT_S)

    asyncio.run(body())


def test_the_lock_of_one_who_was_killed_goes_to_exactly_one_of_those_who_wait(
    root: str, storage: Storage
) -> None:
    has_it = _spawn.Event()
    holder = _spawn.Process(target=hold, args=(root, has_it))
    holder.start()
    assert has_it.wait(WAIT_S)
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(WAIT_S)
    killed_at = time.monotonic()
    took: list[float] = []
    inside: list[int] = []

    async def enter() -> None:
        async with held_lease(storage, KEY, QUICK) as is_held:
            assert is_held
            inside.append(1)
            assert len(inside) == 1
            took.append(time.monotonic() - killed_at)
            await asyncio.sleep(0.05)
            inside.pop()

    async def body() -> None:
        await asyncio.gather(*(enter() for _ in range(4)))

    asyncio.run(body())
    assert len(took) == 4
    assert min(took) >= QUICK.dead_s - QUICK.beat_s, "not before it can be known"
    assert is_given_back(storage)


def test_one_who_was_overtaken_leaves_the_lock_of_the_other_alone(storage: Storage) -> None:
    async def body() -> None:
        sleepy = QUICK._replace(beat_s=1000.0)
        async with held_lease(storage, KEY, sleepy), held_lease(storage, KEY, QUICK):
            theirs = storage.read(KEY)
            overtaken = held_lease(storage, KEY, QUICK._replace(patience_s=0.3))
            async with overtaken as is_held:
                assert not is_held, "it is held, and who waits too long goes on without"
        assert theirs

    asyncio.run(body())
    assert is_given_back(storage), "by the one who had it"

"""A lock that machines share through an object store: a file with a heartbeat.

Nobody compares clocks. Who waits watches the file; when it stays the same for longer than its
holder ever leaves it so, the holder is dead or cut off, and exactly one of those who wait swaps
their own file in its place. A holder that was overtaken finds another's file, and lets it be. An
empty file is a lock that was given back.
"""

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import AsyncIterator
from typing import NamedTuple

from segpipe.store.storage import Storage

_GIVEN_BACK = b""
_FIRST_POLL_S, _LONGEST_POLL_S, _GROWTH = 0.05, 2.0, 1.5


class LeaseTimes(NamedTuple):
    """How long things may take, seconds.

    Attributes:
        beat_s: Between two signs of life.
        dead_s: Without one the holder is taken for dead; several times ``beat_s``.
        patience_s: Who has waited for so long goes on without the lock.
    """

    beat_s: float = 10.0
    dead_s: float = 45.0
    patience_s: float = 900.0


_TIMES = LeaseTimes()


@contextlib.asynccontextmanager
async def held_lease(storage: Storage, key: str, times: LeaseTimes = _TIMES) -> AsyncIterator[bool]:
    """Hold a lock; what it gives is False where that took too long, and nothing is held.

    Args:
        storage: Where the file is.
        key: Of the file.
        times: How long things may take.

    Raises:
        OSError: The file cannot be read or written.
    """
    lease = _Lease(storage, key, times)
    if not await lease.take():
        yield False
        return
    beating = asyncio.create_task(lease.beat())
    try:
        yield True
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        with contextlib.suppress(OSError):  # nobody beats any more: it is dead before long
            await asyncio.to_thread(lease.give_back)


class _Lease:
    def __init__(self, storage: Storage, key: str, times: LeaseTimes) -> None:
        self._storage = storage
        self._key = key
        self._times = times
        self._holder = uuid.uuid4().hex
        self._beats = 0
        self._beaten_at = 0.0

    async def take(self) -> bool:
        give_up = time.monotonic() + self._times.patience_s
        poll_s, seen_at = _FIRST_POLL_S, 0.0
        seen: bytes | None = None
        while not await asyncio.to_thread(self._claim):
            found = await asyncio.to_thread(self._read)
            now = time.monotonic()
            if found != seen:
                seen, seen_at = found, now
            is_free = found == _GIVEN_BACK or now - seen_at > self._times.dead_s
            if seen is not None and is_free and await asyncio.to_thread(self._swap, seen):
                return True
            if now > give_up:
                return False
            await asyncio.sleep(random.uniform(poll_s / 2, poll_s))  # noqa: S311 - no secret
            poll_s = min(poll_s * _GROWTH, _LONGEST_POLL_S, self._times.dead_s / 4)
        return True

    async def beat(self) -> None:
        """Give signs of life, until cancelled or overtaken."""
        while True:
            await asyncio.sleep(self._times.beat_s)
            with contextlib.suppress(OSError):
                if not await asyncio.to_thread(self._swap, self._content()):
                    return

    def give_back(self) -> None:
        # Who has just beaten cannot have been overtaken.
        if time.monotonic() - self._beaten_at < self._times.dead_s / 2:
            with contextlib.suppress(FileNotFoundError):
                self._storage.remove(self._key)
        else:
            self._storage.swap(self._key, self._content(), _GIVEN_BACK)

    def _claim(self) -> bool:
        began = time.monotonic()
        try:
            self._storage.put_if_absent(self._key, [self._content()])
        except FileExistsError:
            return False
        self._beaten_at = began
        return True

    def _swap(self, before: bytes) -> bool:
        began = time.monotonic()
        self._beats += 1
        is_mine = self._storage.swap(self._key, before, self._content())
        self._beaten_at = began if is_mine else 0.0
        return is_mine

    def _read(self) -> bytes | None:
        try:
            return self._storage.read(self._key)
        except FileNotFoundError:
            return None

    def _content(self) -> bytes:
        return json.dumps({"holder": self._holder, "beat": self._beats}).encode()

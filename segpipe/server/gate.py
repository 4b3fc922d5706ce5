"""A bounded queue in front of the model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager


class Gate:
    """Lets so many requests in, and of these so many at once to each of three places.

    Decoded photos are large, so only a few are made ahead of the model; the model gets only as
    many prompts at once as it can batch; and a photo that waits for the refiner must not keep a
    thread from others. Whoever waits is served in the order of arrival, and may leave at any time.

    Args:
        in_model: Prompts in the model at once.
        in_refiner: Photos in the refiner at once.
        decoded_ahead: Decoded photos beside those in the model and the refiner.
        queue_size: Requests beside those in the model.
    """

    def __init__(
        self, *, in_model: int, in_refiner: int, decoded_ahead: int, queue_size: int
    ) -> None:
        self._most = in_model + queue_size
        self._decoded = asyncio.Semaphore(in_model + in_refiner + decoded_ahead)
        self._model = asyncio.Semaphore(in_model)
        self._refiner = asyncio.Semaphore(in_refiner)
        self._empty = asyncio.Event()
        self._empty.set()
        self.inside = 0
        self.in_model = 0
        self.in_refiner = 0

    @contextmanager
    def admitted(self, refuse_full: Callable[[], Exception]) -> Iterator[None]:
        """Count a request in; raises what ``refuse_full`` gives when there are too many."""
        if self.inside >= self._most:
            raise refuse_full()
        self.inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.inside -= 1
            if self.inside == 0:
                self._empty.set()

    @asynccontextmanager
    async def with_photo(self) -> AsyncIterator[None]:
        """Wait for room for a decoded photo, and hold it."""
        async with self._decoded:
            yield

    @asynccontextmanager
    async def with_model(self) -> AsyncIterator[None]:
        """Wait for the model, and hold a place in it."""
        async with self._model:
            self.in_model += 1
            try:
                yield
            finally:
                self.in_model -= 1

    @asynccontextmanager
    async def with_refiner(self) -> AsyncIterator[None]:
        """Wait for the refiner, and hold a place in it."""
        async with self._refiner:
            self.in_refiner += 1
            try:
                yield
            finally:
                self.in_refiner -= 1

    async def until_empty(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()

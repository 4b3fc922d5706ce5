"""Answers that tell how far they are: server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html

FastAPI's own (``fastapi.sse``, read at 0.165) formats the events here, and no more. Its stream
could not be used, since it

- makes a path operation answer events always (it is a generator), where ours answers JSON or
  events as the body asks, and may still refuse with a status;
- keeps one event for a slow reader and then lets the work wait for it, so that who does not read
  holds a place in front of the model for as long as it likes;
- breaks the connection where the work fails, where ours ends with an ``error`` event;
- says that it is alive every 15 s, which no setting changes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Generic, Literal, TypeVar

from fastapi import Response
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from segpipe.errors import InputError
from segpipe.web.problems import RefusedError, refusal_of, too_slow

_log = logging.getLogger(__name__)

Told = TypeVar("Told")
Work = Callable[[Callable[[Told], None]], Awaitable[bytes]]
"""What a stream waits for: it tells how far it is, and gives the data of the ``final`` event."""
Show = Callable[[Told], bytes | None]
"""The data of the ``progress`` event of what was told; None where clients are told nothing."""
End = Literal["final", "error", "left"]
"""How a stream ended: with its answer, with an error, or without its client."""

PROGRESS = "progress"
_MAX_UNSENT = 256
_HEARTBEAT = b": \n\n"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""No proxy may keep events back; the second header is nginx's."""


class EventStream(Response, Generic[Told]):
    """Answers with ``progress`` events while the work goes on, then ``final`` or ``error``.

    The data of an event is one line of JSON. The work is cancelled when its client leaves or it
    takes too long. It waits for no slow reader: of more unsent events than a few hundred the
    oldest are dropped.

    Args:
        work: What to do; its errors are what ``error`` events tell.
        show: How what it tells is shown.
        on_end: Is told how the stream ended.
        timeout_s: The longest that the work may take.
        heartbeat_s: How often something is sent while there is nothing to tell.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        work: Work[Told],
        show: Show[Told],
        on_end: Callable[[End], None],
        *,
        timeout_s: float,
        heartbeat_s: float,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._work = work
        self._show = show
        self._on_end = on_end
        self._timeout_s = timeout_s
        self._heartbeat_s = heartbeat_s
        self._held = ExitStack()
        self._unsent: deque[bytes] = deque(maxlen=_MAX_UNSENT)
        self._news = asyncio.Event()

    def hold(self, held: ExitStack) -> None:
        """Take over what the work needs, to be closed once it has ended."""
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work and send the events, until the last is sent or the client has left."""
        work = asyncio.create_task(self._result())
        work.add_done_callback(lambda _: self._news.set())
        sending = asyncio.create_task(self._send_all(work, send))
        left = asyncio.create_task(until_left(receive))
        try:
            await asyncio.wait((sending, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, sending, left):
                task.cancel()
            await asyncio.gather(work, sending, left, return_exceptions=True)
            self._held.close()  # where the work was cancelled before it began
        if not sending.cancelled():
            sending.result()

    async def _result(self) -> bytes:
        """The last event. What the work held is let go before a slow client has read it."""
        end: End = "left"
        with self._held:
            try:
                data = await self._in_time()
                end = "final"
            except Exception as error:  # noqa: BLE001 - told, and logged where it is our fault
                if not isinstance(error, RefusedError | InputError):
                    _log.exception("a stream failed")
                data, end = refusal_of(error).problem.model_dump_json().encode(), "error"
            finally:
                self._on_end(end)
        return _event(end, data)

    async def _in_time(self) -> bytes:
        loop = asyncio.get_running_loop()

        def tell(event: Told) -> None:
            data = self._show(event)
            if data is not None:
                self._unsent.append(_event(PROGRESS, data))
                loop.call_soon_threadsafe(self._news.set)

        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                return await self._work(tell)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise too_slow(self._timeout_s) from error

    async def _send_all(self, work: "asyncio.Task[bytes]", send: Send) -> None:
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        # At once, so that proxies pass the head on.
        await _send(send, _HEARTBEAT)
        while True:
            while self._unsent:
                await _send(send, self._unsent.popleft())
            if work.done():
                break
            self._news.clear()
            if self._unsent or work.done():  # told by another thread in between
                continue
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._news.wait()
            except TimeoutError:
                await _send(send, _HEARTBEAT)
        await _send(send, work.result(), is_last=True)


async def until_left(receive: Receive) -> None:
    """Wait until a client, whose request has been read, leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: bytes) -> bytes:
    return format_sse_event(event=name, data_str=data.decode())


async def _send(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})

"""Streams by themselves, with clients that read slowly, leave, or never read."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import Message

from segpipe.errors import PromptError
from segpipe.progress import Event, StepDone, Tell
from segpipe.web.event_stream import End, EventStream

SCOPE: dict[str, Any] = {"type": "http"}


def show(event: Event) -> bytes | None:
    return b'{"count":%d}' % event.step if isinstance(event, StepDone) else None


class Client:
    """The other end of a stream: reads while it may, and leaves when it is told to."""

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = asyncio.Event()
        self.leaves = asyncio.Event()
        self.messages: list[Message] = []
        if reads:
            self.reads.set()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.messages.append(message)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """What was read, without comments."""
        text = b"".join(message.get("body", b"") for message in self.messages).decode()
        blocks = [block for block in text.split("\n\n") if block.startswith("event")]
        lines = [block.removeprefix("event: ").partition("\ndata: ") for block in blocks]
        return [(name, json.loads(data)) for name, _, data in lines]


def stream_of(
    work: Callable[[Tell], Awaitable[bytes]], ends: list[End], *, timeout_s: float = 10
) -> tuple[EventStream[Event], list[str]]:
    """A stream that holds something, and what became of that."""
    stream = EventStream(work, show, ends.append, timeout_s=timeout_s, heartbeat_s=10)
    held, log = ExitStack(), list[str]()
    held.callback(log.append, "let go")
    stream.hold(held)
    return stream, log


async def count_to(number: int, tell: Tell) -> bytes:
    for count in range(number):
        tell(StepDone("count", count, number))
        await asyncio.sleep(0)
    return b'{"all":true}'


def test_all_that_is_told_comes_in_its_order() -> None:
    async def check() -> None:
        client, ends = Client(), list[End]()
        stream, log = stream_of(lambda tell: count_to(1000, tell), ends)
        await stream(SCOPE, client.receive, client.send)
        assert client.events == [
            *(("progress", {"count": count}) for count in range(1000)),
            ("final", {"all": True}),
        ]
        assert client.messages[0]["type"] == "http.response.start"
        assert client.messages[-1]["more_body"] is False
        assert log == ["let go"]
        assert ends == ["final"]

    asyncio.run(check())


def test_a_client_that_does_not_read_keeps_neither_the_work_nor_its_place() -> None:
    async def check() -> None:
        client, ends = Client(reads=False), list[End]()
        stream, log = stream_of(lambda tell: count_to(2000, tell), ends)
        answer = asyncio.create_task(stream(SCOPE, client.receive, client.send))
        while not log:  # noqa: ASYNC110 - it is no event that is waited for
            await asyncio.sleep(0)
        assert not client.messages
        client.reads.set()
        await answer
        # The newest of what was told, and the end.
        assert len(client.events) < 1000
        assert client.events[-2:] == [("progress", {"count": 1999}), ("final", {"all": True})]

    asyncio.run(check())


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_leaves_ends_the_work_and_then_its_place(reads: bool) -> None:
    async def check() -> None:
        client, ends, stopped = Client(reads=reads), list[End](), asyncio.Event()

        async def work(_: Tell) -> bytes:
            try:
                await asyncio.sleep(10)
            finally:
                await stopped.wait()
            return b"{}"

        stream, log = stream_of(work, ends)
        answer = asyncio.create_task(stream(SCOPE, client.receive, client.send))
        await asyncio.sleep(0.01)
        client.leaves.set()
        await asyncio.sleep(0.01)
        assert not log
        stopped.set()
        await answer
        assert log == ["let go"]
        assert ends == ["left"]

    asyncio.run(check())


def test_what_is_held_is_let_go_though_the_work_never_began() -> None:
    async def check() -> None:
        client, ends = Client(), list[End]()
        stream, log = stream_of(lambda tell: count_to(1, tell), ends)
        answer = asyncio.create_task(stream(SCOPE, client.receive, client.send))
        await asyncio.sleep(0)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
        assert log == ["let go"]

    asyncio.run(check())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PromptError("no", field="boxes"), "PromptError"),
        (TimeoutError("of something inside"), "InternalError"),
        (ValueError("secret"), "InternalError"),
    ],
)
def test_what_goes_wrong_is_told_last(error: Exception, kind: str) -> None:
    async def check() -> None:
        async def work(_: Tell) -> bytes:
            raise error

        client, ends = Client(), list[End]()
        stream, log = stream_of(work, ends)
        await stream(SCOPE, client.receive, client.send)
        ((name, problem),) = client.events
        assert (name, problem["error"]) == ("error", kind)
        assert "secret" not in str(problem)
        assert log == ["let go"]
        assert ends == ["error"]

    asyncio.run(check())


def test_work_that_takes_too_long_is_told_so() -> None:
    async def check() -> None:
        async def work(_: Tell) -> bytes:
            await asyncio.sleep(10)
            return b"{}"

        client, ends = Client(), list[End]()
        stream, _ = stream_of(work, ends, timeout_s=0.01)
        await stream(SCOPE, client.receive, client.send)
        ((name, problem),) = client.events
        assert (name, problem["error"]) == ("error", "Timeout")

    asyncio.run(check())


def test_a_connection_that_breaks_while_it_is_written_to_ends_the_work() -> None:
    async def check() -> None:
        async def send(message: Message) -> None:
            if message["type"] != "http.response.start":
                raise OSError("broken pipe")

        client, ends = Client(), list[End]()
        stream, log = stream_of(lambda tell: count_to(10**9, tell), ends)
        with pytest.raises(OSError, match="broken pipe"):
            await stream(SCOPE, client.receive, send)
        assert log == ["let go"]
        assert ends == ["left"]

    asyncio.run(check())

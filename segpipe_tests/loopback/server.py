"""The scripted server: a thread with its own event loop, on a port that the OS chooses."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from segpipe_tests.loopback.reply import Reply

_WAIT_S = 10
_HANDSHAKE_GRACE_S = 0.05
_TLS_RECORD = b"\x16"  # the first byte of a TLS handshake


@dataclass(frozen=True, slots=True)
class Received:
    """One request as the server read it; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Received], Reply]


class Loopback:
    """Serves replies one request after another; the last one is repeated.

    Args:
        script: The replies in order, or a function from a request to its reply (called in the
            server's thread).
        tls: Speaks TLS with this context.
        port: Where to listen; 0 leaves it to the OS.
    """

    def __init__(
        self,
        script: Iterable[Reply] | Reply | Script,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self._reply_to = script if callable(script) else _in_order(script)
        self._tls = tls
        self._wanted_port = port
        self._thread = threading.Thread(target=self._run, name="loopback", daemon=True)
        self._has_started = threading.Event()
        self._read = threading.Condition()
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[Received] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._has_started.wait(_WAIT_S), "the loopback server did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have been read."""
        with self._read:
            assert self._read.wait_for(lambda: len(self.requests) >= count, _WAIT_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._wanted_port, ssl=self._tls
        )
        self.port: int = server.sockets[0].getsockname()[1]
        self._has_started.set()
        await self._stop.wait()
        server.close()
        if self._tls:
            # asyncio shows no handshake that is under way: let it hear that the client has gone.
            await asyncio.sleep(_HANDSHAKE_GRACE_S)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
            self._connections.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; False when the connection is to end."""
        first = await reader.readexactly(1)
        if first == _TLS_RECORD:
            await self._send(Reply(400, b"this port speaks plain HTTP"), writer)
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.strip().split("\r\n")
        method, path, _ = request_line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in _split(lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(method, path, headers, body)
        with self._read:
            self.requests.append(received)
            self._read.notify_all()
        reply = self._reply_to(received)
        await self._send(reply, writer)
        if reply.reset:
            _reset_when_closed(writer)
        return not reply.ends_connection

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(reply.delay_s)
        if reply.hang_up:
            return
        if reply.raw is not None:
            writer.write(reply.raw)
        else:
            writer.write(reply.head())
            body = reply.body[: reply.stop_after]
            if reply.drip_s:
                for byte in body:
                    await asyncio.sleep(reply.drip_s)
                    writer.write(bytes([byte]))
                    await writer.drain()
            else:
                writer.write(body)
        await writer.drain()


def _split(lines: list[str]) -> Iterable[tuple[str, str, str]]:
    return (line.partition(":") for line in lines)


def _in_order(script: Iterable[Reply] | Reply) -> Script:
    replies = [script] if isinstance(script, Reply) else list(script)
    served = iter(range(10**9))
    return lambda _received: replies[min(next(served), len(replies) - 1)]


def _reset_when_closed(writer: asyncio.StreamWriter) -> None:
    """Lingering for 0 seconds turns the close into a reset (socket(7), SO_LINGER)."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

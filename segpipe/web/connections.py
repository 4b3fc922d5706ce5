"""Connections within bounds: how many, for how long, and how much of a head they may send.

A server that trusts its clients is stopped by a thousand of them that send a byte a minute, or by
one whose headers do not end. uvicorn bounds the time between requests alone, and the headers with
its h11 protocol alone, which is why that is the one used.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEAD_BYTES = 65_536
"""Of request line and headers, or of one line between the pieces of a body."""
_SWEEP_S = 0.5
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take.

    Attributes:
        total: Connections at most.
        each_peer: Connections of one address at most.
        head_s: Time for a request's head to arrive whole, since the connection was made or the
            head began.
        gap_s: Time between the bytes of a body.
        unread_s: Time that an answer may wait for a client that does not read it.
    """

    total: int = 512
    each_peer: int = 256
    head_s: float = 10
    gap_s: float = 10
    unread_s: float = 30


def protocol_within(limits: ConnectionLimits) -> type[H11Protocol]:
    """The HTTP protocol for a uvicorn server, whose connections keep these limits together.

    Over a limit, the connection gives way that has waited longest without a request; the new one
    is refused (503) only when all others are at work.
    """

    class Protocol(_BoundedProtocol):
        others = _Connections(limits)

    return Protocol


class _Connections:
    """The open connections of a server, the oldest first, and who of them has to go."""

    def __init__(self, limits: ConnectionLimits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.now = now
        self._open: dict[_BoundedProtocol, None] = {}
        self._of_peer: dict[str, dict[_BoundedProtocol, None]] = {}
        self._is_swept = False

    def add(self, one: "_BoundedProtocol") -> bool:
        """Let a connection in, in place of an idle one where there are too many.

        Returns:
            Whether there is room for it.
        """
        of_peer = self._of_peer.get(one.peer, {})
        for others, most in ((of_peer, self.limits.each_peer), (self._open, self.limits.total)):
            if len(others) >= most and not _end_longest_idle(others):
                return False
        self._open[one] = None
        self._of_peer.setdefault(one.peer, {})[one] = None
        if not self._is_swept:
            self._is_swept = True
            one.loop.call_later(_SWEEP_S, self._sweep, one.loop)
        return True

    def remove(self, one: "_BoundedProtocol") -> None:
        """Forget a connection; it may have been forgotten before."""
        self._open.pop(one, None)
        of_peer = self._of_peer.get(one.peer, {})
        of_peer.pop(one, None)
        if not of_peer:
            self._of_peer.pop(one.peer, None)

    def _sweep(self, loop: Any) -> None:
        now = self.now()
        for one in list(self._open):
            if one.is_overdue(now):
                one.end()
        self._is_swept = bool(self._open)
        if self._is_swept:
            loop.call_later(_SWEEP_S, self._sweep, loop)


def _end_longest_idle(connections: Iterable["_BoundedProtocol"]) -> bool:
    idle = min((one for one in connections if one.is_idle), key=lambda one: one.since, default=None)
    if idle is None:
        return False
    idle.end()
    return True


class _BoundedProtocol(H11Protocol):
    """A connection that notes since when it waits for its client."""

    others: _Connections

    def __init__(self, config: Config, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        self.peer = ""
        self.since = self.others.now()  # it waits for what it waits for now
        self._is_head_begun = True  # a new connection is expected to send one
        self._is_unread = False

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered: there is none, or nobody reads the answer."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered or self._is_unread

    def is_overdue(self, now: float) -> bool:
        """Whether its client has let it wait for too long."""
        limits, waited = self.others.limits, now - self.since
        if self._is_unread or self.transport.is_closing():
            return waited > limits.unread_s
        if self.cycle is None or self.cycle.response_complete:
            return self._is_head_begun and waited > limits.head_s
        is_body_awaited = self.cycle.more_body and not self.flow.read_paused
        return is_body_awaited and waited > limits.gap_s

    def end(self) -> None:
        """Close the connection at once, whatever is under way."""
        self.others.remove(self)
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Begin, or refuse to, where there are too many."""
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        if not self.others.add(self):
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for others."""
        self.others.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, and note when, where they bring the request further."""
        if self.transport.is_closing():
            return
        was_answered = self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        is_answered = self.cycle is None or self.cycle.response_complete
        if is_answered and was_answered:
            if not self._is_head_begun:
                self._is_head_begun, self.since = True, self.others.now()
        else:
            self._is_head_begun, self.since = False, self.others.now()

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn closes a connection on which none begins."""
        self._is_head_begun = self.conn.their_state is h11.SEND_BODY  # the rest is thrown away
        self.since = self.others.now()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._is_unread, self.since = True, self.others.now()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._is_unread, self.since = False, self.others.now()
        super().resume_writing()

"""What a scripted server does with one request."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whole or with a fault.

    Attributes:
        status: The HTTP status.
        body: The bytes of the body.
        content_type: Its header; "" leaves the header out.
        headers: Further headers.
        delay_s: Silence before the first byte of the answer.
        drip_s: Pause before each single byte of the body.
        stop_after: Bytes of the body after which the connection ends; the header announces all.
        hang_up: The connection ends before the first byte of the answer.
        reset: The connection ends with a reset, not with an orderly end.
        raw: Bytes to send as they are, in place of an HTTP answer.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0
    drip_s: float = 0
    stop_after: int | None = None
    hang_up: bool = False
    reset: bool = False
    raw: bytes | None = None

    @property
    def ends_connection(self) -> bool:
        """Whether nothing more can come on this connection."""
        return self.hang_up or self.reset or self.raw is not None or self.stop_after is not None

    def head(self) -> bytes:
        """The status line and headers."""
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in self._headers()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "content-length", str(len(self.body))
        if self.content_type:
            yield "content-type", self.content_type
        yield from self.headers.items()


def json_reply(value: object, **rest: object) -> Reply:
    """An answer in JSON; NaN and infinities are written as Python writes them."""
    return Reply(body=json.dumps(value).encode(), **rest)  # type: ignore[arg-type]

"""The body of an answer, decompressed under a bound."""

import zlib
from collections.abc import Callable

import httpx

ACCEPT_ENCODING = "gzip, deflate"
_ZLIB_OR_GZIP = (
    zlib.MAX_WBITS | 32
)  # https://docs.python.org/3/library/zlib.html#zlib.decompressobj


class BadBodyError(Exception):
    """The body is larger than allowed, or cannot be decompressed."""


async def read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """Read the body of a streamed answer; what is too large is given up early.

    httpx would decompress a whole network read at once, which is how a small answer fills the
    memory; here no more than ``max_bytes`` ever exist.

    Raises:
        BadBodyError: More than ``max_bytes`` decompressed, an unknown compression, or damaged.
        httpx.HTTPError: The connection failed.
    """
    decode = _decoder(response.headers.get("content-encoding", ""))
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += decode(chunk, max_bytes + 1 - len(body))
        if len(body) > max_bytes:
            raise BadBodyError(f"its answer has more than {max_bytes:,} bytes")
    decode(b"", 1)
    return bytes(body)


async def read_start(response: httpx.Response, max_bytes: int) -> bytes:
    """Read the first bytes of a body, or fewer where it cannot be read further."""
    start = bytearray()
    try:
        decode = _decoder(response.headers.get("content-encoding", ""))
        async for chunk in response.aiter_raw():
            start += decode(chunk, max_bytes - len(start))
            if len(start) >= max_bytes:
                break
    except (BadBodyError, httpx.HTTPError, OSError):
        pass  # the status tells more than the rest of this body
    return bytes(start)


def _decoder(encoding: str) -> Callable[[bytes, int], bytes]:
    """A function that decodes at most so many bytes of a chunk; b"" is the end of the body."""
    match encoding.strip().lower():
        case "" | "identity":
            return lambda chunk, most: chunk[:most]
        case "gzip" | "x-gzip" | "deflate":
            return _Inflater()
        case other:
            raise BadBodyError(f"its answer is compressed as {other[:20]!r}, which was not offered")


class _Inflater:
    """Decompresses gzip and zlib, of one or several members."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._has_begun = False

    def __call__(self, chunk: bytes, most: int) -> bytes:
        if not chunk:
            if self._has_begun and not self._member.eof:
                raise BadBodyError("its compressed answer breaks off")
            return b""
        decoded = bytearray()
        try:
            while chunk and len(decoded) < most:
                if self._member.eof:
                    self._member = zlib.decompressobj(_ZLIB_OR_GZIP)
                self._has_begun = True
                decoded += self._member.decompress(chunk, most - len(decoded))
                chunk = self._member.unused_data or self._member.unconsumed_tail
        except zlib.error as error:
            raise BadBodyError(f"its compressed answer is damaged ({error})") from None
        return bytes(decoded)

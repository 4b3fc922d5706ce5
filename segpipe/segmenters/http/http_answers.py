"""What came back from a backend: read in bounds, without secrets, and what a fault means."""

import json
import logging
import math
import ssl
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import httpx

from segpipe.errors import (
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    BackendUncertainError,
)

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


_COST_HEADER = "x-cost"
_NO_WORK_DONE = frozenset({408, 425, 429, 500, 503})
_NEVER_IMPLEMENTED = frozenset({501, 505})
_ADVICE = {
    401: "the key is missing or not valid",
    402: "the credits do not suffice",
    403: "the key may not do this",
    404: "there is no such endpoint or request: check the endpoint in the config",
    405: "the endpoint takes no such request: check the endpoint in the config",
    406: "either the credits do not suffice, or the content type is wrong",
    410: "the endpoint has been retired",
    413: "the request is too large",
    422: "it cannot work with this request",
    429: "too many requests",
}
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NEVER_SENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class CallFault:
    """Why an attempt failed.

    Attributes:
        kind: The error that it becomes when it is not tried again.
        reason: What happened, to follow the backend's name in a sentence; no secrets yet removed.
        pause_s: How long the backend asks to wait, in seconds.
        status: That of its answer; None when it gave none.
        body: How the body of its answer begins; no secrets yet removed.
    """

    kind: type[BackendError]
    reason: str
    pause_s: float = 0.0
    status: int | None = None
    body: str = ""


def kind_of_status(status: int, headers: httpx.Headers) -> type[BackendError] | None:
    """The error that an answer's status means; None when it is a success."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status in _NO_WORK_DONE:
        return BackendUncertainError if _was_billed(headers) else BackendUnavailableError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _NEVER_IMPLEMENTED:
        return BackendUncertainError
    return BackendRefusedError


def say_status(status: int, response: httpx.Response, snippet: str) -> str:
    """A sentence about an answer that is no success."""
    said = f": {snippet!r}" if snippet else ""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        location = response.headers.get("location", "")
        return (
            f"answered {status} and redirects to the host {_host(response.url, location)!r}; "
            f"redirects are not followed: name the right endpoint in the config{said}"
        )
    meaning = _ADVICE.get(status) or httpx.codes.get_reason_phrase(status)
    billed = ", and billed it" if _was_billed(response.headers) else ""
    return f"answered {status}{f' ({meaning})' if meaning else ''}{billed}{said}"


def fault_of_exception(error: Exception, *, was_sent: bool | None, was_answered: bool) -> CallFault:
    """What a failed connection means.

    Args:
        error: What httpx raised.
        was_sent: Whether the whole request had left; None when that is not known.
        was_answered: Whether the head of an answer had come.
    """
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return CallFault(BackendRefusedError, f"has a TLS certificate that is not trusted ({said})")
    if isinstance(error, _NEVER_SENDABLE):
        return CallFault(BackendRefusedError, f"cannot be sent this request ({said})")
    if was_answered:
        return CallFault(BackendUncertainError, f"broke off in the middle of its answer ({said})")
    if isinstance(error, _NEVER_CONNECTED):
        return CallFault(BackendUnavailableError, f"cannot be reached ({said})")
    if was_sent is False:
        return CallFault(BackendUnavailableError, f"did not take the whole request ({said})")
    return CallFault(BackendUncertainError, f"took the request and gave no answer ({said})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _was_billed(headers: httpx.Headers) -> bool:
    try:
        cost = float(headers.get(_COST_HEADER, "0"))
    except ValueError:
        return True  # some bill, of whatever amount
    return not math.isfinite(cost) or cost > 0


def _host(base: httpx.URL, location: str) -> str:
    try:
        return urlsplit(urljoin(str(base), location)).hostname or ""
    except ValueError:
        return ""


REDACTED = "[redacted]"
SNIPPET_CHARS = 200


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced, also where it is escaped as in a URL or in JSON."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
            text = text.replace(form, REDACTED)
    return text


def snippet(text: str, secrets: Iterable[str]) -> str:
    """One short line of a text of unknown origin, without secrets and control characters."""
    # In this order: characters left out may join the halves of a secret, and so may a cut.
    spaced = " ".join(text.split())
    printable = "".join(char for char in spaced if unicodedata.category(char)[0] != "C")
    safe = redact(printable, secrets)
    return safe if len(safe) <= SNIPPET_CHARS else safe[:SNIPPET_CHARS] + "…"


class SecretFilter(logging.Filter):
    """Takes secrets out of what a logger is told, and lets everything pass."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite one record."""
        record.msg, record.args = redact(record.getMessage(), self._secrets), ()
        return True

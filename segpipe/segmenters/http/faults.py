"""What a failed attempt means: whether work was done, and what kind of error it is."""

import math
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx

from segpipe.errors import (
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    BackendUncertainError,
)

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
class Fault:
    """Why an attempt failed.

    Attributes:
        kind: The error that it becomes when it is not tried again.
        reason: What happened, to follow the backend's name in a sentence; no secrets yet removed.
        pause_s: How long the backend asks to wait, in seconds.
    """

    kind: type[BackendError]
    reason: str
    pause_s: float = 0.0


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


def fault_of_exception(error: Exception, *, was_sent: bool | None, was_answered: bool) -> Fault:
    """What a failed connection means.

    Args:
        error: What httpx raised.
        was_sent: Whether the whole request had left; None when that is not known.
        was_answered: Whether the head of an answer had come.
    """
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Fault(BackendRefusedError, f"has a TLS certificate that is not trusted ({said})")
    if isinstance(error, _NEVER_SENDABLE):
        return Fault(BackendRefusedError, f"cannot be sent this request ({said})")
    if was_answered:
        return Fault(BackendUncertainError, f"broke off in the middle of its answer ({said})")
    if isinstance(error, _NEVER_CONNECTED):
        return Fault(BackendUnavailableError, f"cannot be reached ({said})")
    if was_sent is False:
        return Fault(BackendUnavailableError, f"did not take the whole request ({said})")
    return Fault(BackendUncertainError, f"took the request and gave no answer ({said})")


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

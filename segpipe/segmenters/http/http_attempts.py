"""One call and its attempts, and how long a backend asks to wait before the next."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import httpx

from segpipe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    BackendUncertainError,
)

_BODY_SENT = "http11.send_request_body.complete"  # https://www.encode.io/httpcore/extensions/#trace


class Outcome(StrEnum):
    """What became of one attempt."""

    UNDER_WAY = "under_way"
    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"
    PROTOCOL = "protocol"


OUTCOMES: dict[type[BackendError], Outcome] = {
    BackendUnavailableError: Outcome.UNAVAILABLE,
    BackendUncertainError: Outcome.UNCERTAIN,
    BackendRefusedError: Outcome.REFUSED,
    BackendProtocolError: Outcome.PROTOCOL,
}
"""What became of an attempt that failed in this way."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a request, as an observer sees it before and after.

    Attributes:
        number: From 1.
        outcome: ``UNDER_WAY`` before it is sent; afterwards what became of it.
        status: The HTTP status; None when there was no answer.
        headers: Those of the answer; empty when there was none.
    """

    number: int
    outcome: Outcome = Outcome.UNDER_WAY
    status: int | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers)


class Call:
    """One request and how far its present attempt has come."""

    def __init__(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any],
        on_attempt: Callable[[Attempt], None] | None,
        *,
        is_traced: bool,
    ) -> None:
        self.method, self.path, self.content = method, path, content
        self._on_attempt = on_attempt
        self._is_traced = is_traced
        self.number = 0
        self.status: int | None = None
        self.headers = httpx.Headers()
        self.was_sent: bool | None = None
        """Whether the whole request left; None when a replaced transport does not tell."""

    def begin(self) -> None:
        """Start the next attempt; raises what the observer raises."""
        if self._on_attempt:
            self._on_attempt(Attempt(self.number + 1))
        self.number += 1
        self.status, self.headers = None, httpx.Headers()
        self.was_sent = False if self._is_traced else None

    def end(self, outcome: Outcome) -> None:
        """Tell the observer what became of the attempt."""
        if self._on_attempt:
            self._on_attempt(Attempt(self.number, outcome, self.status, self.headers))

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        """Follow httpcore's account of what it does."""
        self.was_sent = bool(self.was_sent) or event == _BODY_SENT


def asked_pause_s(headers: httpx.Headers, now: datetime) -> float:
    """Seconds until the backend wants to be asked again; 0 when it does not say.

    ``Retry-After`` is seconds or an HTTP date (RFC 9110, 10.2.3). ``x-rate-limit-reset-at-utc``
    is Segmind's (https://docs.segmind.com/api-reference/rate-limits): a date and time in UTC, or
    seconds since 1970.
    """
    if (value := headers.get("retry-after")) is not None:
        pause = _seconds(value)
        return max(0.0, _until(_http_date(value), now) if pause is None else pause)
    if (value := headers.get("x-rate-limit-reset-at-utc")) is not None:
        since_1970 = _seconds(value)
        if since_1970 is not None:
            return max(0.0, since_1970 - now.timestamp())
        return max(0.0, _until(_utc_time(value), now))
    return 0.0


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _http_date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None


def _utc_time(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value.strip().removesuffix("UTC").strip())
    except ValueError:
        return _http_date(value)


def _until(moment: datetime | None, now: datetime) -> float:
    if moment is None:
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - now).total_seconds()

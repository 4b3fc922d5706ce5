"""How long a backend asks to wait before the next attempt."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx


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

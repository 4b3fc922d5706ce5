"""Settings of the connection to a backend."""

from urllib.parse import urlsplit

import httpx
from pydantic import Field

from segpipe.secret_names import is_this_machine
from segpipe.segmenters.http.forbidden_hosts import require_allowed_host
from segpipe.settings import Settings


class HttpSettings(Settings):
    """Timeouts, retries and bounds of the connection to a backend."""

    operational = frozenset(
        {
            "connect_timeout_s",
            "read_timeout_s",
            "write_timeout_s",
            "pool_timeout_s",
            "deadline_s",
            "max_attempts",
            "backoff_s",
            "in_flight",
            "max_response_mb",
        }
    )

    connect_timeout_s: float = Field(
        default=10, gt=0, description="Longest wait for a connection, TLS included, in seconds."
    )
    read_timeout_s: float = Field(
        default=300, gt=0, description="Longest silence while waiting for an answer, in seconds."
    )
    write_timeout_s: float = Field(
        default=60, gt=0, description="Longest standstill while sending a request, in seconds."
    )
    pool_timeout_s: float = Field(
        default=60, gt=0, description="Longest wait for a free connection, in seconds."
    )
    deadline_s: float = Field(
        default=900,
        gt=0,
        description="Longest that one call may take with all its retries, in seconds, from the "
        "moment that fewer than in_flight others are under way.",
    )
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="How often one call is sent at most."
    )
    backoff_s: float = Field(
        default=1,
        ge=0,
        description="Longest pause before the second attempt, in seconds; it doubles with each "
        "attempt, and the actual pause is drawn at random up to it.",
    )
    in_flight: int = Field(
        default=8, ge=1, le=256, description="Requests that are under way at the same time at most."
    )
    max_response_mb: float = Field(
        default=128, gt=0, description="Largest answer that is accepted, decompressed, in MB."
    )


def check_endpoint(url: str) -> str:
    """The URL without a slash at its end, when a secret may be sent there.

    Raises:
        ValueError: It is no https URL (http is for loopback hosts), or has a user name, a query
            or a fragment; or no backend may be at its host.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port, httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ValueError("must be a URL such as https://example.org") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a URL without a user name, a query and a fragment")
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError("must be a URL such as https://example.org")
    require_allowed_host(parts.hostname)
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        raise ValueError(
            f"must be an https URL, since a key is sent there; http is for this machine alone, "
            f"not for {parts.hostname}"
        )
    return url

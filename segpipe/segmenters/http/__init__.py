"""The HTTP client of backends: pooled, bounded, with typed errors and no secrets in any of them."""

from segpipe.segmenters.http.backend_client import Answer, BackendClient
from segpipe.segmenters.http.forbidden_hosts import require_allowed_host
from segpipe.segmenters.http.http_answers import redact
from segpipe.segmenters.http.http_attempts import Attempt, Outcome
from segpipe.segmenters.http.http_settings import HttpSettings, check_endpoint

__all__ = [
    "Answer",
    "Attempt",
    "BackendClient",
    "HttpSettings",
    "Outcome",
    "check_endpoint",
    "redact",
    "require_allowed_host",
]

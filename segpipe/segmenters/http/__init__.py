"""The HTTP client of backends: pooled, bounded, with typed errors and no secrets in any of them."""

from segpipe.segmenters.http.attempts import Attempt, Outcome
from segpipe.segmenters.http.client import Answer, BackendClient
from segpipe.segmenters.http.redaction import redact
from segpipe.segmenters.http.settings import HttpSettings, check_endpoint

__all__ = [
    "Answer",
    "Attempt",
    "BackendClient",
    "HttpSettings",
    "Outcome",
    "check_endpoint",
    "redact",
]

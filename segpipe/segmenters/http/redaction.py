"""Text from a backend, made fit for a message: no secrets, no control characters, short."""

import json
import logging
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

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

"""Digests that name content: photo bytes, settings."""

import hashlib
import json
from collections.abc import Mapping


def bytes_digest(data: bytes) -> str:
    """The sha256 of some bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def settings_digest(values: Mapping[str, object]) -> str:
    """The sha256 of JSON values, equal for equal values whatever their order."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return bytes_digest(canonical.encode())

"""Photos inside JSON: data URLs.

L. Masinter: "The "data" URL scheme", RFC 2397, https://www.rfc-editor.org/rfc/rfc2397
"""

import binascii
import re
from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from segpipe.server.problems import BAD_REQUEST, RefusedError

PATTERN = "^data:image/[A-Za-z0-9.+-]+;base64,"
"""What is documented; parameters between, and capitals before the data, are accepted too."""

_PREFIX = re.compile(
    r"data:image/[\w.+-]{1,99}(;[\w.+-]{1,99}=[\w.+-]{1,99}){0,9};base64,", re.IGNORECASE
)
_WEB = re.compile(r"https?:", re.IGNORECASE)
_FIELD, _KIND = "image_url", "data_url"
_PIECE = 1 << 20  # characters; 4 of them are 3 bytes
_PIECE_BYTES = _PIECE // 4 * 3


def require_data_url(url: str) -> str:
    """Give back a data URL of an image.

    Raises:
        PydanticCustomError: It is another URL.
    """
    if _PREFIX.match(url):
        return url
    if _WEB.match(url):
        raise PydanticCustomError(
            _KIND,
            "the service fetches no photos from elsewhere; send the photo itself, as "
            "data:image/jpeg;base64,…",
        )
    raise PydanticCustomError(_KIND, "a photo is sent as a data URL: data:image/jpeg;base64,…")


def read_data_url(url: str) -> Iterator[bytes]:
    """The bytes of a data URL that :func:`require_data_url` passed, in pieces.

    Raises:
        RefusedError: It is not in base64, or empty (400).
    """
    prefix = _PREFIX.match(url)
    start = prefix.end() if prefix else 0
    if start == len(url):
        raise _refused("the data URL holds no photo: there is nothing after the comma")
    # Piece by piece: decoding lets no other thread run.
    for place in range(start, len(url), _PIECE):
        try:
            data = binascii.a2b_base64(url[place : place + _PIECE], strict_mode=True)
        except ValueError as error:
            raise _not_base64(str(error)) from error
        if place + _PIECE < len(url) and len(data) < _PIECE_BYTES:
            raise _not_base64("Padding before the end")
        yield data


def _not_base64(reason: str) -> RefusedError:
    return _refused(
        f"the photo's base64 cannot be decoded ({reason}); send the standard alphabet with its "
        "padding, without line breaks"
    )


def _refused(detail: str) -> RefusedError:
    return RefusedError(BAD_REQUEST, "InvalidRequest", detail, field=_FIELD)

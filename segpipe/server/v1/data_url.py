"""Photos inside JSON: data URLs.

L. Masinter: "The "data" URL scheme", RFC 2397, https://www.rfc-editor.org/rfc/rfc2397
"""

import binascii
from collections.abc import Iterator

from segpipe.server.problems import BAD_REQUEST, RefusedError
from segpipe.wire.outlines import DATA_URL

_FIELD = "image_url"
_PIECE = 1 << 20  # characters; 4 of them are 3 bytes
_PIECE_BYTES = _PIECE // 4 * 3


def read_data_url(url: str) -> Iterator[bytes]:
    """The bytes of a data URL of a picture, in pieces.

    Raises:
        RefusedError: It is not in base64, or empty (400).
    """
    prefix = DATA_URL.match(url)
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

"""Uploads to pixels: data URLs, and the last few photos kept, set once for many prompts.

L. Masinter: "The "data" URL scheme", RFC 2397, https://www.rfc-editor.org/rfc/rfc2397
"""

import binascii
from collections.abc import Iterator
from contextlib import suppress

from cachetools import LRUCache

from segpipe.vision.image import DecodedImage, decode_image
from segpipe.web.problems import BAD_REQUEST, RefusedError
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


class PhotoShelf:
    """Decodes uploads, and keeps the last decoded photos by the digest of their bytes.

    Args:
        max_pixels: Largest photo, by its header.
        kept_pixels: Pixels of all the photos that are kept; 0 keeps none.
    """

    def __init__(self, *, max_pixels: int, kept_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._kept: LRUCache[str, DecodedImage] = LRUCache(kept_pixels, getsizeof=_pixels)

    def find(self, digest: str) -> DecodedImage | None:
        """The kept photo of that digest, which is now the last one used."""
        return self._kept.get(digest)

    def decode(self, data: bytes) -> DecodedImage:
        """Decode an upload; its pixels are read-only. Safe in a worker thread.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        photo = decode_image(data, max_pixels=self._max_pixels)
        photo.rgb.setflags(write=False)
        return photo

    def keep(self, digest: str, photo: DecodedImage) -> None:
        """Keep a photo, and let go of those used longest ago when there are too many."""
        with suppress(ValueError):  # larger than all that is kept
            self._kept[digest] = photo


def _pixels(photo: DecodedImage) -> int:
    height, width = photo.rgb.shape[:2]
    return int(height * width)

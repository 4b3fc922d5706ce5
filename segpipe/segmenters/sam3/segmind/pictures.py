"""Pictures of masks, in base64 or as they are, to what is inside."""

import base64
import binascii
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.vision.image_formats import (
    announced_sizes,
    find_format,
    open_header,
    strict_pillow,
)
from segpipe.vision.mask import Bitmap

INSIDE_FROM = 128
"""Of 255: what is as bright as this is inside."""

_DATA_URL = re.compile(r"data:[^,]{0,100},")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_FORMATS = frozenset({"PNG", "JPEG", "WEBP"})
_ROUNDING_PX = 1.0  # what rounding a scaled side may do to the other
_MOST_GREY = 0.1  # of a picture of a mask: its soft edges
_DARK_BELOW, _BRIGHT_FROM = 64, 192


class NotUnderstoodError(Exception):
    """A part of an answer makes no sense; the message says which."""


@dataclass(frozen=True, slots=True)
class Photo:
    """The size of the photo, and that of its upload, in pixels."""

    width: int
    height: int
    upload_width: int
    upload_height: int


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 text, with a data URL's prefix or without.

    Raises:
        NotUnderstoodError: It is none.
    """
    if _LINK.match(text):
        raise NotUnderstoodError(
            "it holds a link in place of a picture, and links are not followed"
        )
    if prefix := _DATA_URL.match(text):
        text = text[prefix.end() :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotUnderstoodError(f"a picture's base64 cannot be decoded ({error})") from error


def read_picture(data: bytes, photo: Photo, *, must_be_mask: bool = False) -> Bitmap:
    """Which pixels of a picture are inside, (h, w) uint8, 0 or 1.

    Where a picture is partly transparent, what is opaque is inside; else what has a channel that
    is brighter than half, and in a picture of zeros and ones the ones.

    Raises:
        NotUnderstoodError: It is damaged, of another format, larger than the photo, or (with
            ``must_be_mask``) is dark or has too many greys for a mask.
    """
    name = find_format(data)
    if name not in _FORMATS:
        raise NotUnderstoodError(f"a mask of {len(data)} bytes is no PNG, JPEG or WebP")
    try:
        with strict_pillow():
            for size in announced_sizes(data, name):
                check_size(*size, photo)
            picture = open_header(data, name)
            check_size(*picture.size, photo)
            picture.load()
            grey = _grey(picture)
    except NotUnderstoodError:
        raise
    except Exception as error:
        # Decoders raise nearly every built-in exception on damaged data; all mean the same here.
        raise NotUnderstoodError(f"the {name} of a mask is damaged ({error})") from error
    if grey.max(initial=0) <= 1:
        return grey
    if must_be_mask:
        if grey.max() < INSIDE_FROM:
            raise NotUnderstoodError("the picture is too dark for a mask")
        greys = np.count_nonzero((grey >= _DARK_BELOW) & (grey < _BRIGHT_FROM))
        if greys > _MOST_GREY * grey.size:
            raise NotUnderstoodError("the picture has too many greys for a mask")
    inside: Bitmap = (grey >= INSIDE_FROM).astype(np.uint8)
    return inside


def _grey(picture: Image.Image) -> NDArray[np.uint8]:
    """One channel, (h, w) uint8."""
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.int64)
        bright: NDArray[np.uint8] = (samples > samples.max(initial=0) // 2).astype(np.uint8)
        return bright
    if picture.has_transparency_data:
        alpha: NDArray[np.uint8] = np.asarray(picture.convert("RGBA").getchannel("A"))
        if alpha.min(initial=255) < INSIDE_FROM:
            return alpha
    if picture.mode in {"1", "L"}:
        grey: NDArray[np.uint8] = np.asarray(picture.convert("L"))
        return grey
    brightest: NDArray[np.uint8] = np.asarray(picture.convert("RGB")).max(axis=2)
    return brightest


def check_size(width: int, height: int, photo: Photo) -> None:
    """Refuse a size above the photo's before room is made for it, and one of another shape."""
    if width > photo.width + _ROUNDING_PX or height > photo.height + _ROUNDING_PX:
        raise NotUnderstoodError(
            f"a mask of {width} x {height} pixels is larger than the photo of "
            f"{photo.width} x {photo.height}"
        )
    if (width, height) == (photo.upload_width, photo.upload_height):
        return
    off = min(
        abs(width * photo.height / photo.width - height),
        abs(height * photo.width / photo.height - width),
    )
    if off > _ROUNDING_PX:
        raise NotUnderstoodError(
            f"a mask of {width} x {height} pixels does not have the shape of the upload of "
            f"{photo.upload_width} x {photo.upload_height}"
        )

"""Pixels to PNG and JPEG bytes, fast, and to small WebP and AVIF."""

import io
import struct

import numpy as np
import simplejpeg
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import ConfigError, InputError
from segpipe.vision.image import RgbImage

DEFAULT_JPEG_QUALITY = 92
DEFAULT_WEBP_QUALITY = 85
DEFAULT_AVIF_QUALITY = 75
DEFAULT_WEBP_METHOD = 4  # libwebp's own
FAST_WEBP_METHOD = 2
"""Three fifths of the time of libwebp's own, for files 5 percent larger (`benchmarks.encode`)."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # channels -> greyscale, RGB, RGBA
_PNG_FILTER_UP = 2
_DEFLATE_LEVEL = 1
_MAX_JPEG_SIDE_PX = 65_500  # libjpeg's JPEG_MAX_DIMENSION
_MAX_WEBP_SIDE_PX = 16_383  # libwebp's WEBP_MAX_DIMENSION
_MAX_AVIF_SIDE_PX = 65_535
_AVIF_SPEED = 8  # the next one writes files half as large again where alpha is hard
_JPEG_QUALITIES = range(1, 101)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels as a lossless PNG (https://www.w3.org/TR/png-3/).

    Encoding releases the GIL, so threads encode side by side.

    Args:
        pixels: Shape (h, w, c) uint8; c is 1 (grey), 3 (RGB) or 4 (RGBA, alpha not
            premultiplied).

    Raises:
        InputError: When shape or dtype are others, or there is no pixel.

    Examples:
        >>> encode_png(np.zeros((4, 6, 3), np.uint8))[1:4]
        b'PNG'
    """
    _require_pixels(pixels, tuple(_PNG_COLOUR_TYPES))
    height, width, channels = pixels.shape
    header = struct.pack(
        ">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0
    )  # 8 bits a sample; then the only compression and filter methods, and no interlace
    # One fixed filter and ISA-L's deflate, in place of a library's encoder: on cut-outs of photos
    # (`python -m benchmarks.encode`) this takes a fifth of the time of OpenCV's fastest setting
    # and a twenty-fifth of that of Pillow's default, at 1.13 times Pillow's size. fpng takes two
    # thirds of our time, but writes files a fifth larger and has had a single release.
    compressed = isal_zlib.compress(_filter_up(pixels), _DEFLATE_LEVEL)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", compressed),
            _png_chunk(b"IEND", b""),
        )
    )


def encode_jpeg(rgb: RgbImage, *, quality: int = DEFAULT_JPEG_QUALITY) -> bytes:
    """Encode an RGB picture as a baseline JPEG with 4:2:0 chroma, as cameras write it.

    Args:
        rgb: Shape (h, w, 3) uint8.
        quality: 1 to 100.

    Raises:
        InputError: When shape or dtype are others, there is no pixel, or a side is longer
            than the 65,500 pixels that JPEG can hold.
        ConfigError: When the quality is out of range.
    """
    _require_pixels(rgb, (3,))
    _require_side(rgb, "a JPEG", _MAX_JPEG_SIDE_PX)
    if quality not in _JPEG_QUALITIES:
        raise ConfigError(f"must be 1 to 100, got {quality}", field="quality")
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(rgb), quality=quality, colorspace="RGB", colorsubsampling="420"
    )
    return encoded


def encode_webp(
    pixels: NDArray[np.uint8], *, quality: int, method: int = DEFAULT_WEBP_METHOD
) -> bytes:
    """Encode pixels as a lossy WebP: a third smaller than a JPEG that looks the same.

    Alpha is lossless.

    Args:
        pixels: Shape (h, w, 3) RGB or (h, w, 4) RGBA uint8.
        quality: 0 to 100.
        method: 0, fast, to 6, small.

    Raises:
        InputError: When shape or dtype are others, there is no pixel, or a side is longer
            than the 16,383 pixels that WebP can hold.

    Examples:
        >>> encode_webp(np.zeros((4, 6, 3), np.uint8), quality=60)[8:12]
        b'WEBP'
    """
    _require_pixels(pixels, (3, 4))
    _require_side(pixels, "a WebP", _MAX_WEBP_SIDE_PX)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "WEBP", quality=quality, method=method)
    return written.getvalue()


def encode_avif(pixels: NDArray[np.uint8], *, quality: int) -> bytes:
    """Encode pixels as a lossy AVIF with full chroma; alpha is lossless.

    Args:
        pixels: Shape (h, w, 3) RGB or (h, w, 4) RGBA uint8.
        quality: 0 to 100.

    Raises:
        InputError: When shape or dtype are others, there is no pixel, or a side is longer
            than the 65,535 pixels that AVIF can hold.

    Examples:
        >>> encode_avif(np.zeros((4, 6, 4), np.uint8), quality=60)[4:12]
        b'ftypavif'
    """
    _require_pixels(pixels, (3, 4))
    _require_side(pixels, "an AVIF", _MAX_AVIF_SIDE_PX)
    written = io.BytesIO()
    # OpenCV takes four tenths of the time, but spoils alpha by 50 levels (`benchmarks.encode`).
    Image.fromarray(pixels).save(
        written,
        "AVIF",
        quality=quality,
        subsampling="4:4:4",
        speed=_AVIF_SPEED,
        max_threads=1,  # the crops of a photo are encoded side by side
        codec="aom",
        advanced={"alpha:lossless": "1"},
    )
    return written.getvalue()


def _filter_up(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row as its difference to the row above, behind the byte that names this filter."""
    rows = pixels.reshape(len(pixels), -1)
    filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _PNG_FILTER_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the format has it
    return filtered


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))


def _require_pixels(pixels: NDArray[np.uint8], channels: tuple[int, ...]) -> None:
    dimensions = 3
    if (
        pixels.ndim != dimensions
        or pixels.shape[2] not in channels
        or pixels.size == 0
        or pixels.dtype != np.uint8
    ):
        allowed = " or ".join(map(str, channels))
        raise InputError(
            f"pixels must be (h, w, {allowed}) uint8 with at least one pixel, "
            f"got {pixels.shape} {pixels.dtype}"
        )


def _require_side(pixels: NDArray[np.uint8], kind: str, max_side_px: int) -> None:
    height, width = pixels.shape[:2]
    if max(height, width) > max_side_px:
        raise InputError(
            f"{kind} holds at most {max_side_px} pixels a side, got {width}x{height}: use PNG"
        )

"""Masks as bytes: packed bits for the store; COCO RLE, PNG and base64 for the edges."""

import base64
import binascii
import io
import struct
import zlib
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from segpipe.digests import bytes_digest
from segpipe.errors import InputError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.encode import encode_png
from segpipe.vision.image import DEFAULT_MAX_PIXELS
from segpipe.vision.mask import Mask

_BYTE_BITS = 8
_PNG_INSIDE = 255

# COCO RLE writes each number in groups of 5 bits, lowest first, the sign in the last group's
# highest bit, as characters from "0" on; a further bit says that another group follows. See
# https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c (rleToString).
_GROUP_BITS = 5
_GROUP_VALUE = 0x1F
_GROUP_SIGN = 0x10
_GROUP_MORE = 0x20
_GROUP_ALL = 0x3F
_FIRST_CHAR = 48
_MAX_GROUPS = 7  # 35 bits hold the difference of any two 32-bit counts


class CocoRle(TypedDict):
    """A mask as COCO's compressed run-length encoding, as pycocotools writes it."""

    size: list[int]
    """[image height, image width]."""
    counts: bytes
    """Lengths of runs of 0, 1, 0, … down the columns of the full image, as ASCII."""


def pack_bits(mask: Mask) -> bytes:
    """The bitmap row after row, 8 pixels a byte, highest bit first, 0 at the end."""
    return mask.packed()


def unpack_bits(
    data: bytes,
    *,
    x: int,
    y: int,
    width: int,
    height: int,
    image_width: int,
    image_height: int,
) -> Mask:
    """The mask of what :func:`pack_bits` wrote, and where its bitmap lies.

    Raises:
        InputError: The data is not that of a bitmap of this size, or the bitmap does not lie
            inside the image.
    """
    area = max(width, 0) * max(height, 0)
    expected = -(-area // _BYTE_BITS)
    if min(width, height) < 0 or len(data) != expected:
        raise InputError(
            f"packed bits of a {width} x {height} bitmap take {expected} bytes, got {len(data)}",
            field="data",
        )
    flat = np.unpackbits(np.frombuffer(data, np.uint8))
    if flat[area:].any():
        raise InputError("packed bits must end in 0 after the last pixel", field="data")
    return Mask(x, y, flat[:area].reshape(height, width), image_width, image_height)


def mask_digest(mask: Mask) -> str:
    """The sha256 of a mask's pixels and of where they lie, equal for equal ones, 64 hex digits.

    It is that of ``x y width height`` of the smallest bitmap, a line break, and the bits of that
    bitmap as :func:`pack_bits` gives them. The size of the image is no part of it.

    Examples:
        >>> from segpipe.vision.boxes import Box
        >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
        >>> mask_digest(mask) == mask_digest(Mask.from_full(mask.to_full()))
        True
    """
    tight = mask.tight()
    height, width = tight.bits.shape
    return bytes_digest(f"{tight.x} {tight.y} {width} {height}\n".encode() + pack_bits(tight))


def to_coco_rle(mask: Mask) -> CocoRle:
    """The full image's COCO RLE: the bytes that pycocotools' ``encode`` gives.

    Examples:
        >>> from segpipe.vision.boxes import Box
        >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
        >>> rle = to_coco_rle(mask)
        >>> rle
        {'size': [6, 8], 'counts': b'...'}
        >>> from_coco_rle(rle).area
        8
    """
    height, width = mask.image_height, mask.image_width
    edges = _column_edges(mask)
    counts = np.diff(edges, prepend=0, append=height * width)
    if edges.size and edges[-1] == height * width:
        counts = counts[:-1]
    return {"size": [height, width], "counts": _write_counts(counts)}


def from_coco_rle(rle: CocoRle, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Mask:
    """The tight mask of a COCO RLE.

    Args:
        rle: Compressed, as :func:`to_coco_rle` and pycocotools write it.
        max_pixels: The largest image that is accepted.

    Raises:
        InputError: The RLE is malformed, or its runs do not fill its image.
    """
    height, width = _image_size(rle, max_pixels=max_pixels)
    edges = np.cumsum(_read_counts(rle.get("counts")))
    if edges.size == 0 or edges[-1] != height * width:
        raise InputError(
            f"the runs of a COCO RLE must fill its {width} x {height} image", field="counts"
        )
    starts, ends = edges[:-1:2], edges[1::2]
    filled = starts < ends
    if not filled.any():
        return Mask.empty(image_width=width, image_height=height)
    first_column, first_row = np.divmod(starts[filled], height)
    last_column, last_row = np.divmod(ends[filled] - 1, height)

    # The window: whole columns, narrowed to the rows in use unless a run wraps over an edge.
    x1, x2 = int(first_column[0]), int(last_column[-1]) + 1
    y1, y2 = 0, height
    if np.array_equal(first_column, last_column):
        y1, y2 = int(first_row.min()), int(last_row.max()) + 1

    # The same runs down the columns of the window.
    rows, columns = y2 - y1, x2 - x1
    first = (first_column - x1) * rows + first_row - y1
    last = (last_column - x1) * rows + last_row - y1
    edges = np.stack([first, last + 1], axis=1).ravel()
    runs = np.diff(edges, prepend=0, append=rows * columns)
    pixels = np.repeat(np.resize(np.array([0, 1], np.uint8), runs.size), runs)
    bits = np.ascontiguousarray(pixels.reshape(columns, rows).T)
    return Mask(x1, y1, bits, width, height)


def to_png(mask: Mask) -> bytes:
    """A PNG of the full image: one channel, 8 bits, 0 outside and 255 inside."""
    _, png = cv2.imencode(".png", mask.to_full() * np.uint8(_PNG_INSIDE))
    return png.tobytes()


def window_to_png(mask: Mask, window: PixelWindow) -> bytes:
    """The same of a part of the image, as files have it: faster, and somewhat larger.

    Raises:
        InputError: The window has no pixel.

    Examples:
        >>> from segpipe.vision.boxes import Box
        >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
        >>> from_png(window_to_png(mask, PixelWindow(1, 1, 8, 6))).box
        Box(x1=1.0, y1=0.0, x2=5.0, y2=2.0)
    """
    return encode_png((mask.crop_to(*window) * np.uint8(_PNG_INSIDE))[..., None])


def from_png(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Mask:
    """The tight mask of a PNG of the full image: one channel, 0 and 255, or 1 bit a pixel.

    Raises:
        InputError: It is no whole PNG, another kind of PNG, has grey values, or has more than
            ``max_pixels`` pixels.
    """
    full = _read_png(data, max_pixels=max_pixels)
    inside = full == _PNG_INSIDE
    if not np.array_equal(inside, full != 0):
        raise InputError("a mask PNG holds 0 and 255 only; threshold it first", field="data")
    return Mask.from_full(inside)


def to_base64(mask: Mask) -> str:
    """:func:`to_png` in base64, as JSON carries it.

    Examples:
        >>> from segpipe.vision.boxes import Box
        >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
        >>> from_base64(to_base64(mask)).box
        Box(x1=2.0, y1=1.0, x2=6.0, y2=3.0)
    """
    return base64.b64encode(to_png(mask)).decode("ascii")


def from_base64(text: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Mask:
    """The mask of what :func:`to_base64` wrote.

    Raises:
        InputError: It is no base64, or :func:`from_png` refuses what is inside.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"a mask's base64 cannot be decoded: {error}", field="text") from error
    return from_png(data, max_pixels=max_pixels)


def _column_edges(mask: Mask) -> NDArray[np.int64]:
    """Where runs start and end, in turn, down the columns of the full image."""
    rows, columns = mask.bits.shape
    bordered = np.zeros((columns, rows + 2), np.int8)
    bordered[:, 1:-1] = mask.bits.T
    column, row = np.divmod(np.flatnonzero(np.diff(bordered, axis=1)), rows + 1)
    edges = (mask.x + column) * mask.image_height + mask.y + row
    # A run that ends at the bottom of the image goes on if the next column starts inside.
    goes_on = np.zeros(edges.shape, np.bool_)
    goes_on[1:-1:2] = edges[1:-1:2] == edges[2::2]
    goes_on[2::2] = goes_on[1:-1:2]
    return edges[~goes_on]


def _write_counts(counts: NDArray[np.int64]) -> bytes:
    """Counts as characters; from the fourth on, the difference to the last of its kind."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = values[:, None] >> (_GROUP_BITS * np.arange(_MAX_GROUPS))
    low = groups & _GROUP_VALUE
    rest = groups >> _GROUP_BITS
    more = rest != np.where(low & _GROUP_SIGN, -1, 0)
    used = np.ones(groups.shape, np.bool_)
    used[:, 1:] = more[:, :-1]
    characters: NDArray[np.int64] = low + more * _GROUP_MORE + _FIRST_CHAR
    return characters[used].astype(np.uint8).tobytes()


def _read_counts(counts: bytes | None) -> NDArray[np.int64]:
    """The inverse of :func:`_write_counts`."""
    if not isinstance(counts, bytes):
        raise InputError(
            f"the counts of a COCO RLE must be bytes, got {type(counts).__name__}", field="counts"
        )
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - _FIRST_CHAR
    if ((codes < 0) | (codes > _GROUP_ALL)).any():
        raise InputError("the counts of a COCO RLE hold a character of no meaning", field="counts")
    ends = np.flatnonzero((codes & _GROUP_MORE) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))[: ends.size]
    lengths = ends - starts + 1
    if ends.size == 0 or ends[-1] != codes.size - 1 or lengths.max() > _MAX_GROUPS:
        raise InputError("the counts of a COCO RLE are cut off or too long", field="counts")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & _GROUP_VALUE) << (_GROUP_BITS * place), starts)
    values -= ((codes[ends] & _GROUP_SIGN) != 0) * (1 << (_GROUP_BITS * lengths))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if (values < 0).any():
        raise InputError("the counts of a COCO RLE hold a negative run", field="counts")
    return values


def _image_size(rle: CocoRle, *, max_pixels: int) -> tuple[int, int]:
    size = rle.get("size")
    match size:
        case [int(height), int(width)] if min(height, width) > 0:
            _check_pixels(width, height, max_pixels=max_pixels)
            return height, width
    raise InputError(f"the size of a COCO RLE must be [height, width], got {size}", field="size")


def _read_png(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    try:
        png = PngImageFile(io.BytesIO(data))
        _check_pixels(*png.size, max_pixels=max_pixels)
        if png.mode not in {"1", "L"}:
            raise InputError(f"a mask PNG has one channel of 0 and 255, not {png.mode}")
        # Only verify() compares the checksums, and it leaves the picture unusable.
        png.verify()
        return np.asarray(PngImageFile(io.BytesIO(data)).convert("L"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"a mask's PNG cannot be decoded: {error}", field="data") from error


def _check_pixels(width: int, height: int, *, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"a mask of {width} x {height} has more than {max_pixels} pixels", field="size"
        )

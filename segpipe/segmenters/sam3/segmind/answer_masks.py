"""Pictures of masks, in base64 or as they are, to what is inside."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import InputError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image_formats import (
    announced_sizes,
    find_format,
    open_header,
    strict_pillow,
)
from segpipe.vision.mask import Bitmap, Mask
from segpipe.vision.mask_codecs import CocoRle, from_coco_rle

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
class SentPhoto:
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


def read_picture(data: bytes, photo: SentPhoto, *, must_be_mask: bool = False) -> Bitmap:
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


def check_size(width: int, height: int, photo: SentPhoto) -> None:
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


_FEWEST_CORNERS = 3
_MOST_CORNERS = 100_000
_MOST_POLYGONS = 1_000
_FARTHEST = 16.0  # longer sides of the photo that a corner may lie away
_LONGEST_SIDE = 1_000_000  # of an RLE
_DEEPEST = 4  # objects that only hold a mask, one in another
_WRAPPERS = ("mask", "rle", "segmentation", "polygon", "polygons", "png", "data")


def read_mask(value: object, photo: SentPhoto) -> Mask:
    """The tight mask of the photo that a value of the answer describes.

    It may be a picture in base64, with a data URL's prefix or without; COCO RLE, compressed or
    not; polygons in pixels of the upload; or an object that holds one of these.

    Raises:
        NotUnderstoodError: It is none of these, damaged, larger than the photo, or of a shape
            that the photo does not have.
    """
    match _unwrap(value):
        case str() as text:
            return _full_size(Mask.from_full(read_picture(decode_base64(text), photo)), photo)
        case {"counts": counts, "size": [int(height), int(width)]}:
            return _full_size(_read_rle(counts, height, width, photo), photo)
        case list() as polygons:
            return _fill(polygons, photo)
    raise NotUnderstoodError("a mask is neither a picture, nor RLE, nor polygons")


def _unwrap(value: object) -> object:
    """What objects hold that have a mask and no counts of their own."""
    for _ in range(_DEEPEST):
        if not isinstance(value, dict) or "counts" in value:
            break
        held = [value[name] for name in _WRAPPERS if name in value]
        if len(held) != 1:
            break
        value = held[0]
    return value


def read_parts(data: bytes, photo: SentPhoto, most: int) -> tuple[list[Mask], int]:
    """The connected parts (8 neighbours) of a picture of one combined mask.

    Returns:
        The tight masks of the ``most`` largest, the largest first, and how many there are in all.

    Raises:
        NotUnderstoodError: The picture is damaged, is no mask, or does not fit the photo.
    """
    inside = read_picture(data, photo, must_be_mask=True)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    height, width = inside.shape
    masks = []
    for index in np.argsort(-areas, kind="stable")[:most] + 1:
        x, y, w, h = (int(value) for value in stats[index, : cv2.CC_STAT_AREA])
        bits = (parts[y : y + h, x : x + w] == index).astype(np.uint8)
        masks.append(_full_size(Mask(x, y, bits, width, height), photo))
    return masks, count - 1


def _read_rle(counts: object, height: int, width: int, photo: SentPhoto) -> Mask:
    if not (1 <= height <= _LONGEST_SIDE and 1 <= width <= _LONGEST_SIDE):
        raise NotUnderstoodError("an RLE has a size that no picture has")
    check_size(width, height, photo)
    match counts:
        case str() if counts.isascii():
            try:
                rle = CocoRle(size=[height, width], counts=counts.encode("ascii"))
                return from_coco_rle(rle, max_pixels=width * height)
            except InputError as error:
                raise NotUnderstoodError(error.message) from error
        case list() if all(type(run) is int and 0 <= run <= width * height for run in counts):
            if sum(counts) != width * height:
                raise NotUnderstoodError(f"the runs of an RLE do not fill its {width} x {height}")
            columns = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
            return Mask.from_full(columns.reshape(width, height).T)
    raise NotUnderstoodError("the counts of an RLE are neither a text nor whole numbers")


def _fill(value: list[object], photo: SentPhoto) -> Mask:
    """The union of polygons in pixels of the upload, drawn at the photo's size."""
    scale = np.array([photo.width / photo.upload_width, photo.height / photo.upload_height])
    polygons = [polygon * scale for polygon in islice(_polygons(value), _MOST_POLYGONS + 1)]
    if len(polygons) > _MOST_POLYGONS:
        raise NotUnderstoodError(f"a mask has more than {_MOST_POLYGONS} polygons")
    if not polygons:
        return Mask.empty(image_width=photo.width, image_height=photo.height)
    corners = np.concatenate(polygons)
    if not (np.abs(corners) <= _FARTHEST * max(photo.width, photo.height)).all():
        raise NotUnderstoodError("a polygon has a corner far outside the photo")
    image = PixelWindow(0, 0, photo.width, photo.height)
    (x1, y1), (x2, y2) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    window = PixelWindow(int(x1), int(y1), int(x2), int(y2)).intersect(image)
    if window.is_empty:
        return Mask.empty(image_width=photo.width, image_height=photo.height)
    bits = np.zeros((window.height, window.width), np.uint8)
    for polygon in polygons:
        # Corners are on the lines between pixels; OpenCV counts from the middle of the first.
        pixels = np.round(polygon - (window.x1, window.y1) - 0.5).astype(np.int32)
        cv2.fillPoly(bits, [pixels], (1,))
    return Mask(window.x1, window.y1, bits, photo.width, photo.height).tight()


def _polygons(value: list[object]) -> Iterator[NDArray[np.float64]]:
    """Each polygon as (n, 2): [[x, y], …], [x, y, x, y, …], or a list of such."""
    for polygon in value if _is_nested(value) else [value]:
        try:
            corners = np.asarray(polygon, dtype=np.float64)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotUnderstoodError("a polygon is no list of numbers") from error
        if corners.size == 0:
            continue
        if corners.size % 2 or (corners.ndim != 1 and corners.shape[1:] != (2,)):
            raise NotUnderstoodError("a polygon is no list of x and y")
        corners = corners.reshape(-1, 2)
        if not _FEWEST_CORNERS <= len(corners) <= _MOST_CORNERS:
            raise NotUnderstoodError(f"a polygon has {len(corners)} corners")
        yield corners


def _is_nested(value: Iterable[object]) -> bool:
    """Whether it is a list of polygons, and not the corners or numbers of a single one."""
    return all(
        isinstance(part, list) and (len(part) > len("xy") or isinstance(part[0], list))
        for part in value
        if part != []
    )


def _full_size(mask: Mask, photo: SentPhoto) -> Mask:
    """A mask at the photo's size, interpolated between its pixels, box by box."""
    width, height = photo.width, photo.height
    tight = mask.tight()
    if tight.is_empty:
        return Mask.empty(image_width=width, image_height=height)
    if (mask.image_width, mask.image_height) == (width, height):
        return tight
    across, down = width / mask.image_width, height / mask.image_height
    source = PixelWindow(0, 0, mask.image_width, mask.image_height).intersect(
        PixelWindow(tight.x - 1, tight.y - 1, tight.window.x2 + 1, tight.window.y2 + 1)
    )
    target = PixelWindow(
        int(source.x1 * across),
        int(source.y1 * down),
        min(width, int(np.ceil(source.x2 * across))),
        min(height, int(np.ceil(source.y2 * down))),
    )
    # Middle of a target pixel to where it lies among the middles of the source's pixels.
    to_source = np.array(
        [
            [1 / across, 0, (target.x1 + 0.5) / across - 0.5 - source.x1],
            [0, 1 / down, (target.y1 + 0.5) / down - 0.5 - source.y1],
        ]
    )
    soft = cv2.warpAffine(
        tight.crop_to(*source) * np.uint8(255),
        to_source,
        (target.width, target.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    bits = (soft >= INSIDE_FROM).astype(np.uint8)
    return Mask(target.x1, target.y1, bits, width, height).tight()

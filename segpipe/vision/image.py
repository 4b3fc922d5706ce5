"""Photo bytes to an upright RGB array."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from segpipe.errors import (
    CorruptImageError,
    ImageTooLargeError,
    PhotoError,
    UnsupportedFormatError,
)
from segpipe.vision.colour import can_convert_in_place, convert_in_place, to_srgb
from segpipe.vision.exif import read_exif
from segpipe.vision.image_formats import (
    FORMATS,
    OpenPhoto,
    announced_sizes,
    find_format,
    open_photo,
    strict_pillow,
)
from segpipe.vision.jpeg_segments import JpegFile, read_jpeg, without_end_padding
from segpipe.vision.png_chunks import deep_alpha
from segpipe.vision.tiff_pages import camera_raw_name
from segpipe.vision.turn import ON_ITS_SIDE, TurningRoom, goes_in_strips, upright

RgbImage = NDArray[np.uint8]
"""Shape (h, w, 3), RGB, 0 to 255, upright."""

DEFAULT_MAX_PIXELS = 100_000_000
LARGEST_PX = 1_000_000_000
"""No photo has more pixels: a header that announces more is not believed, whatever is allowed."""
_MEGAPIXEL = 1_000_000

_JPEG_COLORSPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_RGB_BYTES = 3
_PEAK_BY_FORMAT = {"GIF": 5, "WEBP": 16.5, "AVIF": 10, "HEIF": 7.8}
_PEAK_BY_MODE = {"1": 5, "L": 5, "P": 6, "I;16": 7, "RGB": 7.5, "RGBA": 9, "CMYK": 10, "F": 37}
"""Bytes a pixel while it is decoded: Pillow's picture, its parts on their way, and the result."""
_PEAK_OF_OTHER_MODES = 37
_DEEP_ALPHA_BYTES = 12
_STRIP_BYTES = 0.5
"""Bytes a pixel of a large photo, of the strips in which it is turned."""
_WHITE_INK = 255
"""A CMYK JPEG holds 255 for no ink (Adobe's convention, which every browser follows)."""

_HARMLESS_TO_JPEG_PIXELS = (
    "Invalid SOS parameters for sequential JPEG",
    "Unknown Adobe color transform code",
)
"""Complaints of libjpeg (jerror.h) about headers only; phones do write such files. simplejpeg
passes on the last complaint, and any about pixels comes after these."""

_SURPLUS_BYTES = "extraneous bytes before marker"
"""The complaint about padding, which phones, drones and webcams write, and at times all that is
heard of a missing piece: without the padding, the second cannot be taken for the first."""

_ODD_SUBSAMPLING = "Could not determine subsampling"
"""What TurboJPEG says of sound files whose colours are subsampled in a way it has no name for."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A decoded photo.

    Attributes:
        rgb: The upright picture.
        format: The format found in the bytes, as Pillow names it: "JPEG", "PNG", "HEIF", …
        warnings: What was given up on the way, in words for people, such as
            "animated: only the first of 12 frames is used".
        alpha: Shape (h, w) uint8, upright, 0 where the photo is transparent; None for a photo
            that is opaque throughout, as most are.
    """

    rgb: RgbImage
    format: str
    warnings: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = None


def decode_image(data: bytes, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> DecodedImage:
    """Decode a photo whole: upright, sRGB, on white where it is transparent.

    Formats are told by the bytes alone: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and HEIC (HEIF).
    The array is (h, w, 3) uint8, C-contiguous and writable.

    EXIF orientation is applied once. Colours go to sRGB, from what an ICC profile, code points
    (cICP, nclx) or a PNG's gamma say. Samples of 9 to 16 bits are scaled to 8. Floats of 0 to 1
    are scaled as they are; floats of any other range and 32-bit integers have no agreed white, so
    their smallest to largest value becomes 0 to 255, with a warning. Of several frames or pages
    only the first (of a HEIF or TIFF file, the main one) is used, with a warning.

    Damage to what concerns no pixel (a text, a preview, a colour profile) is a warning; damage to
    pixels is an error.

    Args:
        data: The whole file.
        max_pixels: Most pixels, width times height, that the header may announce; checked
            before any pixel is decoded or room for one is made. An AVIF or HEIC counts with
            its encoder's padding. None is for pictures of one's own: any size.

    Raises:
        UnsupportedFormatError: The bytes are none of these formats, or a camera's raw file.
        ImageTooLargeError: The header announces more than ``max_pixels``.
        CorruptImageError: The file is truncated, damaged, or of a variant that cannot be read.

    Examples:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (4, 3), "red").save(file, "PNG")
        >>> photo = decode_image(file.getvalue())
        >>> photo.format, photo.rgb.shape, photo.rgb[0, 0].tolist(), photo.warnings
        ('PNG', (3, 4, 3), [255, 0, 0], ())
    """
    name = _known_format(data)
    with _decoder_errors(name):
        decode = _decode_jpeg if name == "JPEG" else _decode_with_pillow
        return decode(data, name, max_pixels)


def upright_size(data: bytes, *, max_pixels: int | None = None) -> tuple[int, int]:
    """Width and height, pixels, of what :func:`decode_image` gives; takes the header alone.

    A file may be refused by :func:`decode_image` that has a size.

    Args:
        data: The whole file.
        max_pixels: As for :func:`decode_image`; no pixel is decoded here, so there is no limit
            unless one is set.

    Raises:
        UnsupportedFormatError: As :func:`decode_image`.
        ImageTooLargeError: As :func:`decode_image`.
        CorruptImageError: The header cannot be read.
    """
    name = _known_format(data)
    with _decoder_errors(name), strict_pillow():
        if name == "GIF":  # it has no EXIF, and its reader makes room for the pixels
            ((width, height),) = announced_sizes(data, name)
            _check_size(width, height, max_pixels)
            return width, height
        photo = _open_within(data, name, max_pixels).header
        width, height = photo.size
        # Pillow gives a TIFF's size as of upright, and its EXIF as of the file until it is loaded.
        orientation = 1 if name == "TIFF" else read_exif(photo, has_profile=True)[0]
    return (height, width) if orientation in ON_ITS_SIDE else (width, height)


def decoding_bytes(data: bytes, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> int:
    """Memory, bytes, that :func:`decode_image` takes at its peak beside the file; by the header.

    An estimate from above: what ``python -m benchmarks.decode`` measures, rounded up.

    Args:
        data: The whole file.
        max_pixels: As for :func:`decode_image`.

    Raises:
        UnsupportedFormatError: As :func:`decode_image`.
        ImageTooLargeError: As :func:`decode_image`.
        CorruptImageError: The header cannot be read.
    """
    name = _known_format(data)
    with _decoder_errors(name), strict_pillow():
        if sizes := announced_sizes(data, name):  # where opening it takes memory already
            for width, height in sizes:
                _check_size(width, height, max_pixels)
            return round(max(map(math.prod, sizes)) * _PEAK_BY_FORMAT[name])
        photo = _open_within(data, name, max_pixels)
        header = photo.header
        orientation = read_exif(header, has_profile=True)[0]
        each_px = _PEAK_BY_MODE.get(header.mode, _PEAK_OF_OTHER_MODES)
        in_place = name == "JPEG" and header.mode == "RGB" and can_convert_in_place(photo.profile)
        if name == "JPEG" and header.mode == "RGB":
            each_px = _RGB_BYTES if in_place else _PEAK_BY_MODE["CMYK"]
        if name == "PNG" and header.mode == "RGB" and "transparency" in header.info:
            each_px += _DEEP_ALPHA_BYTES
        if orientation in ON_ITS_SIDE and name != "TIFF":
            each_px += _STRIP_BYTES if in_place and goes_in_strips(*header.size) else _RGB_BYTES
        return round(header.width * header.height * each_px)


def _known_format(data: bytes) -> str:
    raw = camera_raw_name(data)
    if raw is not None:
        kind = "" if raw == "raw" else f" (it is a {raw})"
        raise UnsupportedFormatError(
            f"this is a camera's raw file: export a JPEG from it, and give that{kind}"
        )
    name = find_format(data)
    if name is None:
        raise UnsupportedFormatError(
            f"{len(data)} bytes that are no image of a known format: give one of "
            f"{', '.join(FORMATS)}"
        )
    return name


@contextmanager
def _decoder_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on rubbish into a PhotoError."""
    try:
        yield
    except PhotoError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLargeError(
            f"this {name} file needs more memory than a photo may: {error}"
        ) from error
    except Exception as error:
        # Decoders raise nearly every built-in exception on damaged data; all mean the same here.
        raise CorruptImageError(
            f"this {name} file is truncated, damaged, or a variant that cannot be read ({error}): "
            "copy it again, or open it and save it as PNG"
        ) from error


def _decode_jpeg(data: bytes, name: str, max_pixels: int | None) -> DecodedImage:
    # Why simplejpeg: by `python -m benchmarks.decode` it is the fastest of the three, gives bit
    # for bit what Pillow gives, and is the only one to tell of pixels that are missing from a
    # file with a proper end. It knows no EXIF and no ICC, so Pillow reads the header.
    with strict_pillow():
        photo = _open_within(data, name, max_pixels)
        orientation, notes = read_exif(photo.header, has_profile=bool(photo.profile))
    mode, (width, height) = photo.header.mode, photo.header.size
    in_place = mode == "RGB" and can_convert_in_place(photo.profile)
    is_to_turn = in_place and orientation in ON_ITS_SIDE
    room = TurningRoom(width, height) if is_to_turn else None
    try:
        pixels, complaints = _jpeg_pixels(
            photo.jpeg or read_jpeg(data), _JPEG_COLORSPACES[mode], room.pixels if room else None
        )
    except ValueError as error:
        if _ODD_SUBSAMPLING not in str(error):
            raise
        return _decode_with_pillow(data, name, max_pixels)
    warnings = photo.notes + notes + complaints
    if in_place:
        convert_in_place(pixels, photo.profile)
        rgb = room.turn(orientation) if room else upright(pixels, orientation)
        return DecodedImage(rgb, name, warnings)
    picture = Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=mode)
    srgb = to_srgb(picture, photo.profile)
    return DecodedImage(upright(srgb.rgb, orientation), name, warnings + srgb.notes)


def _jpeg_pixels(
    jpeg: JpegFile, colorspace: str, room: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The samples, (h, w, 1, 3 or 4) uint8, in the room if there is one; CMYK as ink amounts."""
    warnings: tuple[str, ...] = ()
    try:
        pixels = simplejpeg.decode_jpeg(jpeg.data, colorspace=colorspace, buffer=room)
    except ValueError as error:
        complaint = str(error)
        if _SURPLUS_BYTES in complaint and (unpadded := without_end_padding(jpeg)) != jpeg.data:
            return _jpeg_pixels(jpeg._replace(data=unpadded), colorspace, room)
        if not any(harmless in complaint for harmless in _HARMLESS_TO_JPEG_PIXELS):
            raise
        warnings = (f"odd JPEG header: {complaint}",)
        pixels = simplejpeg.decode_jpeg(jpeg.data, colorspace=colorspace, buffer=room, strict=False)
    if colorspace == "CMYK":
        np.subtract(_WHITE_INK, pixels, out=pixels)
    return pixels, warnings


def _decode_with_pillow(data: bytes, name: str, max_pixels: int | None) -> DecodedImage:
    with strict_pillow():
        photo = _open_within(data, name, max_pixels)
        picture = photo.header
        picture.load()
        # Only now: a TIFF is upright once loaded.
        orientation, notes = read_exif(picture, has_profile=bool(photo.profile))
        srgb = to_srgb(_with_true_alpha(picture, photo), photo.profile)
    alpha = None if srgb.alpha is None else upright(srgb.alpha, orientation)
    warnings = _left_out(photo.frames, name) + photo.notes + notes + srgb.notes
    return DecodedImage(upright(srgb.rgb, orientation), name, warnings, alpha)


def _with_true_alpha(picture: ImageFile, photo: OpenPhoto) -> Image.Image:
    """The loaded picture with the alpha that its file means, where Pillow reads another."""
    if picture.format == "BMP" and picture.mode == "RGBA":
        # Writers leave the fourth byte 0, and mean an opaque picture.
        return picture if picture.getchannel("A").getextrema()[1] else picture.convert("RGB")
    if picture.format == "PNG" and (alpha := deep_alpha(photo.data)) is not None:
        picture.info.pop("transparency", None)
        with_alpha = picture.convert("RGBA")
        with_alpha.putalpha(Image.fromarray(alpha))
        return with_alpha
    return picture


def _open_within(data: bytes, name: str, max_pixels: int | None) -> OpenPhoto:
    """Read the header, and refuse a size above the limit."""
    for width, height in announced_sizes(data, name):
        _check_size(width, height, max_pixels)
    photo = open_photo(data, name)
    _check_size(photo.header.width, photo.header.height, max_pixels)
    return photo


def _check_size(width: int, height: int, max_pixels: int | None) -> None:
    if max_pixels is None or width * height <= max_pixels:
        return
    remedy = f"make the photo smaller, or set max_megapixels to {-(-width * height // _MEGAPIXEL)}"
    if width * height > LARGEST_PX:
        remedy = "no photo is that large, copy it again"
    raise ImageTooLargeError(
        f"{width} x {height} pixels are more than the limit of {max_pixels:,} pixels: {remedy}"
    )


def _left_out(frames: int, name: str) -> tuple[str, ...]:
    if frames <= 1:
        return ()
    if name in {"TIFF", "HEIF"}:
        return (f"{frames} pictures in one file: only the main one is used",)
    return (f"animated: only the first of {frames} frames is used",)

"""Photo bytes to an upright RGB array."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from segpipe.errors import (
    CorruptImageError,
    ImageTooLargeError,
    PhotoError,
    UnsupportedFormatError,
)
from segpipe.vision.colour import needs_conversion, to_srgb
from segpipe.vision.image_formats import (
    FORMATS,
    announced_sizes,
    find_format,
    open_header,
    strict_pillow,
    without_jpeg_padding,
)

RgbImage = NDArray[np.uint8]
"""Shape (h, w, 3), RGB, 0 to 255, upright."""

DEFAULT_MAX_PIXELS = 100_000_000

_JPEG_COLORSPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_WHITE_INK = 255
"""A CMYK JPEG holds 255 for no ink (Adobe's convention, which every browser follows)."""

_TURNS: dict[int, Callable[[RgbImage], Any]] = {
    2: partial(cv2.flip, flipCode=1),
    3: partial(cv2.rotate, rotateCode=cv2.ROTATE_180),
    4: partial(cv2.flip, flipCode=0),
    5: cv2.transpose,
    6: partial(cv2.rotate, rotateCode=cv2.ROTATE_90_CLOCKWISE),
    7: lambda rgb: cv2.rotate(cv2.transpose(rgb), cv2.ROTATE_180),
    8: partial(cv2.rotate, rotateCode=cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""EXIF orientation to what makes it upright (EXIF 3.0, tag 0x0112); 1 and nonsense need nothing."""

_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
"""The EXIF orientations whose turn swaps width and height."""

_EXIF_LOST = ("EXIF data without a readable tag: the photo may lie on its side",)

_NO_PROFILE = (
    "EXIF names Adobe RGB, but there is no colour profile: read as sRGB, colours may look dull",
)
_EXIF_ADOBE_RGB = 2
"""ColorSpace of cameras that do not keep to EXIF, which knows 1 (sRGB) and 65535 alone."""
_DCF_OPTION_FILE = "R03"
"""InteroperabilityIndex of an Adobe RGB photo (DCF 2.0, JEITA CP-3461B)."""

_HARMLESS_TO_JPEG_PIXELS = (
    "Invalid SOS parameters for sequential JPEG",
    "unknown JFIF revision number",
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
    """

    rgb: RgbImage
    format: str
    warnings: tuple[str, ...] = ()


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> DecodedImage:
    """Decode a photo whole: upright, sRGB, on white where it is transparent.

    Formats are told by the bytes alone: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and HEIC (HEIF).
    The array is (h, w, 3) uint8, C-contiguous and writable.

    EXIF orientation is applied once. Colours go through the ICC profile to sRGB unless they are
    sRGB already. Samples of 9 to 16 bits are scaled to 8. Floats of 0 to 1 are scaled as they
    are; floats of any other range and 32-bit integers have no agreed white, so their smallest
    to largest value becomes 0 to 255, with a warning. Of several frames or pages only the
    first (of a HEIF file, the main one) is used, with a warning.

    Args:
        data: The whole file.
        max_pixels: Most pixels, width times height, that the header may announce; checked
            before any pixel is decoded or room for one is made. An AVIF or HEIC counts with
            its encoder's padding. Pillow refuses a TIFF, WebP or GIF of more than 178 million
            pixels whatever is set here.

    Raises:
        UnsupportedFormatError: The bytes are none of these formats.
        ImageTooLargeError: The header announces more than ``max_pixels``.
        CorruptImageError: The file is truncated, damaged, or of a variant that cannot be read.
    """
    name = _known_format(data)
    with _decoder_errors(name):
        decode = _decode_jpeg if name == "JPEG" else _decode_with_pillow
        rgb, warnings = decode(data, name, max_pixels)
    return DecodedImage(rgb=rgb, format=name, warnings=warnings)


def upright_size(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Width and height, pixels, of what :func:`decode_image` gives; takes the header alone.

    But for a PNG, whose pixels have to be gone through to find its EXIF. A file may be refused by
    :func:`decode_image` that has a size.

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
        photo = _open_within(data, name, max_pixels)
        if name == "PNG":
            photo.load()
        width, height = photo.size
        # Pillow gives a TIFF's size as of upright, and its EXIF as of the file until it is loaded.
        orientation = 1 if name == "TIFF" else _read_exif(photo)[0]
    return (height, width) if orientation in _ON_ITS_SIDE else (width, height)


def _known_format(data: bytes) -> str:
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


def _decode_jpeg(data: bytes, name: str, max_pixels: int) -> tuple[RgbImage, tuple[str, ...]]:
    # Why simplejpeg: by `python -m benchmarks.decode` it is the fastest of the three, gives bit
    # for bit what Pillow gives, and is the only one to tell of pixels that are missing from a
    # file with a proper end. It knows no EXIF and no ICC, so Pillow reads the header.
    with strict_pillow():
        header = _open_within(data, name, max_pixels)
        profile = header.info.get("icc_profile")
        orientation, warnings = _read_exif(header)
    try:
        pixels, complaints = _jpeg_pixels(data, _JPEG_COLORSPACES[header.mode])
    except ValueError as error:
        if _ODD_SUBSAMPLING not in str(error):
            raise
        return _decode_with_pillow(data, name, max_pixels)
    warnings += complaints
    if header.mode == "RGB" and not needs_conversion(profile):
        return _upright(pixels, orientation), warnings
    samples = pixels[:, :, 0] if header.mode == "L" else pixels
    picture = Image.fromarray(samples, mode=header.mode)
    rgb, notes = to_srgb(picture, profile)
    return _upright(rgb, orientation), warnings + notes


def _jpeg_pixels(data: bytes, colorspace: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The samples, (h, w, 1, 3 or 4) uint8, with CMYK as amounts of ink."""
    warnings: tuple[str, ...] = ()
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace=colorspace)
    except ValueError as error:
        complaint = str(error)
        if _SURPLUS_BYTES in complaint and (unpadded := without_jpeg_padding(data)) != data:
            return _jpeg_pixels(unpadded, colorspace)
        if not any(harmless in complaint for harmless in _HARMLESS_TO_JPEG_PIXELS):
            raise
        warnings = (f"odd JPEG header: {complaint}",)
        pixels = simplejpeg.decode_jpeg(data, colorspace=colorspace, strict=False)
    if colorspace == "CMYK":
        pixels = _WHITE_INK - pixels
    return pixels, warnings


def _decode_with_pillow(
    data: bytes, name: str, max_pixels: int
) -> tuple[RgbImage, tuple[str, ...]]:
    with strict_pillow():
        photo = _open_within(data, name, max_pixels)
        warnings = _left_out(photo, name)
        photo.load()
        # Only now: a PNG may hold its EXIF after its pixels, and a TIFF is upright once loaded.
        orientation, notes = _read_exif(photo)
        rgb, colour_notes = to_srgb(photo, photo.info.get("icc_profile"))
    return _upright(rgb, orientation), warnings + notes + colour_notes


def _open_within(data: bytes, name: str, max_pixels: int) -> ImageFile:
    """Read the header, and refuse a size above the limit."""
    for width, height in announced_sizes(data, name):
        _check_size(width, height, max_pixels)
    header = open_header(data, name)
    _check_size(header.width, header.height, max_pixels)
    return header


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels are more than the limit of {max_pixels:,} pixels: "
            "make the photo smaller, or raise the limit"
        )


def _left_out(photo: ImageFile, name: str) -> tuple[str, ...]:
    frames = getattr(photo, "n_frames", 1)
    if frames == 1:
        return ()
    if name in {"TIFF", "HEIF"}:
        return (f"{frames} pictures in one file: only the main one is used",)
    return (f"animated: only the first of {frames} frames is used",)


def _read_exif(photo: ImageFile) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation still to be applied, and what EXIF warns of.

    It is 1, upright, already where the file or library turned the picture (TIFF, HEIF), and
    Pillow translates AVIF's own rotation into it.
    """
    try:
        exif = photo.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        is_adobe_rgb = _names_adobe_rgb(exif)
    except Exception:  # noqa: BLE001 - as with pixels, damaged EXIF raises anything
        return 1, _EXIF_LOST
    if photo.info.get("exif") and not exif:
        return orientation, _EXIF_LOST
    has_profile = bool(photo.info.get("icc_profile"))
    return orientation, _NO_PROFILE if is_adobe_rgb and not has_profile else ()


def _names_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether EXIF names Adobe RGB, by DCF's option file or as some cameras do on their own."""
    space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
    rule = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    return space == _EXIF_ADOBE_RGB or rule == _DCF_OPTION_FILE


def _upright(rgb: RgbImage, orientation: int) -> RgbImage:
    # OpenCV copies turned pixels five times as fast as a strided NumPy copy.
    turn = _TURNS.get(orientation)
    return rgb if turn is None else turn(rgb)

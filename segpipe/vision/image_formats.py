"""The image formats that are opened, how each is recognised, and the header of a file."""

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from segpipe.errors import CorruptImageError
from segpipe.vision.colour_codes import CodedColours, coded_colours
from segpipe.vision.jpeg_segments import JpegFile, read_jpeg
from segpipe.vision.png_chunks import read_png
from segpipe.vision.tiff_pages import read_tiff

# Naming the classes, rather than calling Image.open, is the whitelist: no other parser of Pillow
# can be reached.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "AVIF": AvifImageFile,
    "HEIF": HeifImageFile,
}
FORMATS = tuple(_READERS)

_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    # The size of the second header makes it more than two letters that any text may begin with.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_SPATIAL_EXTENT = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
_EXIF_ITEM = re.compile(rb"(infe\x02.{7})Exif", re.DOTALL)
"""ISO/IEC 14496-12, 8.11.6: the entry that says which item is EXIF."""
_BAD_EXIF = "Invalid Exif payload"
"""What libavif says of EXIF for which it refuses a photo."""
_BITS_PER_SAMPLE = 8
_SEPARATE_PLANES = 2
"""TIFF 6.0, PlanarConfiguration."""
_WEBP_SIDE = 0x3FFF
"""Fourteen bits: a side of a WebP picture (its canvas may be larger)."""
_NCLX = re.compile(rb"colrnclx(.{2})(.{2})", re.DOTALL)
"""ISO/IEC 14496-12, 12.1.5: code points of primaries and of the transfer function."""


class _PillowSettings:
    """Who needs Pillow to be strict, and how it gets back to what it was."""

    def __init__(self) -> None:
        self.changed = threading.Lock()
        self.threads = 0
        self.restore = ExitStack()


_pillow_settings = _PillowSettings()


def find_format(data: bytes) -> str | None:
    """Name the format that the first bytes announce, one of :data:`FORMATS`, or None."""
    for name, signature in _SIGNATURES:
        if signature.match(data):
            return name
    # An ISO media file lists what it complies with; "mif1" alone says neither AVIF nor HEIC.
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if not brands.isdisjoint(_AVIF_BRANDS):
            return "AVIF"
        if not brands.isdisjoint(_HEIF_BRANDS):
            return "HEIF"
    return None


def _brands(data: bytes) -> set[bytes]:
    """Major and compatible brands of the ``ftyp`` box (ISO/IEC 14496-12, 4.3)."""
    box = data[: int.from_bytes(data[:4], "big")]
    major, compatible = box[8:12], box[16:]
    return {major, *(compatible[i : i + 4] for i in range(0, len(compatible), 4))}


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Run Pillow without its warnings and its own limit, and with truncated files as errors.

    These are settings of the whole process: the first thread inside sets them, and the last one to
    leave puts back what was there.
    """
    with _pillow_settings.changed:
        _pillow_settings.threads += 1
        if _pillow_settings.threads == 1:
            _pillow_settings.restore = _make_pillow_strict()
    try:
        yield
    finally:
        with _pillow_settings.changed:
            _pillow_settings.threads -= 1
            if _pillow_settings.threads == 0:
                _pillow_settings.restore.close()


def _make_pillow_strict() -> ExitStack:
    restore = ExitStack()
    restore.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.MAX_IMAGE_PIXELS = None
    restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    return restore


class OpenPhoto(NamedTuple):
    """A photo of which the header is read, and no pixel decoded.

    Attributes:
        header: Pillow's picture.
        data: The file without what concerns no pixel and could refuse it.
        jpeg: The same, of a JPEG.
        profile: The ICC profile of its colours; None for sRGB, and where there is none.
        frames: Pictures in the file.
        notes: What was given up so far, in words.
    """

    header: ImageFile.ImageFile
    data: bytes
    jpeg: JpegFile | None
    profile: bytes | None
    frames: int
    notes: tuple[str, ...]


def open_photo(data: bytes, name: str) -> OpenPhoto:
    """Read the header of a file of the named format.

    What concerns no pixel (texts, previews, times, a colour profile) never refuses it.

    Raises:
        CorruptImageError: Damage in a PNG where it concerns pixels, or a TIFF that would be read
            wrongly.
        Exception: Anything that Pillow or pillow-heif raises on damaged data.
    """
    if name == "PNG":
        png = read_png(data)
        header = _READERS[name](io.BytesIO(png.data))
        return OpenPhoto(header, png.data, None, png.profile, png.frames, png.notes)
    if name == "JPEG":
        jpeg = read_jpeg(data)
        header = _READERS[name](io.BytesIO(jpeg.data))
        return OpenPhoto(header, jpeg.data, jpeg, jpeg.profile, 1, jpeg.notes)
    if name == "TIFF":
        tiff = read_tiff(data)
        header = _READERS[name](io.BytesIO(tiff.data))
        _refuse_misread(header)
        profile = header.info.get("icc_profile")
        return OpenPhoto(header, tiff.data, None, profile, tiff.pages, tiff.notes)
    notes: tuple[str, ...] = ()
    try:
        header = _READERS[name](io.BytesIO(data))
    except ValueError as error:
        if _BAD_EXIF not in str(error):
            raise
        data, notes = _EXIF_ITEM.sub(rb"\1free", data), ("EXIF data is damaged and left out",)
        header = _READERS[name](io.BytesIO(data))
    colours = _coded(header, data, name)
    frames = getattr(header, "n_frames", 1)
    return OpenPhoto(header, data, None, colours.profile, frames, notes + colours.notes)


def open_header(data: bytes, name: str) -> ImageFile.ImageFile:
    """Pillow's picture of :func:`open_photo`, which raises the same."""
    return open_photo(data, name).header


def _coded(header: ImageFile.ImageFile, data: bytes, name: str) -> CodedColours:
    """The colours of an AVIF or HEIF, which may name them by code points and not by a profile."""
    if header.info.get("icc_profile"):
        return CodedColours(header.info["icc_profile"], ())
    codes = None
    if name == "HEIF" and (nclx := header.info.get("nclx_profile")):
        codes = nclx["color_primaries"], nclx["transfer_characteristics"]
    elif name == "AVIF" and (found := _NCLX.search(data)):
        codes = int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big")
    if codes is None:
        return CodedColours(None, ())
    return coded_colours(primaries=codes[0], transfer=codes[1])


def _refuse_misread(header: ImageFile.ImageFile) -> None:
    """Refuse the kinds of TIFF of which Pillow (seen in 13.0) mixes up the bytes in silence."""
    if not isinstance(header, TiffImageFile):
        return
    tags, packed = header.tag_v2, header.info["compression"] != "raw"
    deep = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > _BITS_PER_SAMPLE
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _SEPARATE_PLANES
    if deep and planar and not packed:
        raise CorruptImageError(
            "a 16-bit TIFF with separate uncompressed colour planes cannot be read: save it as PNG"
        )
    if header.mode in {"I", "F"} and packed and tags.prefix == TiffImagePlugin.MM:
        raise CorruptImageError(
            "a compressed big-endian TIFF of numbers cannot be read: save it uncompressed"
        )


def announced_sizes(data: bytes, name: str) -> list[tuple[int, int]]:
    """Find the (width, height) that a file announces, where merely opening it costs memory.

    The readers of GIF and WebP make room for the canvas as they open; those of AVIF and HEIF
    refuse a huge size with an error that does not say so. Other formats give an empty list.

    Sources: GIF89a section 18; WebP container specification (RFC 9649); ISO/IEC 23008-12, 6.5.3.
    """
    if name == "GIF":
        return [struct.unpack_from("<HH", data, 6)]
    if name == "WEBP":
        return [_webp_size(data)]
    if name in {"AVIF", "HEIF"}:
        return [struct.unpack(">II", extent) for extent in _SPATIAL_EXTENT.findall(data)]
    return []


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & _WEBP_SIDE), 1 + (bits >> _WEBP_SIDE.bit_length() & _WEBP_SIDE)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & _WEBP_SIDE, height & _WEBP_SIDE

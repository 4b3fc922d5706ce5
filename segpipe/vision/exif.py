"""What EXIF says of a photo: how to turn it, and what its colours are (EXIF 3.0, CIPA DC-008)."""

import struct

from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

_EXIF_START, _TIFF_MAGIC = b"Exif\0\0", 42
_EXIF_LOST = ("EXIF data without a readable tag: the photo may lie on its side",)

_NO_PROFILE = (
    "EXIF names Adobe RGB, but there is no colour profile: read as sRGB, colours may look dull",
)
_EXIF_ADOBE_RGB = 2
"""ColorSpace of cameras that do not keep to EXIF, which knows 1 (sRGB) and 65535 alone."""
_DCF_OPTION_FILE = "R03"
"""InteroperabilityIndex of an Adobe RGB photo (DCF 2.0, JEITA CP-3461B)."""


def read_exif(photo: ImageFile, *, has_profile: bool) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation still to be applied, and what EXIF warns of.

    It is 1, upright, already where the file or library turned the picture (TIFF, HEIF), and
    Pillow translates AVIF's own rotation into it.
    """
    try:
        # A PNG's own decodes its pixels, to find an EXIF behind them that is before them already.
        exif = Image.Image.getexif(photo) if photo.format == "PNG" else photo.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - as with pixels, damaged EXIF raises anything
        return 1, _EXIF_LOST
    if not exif and not _is_empty_exif(photo.info.get("exif") or b""):
        return orientation, _EXIF_LOST
    return orientation, () if has_profile or not _names_adobe_rgb(exif) else _NO_PROFILE


def _is_empty_exif(exif: bytes) -> bool:
    """Whether EXIF is sound and holds no tag: nothing, or a first directory without entries."""
    content = exif.removeprefix(_EXIF_START)
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        return not content.strip(b"\0")
    try:
        magic, offset = struct.unpack_from(f"{order}HI", content, 2)
        (count,) = struct.unpack_from(f"{order}H", content, offset)
    except struct.error:
        return False
    return bool(magic == _TIFF_MAGIC and count == 0)


def _names_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether EXIF names Adobe RGB, by DCF's option file or as some cameras do on their own."""
    try:
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        rule = exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
    except Exception:  # noqa: BLE001 - as above
        return False
    return space == _EXIF_ADOBE_RGB or rule == _DCF_OPTION_FILE

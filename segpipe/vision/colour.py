"""A Pillow picture of any mode to sRGB: depth, ICC profile, transparency."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from segpipe.vision.matrix_profiles import MatrixConversion, read_matrix_profile

_Notes = tuple[str, ...]
_Alpha = NDArray[np.uint8]


class SrgbPicture(NamedTuple):
    """A picture in sRGB, on white where it is transparent.

    Attributes:
        rgb: Shape (h, w, 3) uint8, C-contiguous and writable.
        alpha: Shape (h, w) uint8, 0 is transparent; None for a picture that is opaque throughout.
        notes: What was given up, in words.
    """

    rgb: NDArray[np.uint8]
    alpha: _Alpha | None
    notes: _Notes


_BAND_PX = 1 << 20
_DEEP_MODES = ("I", "F")
"""Pillow's "I;16…" holds 16 bits, "I" 32 bits, "F" floats."""
_MAX_8_BIT = 255
_BITS_PER_DEEP_SAMPLE = 16
_UNSIGNED = 1
"""TIFF 6.0, SampleFormat."""
_WHITE_IS_ZERO = 0
"""TIFF 6.0, PhotometricInterpretation."""

_PROFILE_SPACE = slice(16, 20)
_MODE_OF_SPACE = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""ICC.1:2022, 7.2.6: what kind of samples a profile is for."""
_CACHED_TRANSFORMS = 8
_PROBE_STEPS = 9
_SAME_COLOUR_LEVELS = 2
"""A profile that moves no probe by more levels than this is sRGB but for rounding."""
_BAD_PROFILE = (ImageCms.PyCMSError, OSError, ValueError)


def needs_conversion(profile: bytes | None) -> bool:
    """Say whether RGB samples under this ICC profile are anything but sRGB.

    A damaged profile counts as one that needs conversion: :func:`to_srgb` deals with it.
    """
    if not profile:
        return False
    try:
        return _conversion(profile, "RGB") is not None
    except _BAD_PROFILE:
        return True


def can_convert_in_place(profile: bytes | None) -> bool:
    """Say whether :func:`convert_in_place` does all that RGB samples need under this profile."""
    if not profile:
        return True
    try:
        return not isinstance(_conversion(profile, "RGB"), ImageCms.ImageCmsTransform)
    except _BAD_PROFILE:
        return False


def convert_in_place(rgb: NDArray[np.uint8], profile: bytes | None) -> None:
    """Bring RGB samples to sRGB in their place, where :func:`can_convert_in_place` says so.

    Args:
        rgb: Shape (h, w, 3), C-contiguous.
        profile: ICC profile of its colours; None means sRGB.
    """
    conversion = _conversion(profile, "RGB") if profile else None
    if isinstance(conversion, MatrixConversion):
        conversion.convert(rgb)


def to_srgb(picture: Image.Image, profile: bytes | None) -> SrgbPicture:
    """Give a picture of any mode as sRGB on white.

    Args:
        picture: Loaded; CMYK as amounts of ink.
        profile: ICC profile of its colours; None means sRGB.

    Raises:
        ValueError: Pillow knows no way from this mode to RGB.
    """
    deep_alpha = _deep_grey_alpha(picture)
    picture, notes = _to_8_bit(picture)
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    is_opaque = deep_alpha is None and not picture.has_transparency_data
    alpha = None if is_opaque else np.empty((height, width), np.uint8)
    # Band by band: each step of the way makes a picture of its own.
    rows = max(1, _BAND_PX // max(width, 1))
    for top in range(0, height, rows):
        part = (0, top, width, min(top + rows, height))
        band_alpha = deep_alpha.crop(part) if deep_alpha else None
        band_rgb, band_alpha, colour_notes = _band_to_srgb(picture.crop(part), band_alpha, profile)
        notes += tuple(note for note in colour_notes if note not in notes)
        rgb[top : top + rows] = np.asarray(band_rgb)
        if alpha is not None and band_alpha is not None:
            alpha[top : top + rows] = np.asarray(band_alpha)
    if alpha is not None and alpha.min(initial=_MAX_8_BIT) == _MAX_8_BIT:
        alpha = None
    return SrgbPicture(rgb, alpha, notes)


def _band_to_srgb(
    picture: Image.Image, alpha: Image.Image | None, profile: bytes | None
) -> tuple[Image.Image, Image.Image | None, _Notes]:
    if picture.has_transparency_data:
        picture = picture.convert("LA" if picture.mode in {"1", "L", "LA", "La"} else "RGBA")
        alpha = picture.getchannel("A")
    rgb, notes = _without_profile(_opaque(picture), profile)
    if alpha is not None and alpha.getextrema() != (_MAX_8_BIT, _MAX_8_BIT):
        white = Image.new("RGB", rgb.size, "white")
        white.paste(rgb, mask=alpha)
        rgb = white
    return rgb, alpha, notes


def _deep_grey_alpha(picture: Image.Image) -> Image.Image | None:
    """The alpha of 16-bit grey with a transparent level, which Pillow does not convert."""
    level = picture.info.get("transparency")
    if not picture.mode.startswith("I;16") or not isinstance(level, int):
        return None
    return Image.fromarray(np.where(np.asarray(picture) == level, 0, _MAX_8_BIT).astype(np.uint8))


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode in {"RGB", "L", "CMYK"}:
        return picture
    return picture.convert("L" if picture.mode in {"1", "LA"} else "RGB")


def _to_8_bit(picture: Image.Image) -> tuple[Image.Image, _Notes]:
    """Scale 16-bit, 32-bit and float samples; Pillow's own conversion would clip them."""
    if not picture.mode.startswith(_DEEP_MODES):
        return picture, ()
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    samples = np.asarray(picture)
    notes: _Notes = ()
    if picture.mode.startswith("I;16"):
        (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (_BITS_PER_DEEP_SAMPLE,))
        grey = _scale_16_bit(samples, white=2**bits - 1)
    else:
        if picture.mode == "I" and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == _UNSIGNED:
            samples = samples.view(np.uint32)  # Pillow's 32 bits are signed whatever the file says
        grey, notes = _scale_any_range(samples)
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        grey = _MAX_8_BIT - grey
    return Image.fromarray(grey), notes


def _scale_16_bit(samples: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    every_value = np.arange(np.iinfo(np.uint16).max + 1)
    table = np.rint(every_value * (_MAX_8_BIT / white)).clip(max=_MAX_8_BIT).astype(np.uint8)
    grey: NDArray[np.uint8] = table[samples]
    return grey


def _scale_any_range(
    samples: NDArray[np.uint32 | np.int32 | np.float32],
) -> tuple[NDArray[np.uint8], _Notes]:
    finite = samples[np.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    notes: _Notes = ()
    if finite.size < samples.size:
        notes += ("values that are no finite number: shown as black or white",)
    if samples.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    else:
        notes += (f"values from {low:g} to {high:g} have no agreed white: stretched to 0 to 255",)
    flat = high == low
    scaled = (samples - np.float64(low)) * (_MAX_8_BIT / (1.0 if flat else high - low))
    whole = np.rint(np.nan_to_num(scaled)).clip(0, _MAX_8_BIT)
    return whole.astype(np.uint8), notes


def _without_profile(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, _Notes]:
    """Bring an L, RGB or CMYK picture to sRGB."""
    if not profile:
        notes = ("CMYK without a colour profile: colours are a guess",)
        return _plain_rgb(picture), notes if picture.mode == "CMYK" else ()
    wanted = _MODE_OF_SPACE.get(profile[_PROFILE_SPACE])
    if picture.mode == "L" and wanted == "RGB":
        picture = picture.convert("RGB")
    if picture.mode != wanted:
        return _plain_rgb(picture), (f"colour profile ignored: not one for {picture.mode}",)
    try:
        conversion = _conversion(profile, picture.mode)
        if isinstance(conversion, MatrixConversion):
            rgb = np.array(picture)
            conversion.convert(rgb)
            picture = Image.fromarray(rgb)
        elif conversion is not None:
            picture = conversion.apply(picture)
    except _BAD_PROFILE as error:
        return _plain_rgb(picture), (f"colour profile ignored: damaged ({error})",)
    return _plain_rgb(picture), ()


def _plain_rgb(picture: Image.Image) -> Image.Image:
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@lru_cache(maxsize=_CACHED_TRANSFORMS)
def _conversion(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | MatrixConversion | None:
    """Make the way from a profile to sRGB; None when there is nothing to convert.

    sRGB comes under a hundred names and in as many files, so what the profile does to probes
    decides, not what it says. In the same way a matrix is used where the probes come out as
    Little CMS gives them.
    """
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return transform
    probes = _probes(mode)
    converted = np.asarray(transform.apply(probes), np.int16)
    moved = np.abs(converted - np.asarray(probes.convert("RGB")))
    if moved.max() <= _SAME_COLOUR_LEVELS:
        return None
    matrix = read_matrix_profile(profile) if mode == "RGB" else None
    return matrix if matrix is not None and _agree(matrix, transform) else transform


def _agree(matrix: MatrixConversion, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the two give the same colours, but for a level: the probes, and every level alone."""
    ramp = np.arange(_MAX_8_BIT + 1, dtype=np.uint8)
    alone = np.where(np.eye(3, dtype=bool)[:, np.newaxis], ramp[:, np.newaxis], 0)
    greys = np.broadcast_to(ramp[:, np.newaxis], (1, _MAX_8_BIT + 1, 3))
    rgb = np.concatenate([np.array(_probes("RGB")), alone.reshape(1, -1, 3), greys], axis=1)
    by_engine = np.asarray(transform.apply(Image.fromarray(rgb)), np.int16)
    matrix.convert(rgb)
    return bool(np.abs(by_engine - rgb).max() <= 1)


def _probes(mode: str) -> Image.Image:
    """A picture of colours that covers the range: all greys, or an even grid of RGB."""
    if mode == "L":
        return Image.linear_gradient("L")
    levels = np.linspace(0, _MAX_8_BIT, _PROBE_STEPS).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))

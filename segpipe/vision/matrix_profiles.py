"""ICC profiles of three curves and a matrix, as cameras and phones write them, to sRGB at speed.

A colour engine reads any profile, and takes ten times as long as a JPEG takes to decode. These
profiles (ICC.1:2022, 8.3.3) need a table for each channel, nine products and one more table.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.threads import share_range
from segpipe.vision.colour_codes import SRGB, SRGB_CURVE, colorants

_Floats = NDArray[np.float64]

_CLASS, _SPACE, _CONNECTION = slice(12, 16), slice(16, 20), slice(20, 24)
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_TABLE_TAGS = frozenset({b"A2B0", b"A2B1", b"A2B2", b"D2B0", b"D2B1", b"D2B2", b"D2B3"})
"""What stands above curves and matrix, in profiles that have both."""
_HEADER_BYTES, _TAG_BYTES = 128, 12
_FIXED = 65_536
_GAMMA_UNIT = 256
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""How many parameters each kind of curve has (ICC.1:2022, table 68)."""

_ABSENT = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_RAISED_KINDS = (1, 2)

_LEVELS = 256
_MOST_16_BIT = 65_535
_WHITE = 1 << 14
"""Light in the steps of Little CMS (cmsopt.c, OptimizeMatrixShaper), so as to give its levels."""
_STRIP_BYTES = 1 << 18
"""A strip, and twice as much for its light, stay in the second cache of a core."""
_LEAST_ROWS_BYTES = 1 << 20
"""What is worth a thread."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixConversion:
    """From RGB levels to those of sRGB.

    Attributes:
        light: Shape (1, 256, 3) or (1, 256) uint16: the light of each level, 16384 is white;
            of each channel, or of all three.
        matrix: Shape (3, 3) float32: that light to linear sRGB.
    """

    light: NDArray[np.uint16]
    matrix: NDArray[np.float32]

    def convert(self, rgb: NDArray[np.uint8]) -> None:
        """Convert levels, (h, w, 3) uint8 and C-contiguous, in their place.

        Colours outside of sRGB are clipped for each channel, as colour engines do.
        """
        height, width = rgb.shape[:2]
        row_bytes = max(1, 3 * width)
        rows = max(1, _STRIP_BYTES // row_bytes)

        def convert_rows(top: int, bottom: int) -> None:
            for start in range(top, bottom, rows):
                strip = rgb[start : min(start + rows, bottom)]
                linear = cv2.transform(cv2.LUT(strip, self.light), self.matrix)
                cv2.LUT(linear, _LEVEL_OF_LIGHT, dst=strip)

        share_range(convert_rows, height, least=-(-_LEAST_ROWS_BYTES // row_bytes))


def read_matrix_profile(profile: bytes) -> MatrixConversion | None:
    """The conversion that a profile describes; None for one of another kind, or damaged.

    It is relative colorimetric. Curves that do not start at black are left to a colour engine,
    which compensates for that.
    """
    try:
        tags = _read_tags(profile)
        if not _TABLE_TAGS.isdisjoint(tags):
            return None
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            curves = np.stack([_curve(tags[name + b"TRC"]) for name in (b"r", b"g", b"b")])
        columns = np.stack([_xyz(tags[name + b"XYZ"]) for name in (b"r", b"g", b"b")], axis=1)
        matrix = np.linalg.solve(_SRGB_COLUMNS, columns)
    except (KeyError, ValueError, ArithmeticError, struct.error, IndexError):
        return None
    steps = np.floor(curves * _WHITE + 1 / 2)
    if not np.isfinite(matrix).all() or steps.min() < 0 or steps.max() > _MOST_16_BIT:
        return None
    if curves[:, 0].any():
        return None
    light = steps.astype(np.uint16)
    is_one = bool((light == light[0]).all())
    table = light[:1] if is_one else np.ascontiguousarray(light.T)[np.newaxis]
    rounded = np.floor(matrix * _WHITE + 1 / 2) / _WHITE
    return MatrixConversion(table, rounded.astype(np.float32))


def _read_tags(profile: bytes) -> Mapping[bytes, bytes]:
    is_rgb = profile[_SPACE] == b"RGB " and profile[_CONNECTION] == b"XYZ "
    if not is_rgb or profile[_CLASS] not in _CLASSES:
        return {}
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    index = profile[_HEADER_BYTES + 4 : _HEADER_BYTES + 4 + _TAG_BYTES * count]
    entries = struct.iter_unpack(">4sII", index[: len(index) // _TAG_BYTES * _TAG_BYTES])
    return {name: profile[start : start + size] for name, start, size in entries}


def _xyz(tag: bytes) -> _Floats:
    """XYZ under D50 of one colorant."""
    if tag[:4] != b"XYZ ":
        raise ValueError("no XYZ")
    return np.array(struct.unpack_from(">3i", tag, 8)) / _FIXED


def _curve(tag: bytes) -> _Floats:
    """Light, where 1 is white, of each of the 256 levels."""
    levels = np.linspace(0, 1, _LEVELS)
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        numbers = struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12)
        return parametric_light(levels, kind, tuple(number / _FIXED for number in numbers))
    if tag[:4] != b"curv":
        raise ValueError("no curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return levels
    steps = np.array(struct.unpack_from(f">{count}H", tag, 12))
    if count == 1:
        return np.asarray(levels ** (steps[0] / _GAMMA_UNIT))
    return np.interp(levels, np.linspace(0, 1, count), steps / _MOST_16_BIT)


def parametric_light(levels: _Floats, kind: int, parameters: tuple[float, ...]) -> _Floats:
    """Light, where 1 is white, of levels from 0 to 1 by a parametric curve (ICC.1:2022, table 68).

    Raises:
        ArithmeticError: The curve has no value somewhere.
    """
    gamma, a, b, c, d, e, f = (*parameters, *_ABSENT[len(parameters) :])
    if kind in _RAISED_KINDS:  # their third number is what both parts are raised by
        d, e, f, c = -b / a, c, c, 0.0
    above = np.maximum(a * levels + b, 0) ** gamma + e
    return np.asarray(np.where(levels >= d, above, c * levels + f))


def _levels_of_light() -> NDArray[np.uint8]:
    """The sRGB level of each step of light, (1, 65536); what is more than white is clipped."""
    gamma, a, b, slope, start = SRGB_CURVE
    light = (np.arange(_MOST_16_BIT + 1) / _WHITE).clip(max=1)
    above = (np.maximum(light, start * slope) ** (1 / gamma) - b) / a
    levels = np.where(light < start * slope, light / slope, above)
    table: NDArray[np.uint8] = np.rint(levels * (_LEVELS - 1)).astype(np.uint8)[np.newaxis]
    return table


_SRGB_COLUMNS = colorants(SRGB).T
_LEVEL_OF_LIGHT = _levels_of_light()

"""ICC profiles of colours that a file names in other ways: code points (CICP), PNG's gamma."""

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
Point = tuple[float, float]
"""CIE 1931 x and y."""


class Chromaticities(NamedTuple):
    """The white and the primaries of an RGB space."""

    white: Point
    red: Point
    green: Point
    blue: Point


class CodedColours(NamedTuple):
    """The ICC profile of an RGB space, None for sRGB, and what is lost on the way to sRGB."""

    profile: bytes | None
    notes: tuple[str, ...]


_D65 = (0.3127, 0.329)
SRGB = Chromaticities(_D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
_LIKE_SRGB = frozenset({0, 1, 2, 5, 6, 7})
"""Code points of primaries that are sRGB's, nearly sRGB's (BT.601), or not said."""
_PRIMARIES = {
    9: Chromaticities(_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    11: Chromaticities((0.314, 0.351), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    12: Chromaticities(_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
"""Rec. ITU-T H.273, table 2: BT.2020, DCI-P3, Display P3."""

_LIKE_SRGB_CURVE = frozenset({0, 1, 2, 6, 13, 14, 15})
"""Code points of transfer functions that readers of pictures take for sRGB's."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ, _HLG = 16, 18
"""Rec. ITU-T H.273, table 3."""
_HDR_NAMES = {_PQ: "PQ", _HLG: "HLG"}

_CURVE_STEPS = 4096
_PAPER_WHITE_NITS = 203
"""What shows as white: Rep. ITU-R BT.2408, 2.2."""
_PQ_PEAK_NITS, _HLG_PEAK_NITS, _HLG_SYSTEM_GAMMA = 10_000, 1000, 1.2
"""Rec. ITU-R BT.2100, tables 4 and 5."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_SRGB_GAMMA = 1 / 2.2
_SAME_GAMMA, _SAME_PLACE = 0.005, 0.003
D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""ICC.1:2022, annex E."""
_FIXED = 65_536
_MOST = 65_535
_CODE_HEADER = 128


@lru_cache(maxsize=16)
def coded_colours(*, primaries: int, transfer: int) -> CodedColours:
    """The colours of two code points of Rec. ITU-T H.273, as cICP and nclx hold them.

    Of HDR (PQ, HLG), what is brighter than the white of paper is cut off, with a note.
    """
    notes: tuple[str, ...] = ()
    if primaries not in _LIKE_SRGB and primaries not in _PRIMARIES:
        notes += (f"colour primaries of code {primaries} are not known: read as sRGB",)
    places = _PRIMARIES.get(primaries, SRGB)
    if transfer in _HDR_NAMES:
        name = _HDR_NAMES[transfer]
        notes += (f"HDR ({name}): what is brighter than the white of paper is cut off",)
        return CodedColours(_rgb_profile(places, _hdr_curve(transfer)), notes)
    if transfer in _GAMMAS:
        return CodedColours(_rgb_profile(places, _parametric((_GAMMAS[transfer],))), notes)
    if transfer not in _LIKE_SRGB_CURVE:
        notes += (f"a transfer function of code {transfer} is not known: read as sRGB",)
    if places is SRGB:
        return CodedColours(None, notes)
    return CodedColours(_rgb_profile(places, _parametric(SRGB_CURVE)), notes)


def gamma_colours(gamma: float | None, places: Chromaticities | None) -> CodedColours:
    """The colours of PNG's gAMA (the exponent from light to samples) and cHRM."""
    is_srgb_curve = gamma is None or abs(gamma - _SRGB_GAMMA) <= _SAME_GAMMA
    is_srgb_place = places is None or np.abs(np.subtract(places, SRGB)).max() <= _SAME_PLACE
    if is_srgb_curve and is_srgb_place:
        return CodedColours(None, ())
    try:
        curve = _parametric(SRGB_CURVE if is_srgb_curve or gamma is None else (1 / gamma,))
        return CodedColours(_rgb_profile(places or SRGB, curve), ())
    except (np.linalg.LinAlgError, ArithmeticError, ValueError, struct.error):
        return CodedColours(None, ("gamma or chromaticities make no sense: read as sRGB",))


def _hdr_curve(transfer: int) -> bytes:
    """Samples to light, where 1 is the white of paper."""
    signal = np.linspace(0, 1, _CURVE_STEPS)
    light = _pq_nits(signal) if transfer == _PQ else _hlg_nits(signal)
    steps = np.rint((light / _PAPER_WHITE_NITS).clip(0, 1) * _MOST).astype(">u2")
    samples: bytes = steps.tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", len(steps)) + samples


def _pq_nits(signal: _Floats) -> _Floats:
    """Rec. ITU-R BT.2100, table 4: the reference PQ EOTF."""
    m1, m2 = 2610 / 16_384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    nits: _Floats = _PQ_PEAK_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return nits


def _hlg_nits(signal: _Floats) -> _Floats:
    """Rec. ITU-R BT.2100, table 5: the inverse OETF, then the OOTF for each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(signal <= 1 / 2, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    nits: _Floats = _HLG_PEAK_NITS * light**_HLG_SYSTEM_GAMMA
    return nits


def _rgb_profile(places: Chromaticities, curve: bytes) -> bytes:
    """An ICC profile (ICC.1:2022) of primaries and one curve."""
    tags = [(b"wtpt", _xyz(D50))]
    for letter, primary in zip((b"r", b"g", b"b"), colorants(places), strict=True):
        tags += [(letter + b"XYZ", _xyz(tuple(primary))), (letter + b"TRC", curve)]
    start = _CODE_HEADER + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        index += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4xI", start + len(body), 0x04300000) + b"mntrRGB XYZ "
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(map(_fixed, D50))
    return header.ljust(_CODE_HEADER, b"\0") + index + body


def colorants(places: Chromaticities) -> _Floats:
    """XYZ of red, green and blue, (3, 3), as seen under D50."""
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in places)
    columns = np.stack(primaries, axis=1)
    to_xyz = columns * np.linalg.solve(columns, white)
    scale = (_BRADFORD @ D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ to_xyz
    rows: _Floats = adapted.T
    return rows


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * _FIXED))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _parametric(parameters: tuple[float, ...]) -> bytes:
    function = {1: 0, 5: 3}[len(parameters)]
    return b"para\0\0\0\0" + struct.pack(">HH", function, 0) + b"".join(map(_fixed, parameters))

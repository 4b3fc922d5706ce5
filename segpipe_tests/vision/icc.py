"""Small ICC profiles with known colours, written by hand (ICC.1:2022)."""

import io
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageCms

from segpipe.vision.image import RgbImage

SRGB_PRIMARIES = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
)
DISPLAY_P3_PRIMARIES = (
    (0.51512, 0.2412, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.1571, 0.06657, 0.78407),
)
ADOBE_RGB_PRIMARIES = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
"""XYZ under D50 of red, green and blue."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(
    primaries: tuple[tuple[float, float, float], ...], curve: tuple[float, ...] = SRGB_CURVE
) -> bytes:
    """An RGB profile of three primaries and one curve: a gamma, or sRGB's five parameters."""
    tags = [(b"wtpt", _xyz(_D50))]
    for letter, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags += [(letter + b"XYZ", _xyz(primary)), (letter + b"TRC", _parametric(curve))]
    return _profile(tags, space=b"RGB ")


def matrix_profile(
    primaries: Iterable[Iterable[float]],
    curves: Sequence[bytes],
    *,
    version: int = 0x04300000,
    tables: tuple[bytes, ...] = (),
) -> bytes:
    """An RGB profile of three primaries, a curve for each, and what else it holds a tag of."""
    tags = [(b"wtpt", _xyz(_D50))]
    for letter, primary, curve in zip((b"r", b"g", b"b"), primaries, curves, strict=True):
        tags += [(letter + b"XYZ", _xyz(tuple(primary))), (letter + b"TRC", curve)]
    tags += [(name, b"mft2" + bytes(60)) for name in tables]
    return _profile(tags, space=b"RGB ", version=version)


def parametric_curve(kind: int, *parameters: float) -> bytes:
    """A curve of one of the five kinds (ICC.1:2022, table 68)."""
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_s15, parameters))


def curve_of_steps(*steps: int) -> bytes:
    """A table of 16-bit light; of one number, a gamma in parts of 256; of none, the identity."""
    return b"curv\0\0\0\0" + struct.pack(f">I{len(steps)}H", len(steps), *steps)


def grey_profile(gamma: float) -> bytes:
    """A grey profile of one gamma."""
    return _profile([(b"wtpt", _xyz(_D50)), (b"kTRC", _parametric((gamma,)))], space=b"GRAY")


def cmyk_profile(cyan_lab: tuple[int, int, int]) -> bytes:
    """A CMYK profile under which cyan ink has this L*a*b* colour and all other ink is black."""
    encoded_cyan = (round(cyan_lab[0] * 255 / 100), cyan_lab[1] + 128, cyan_lab[2] + 128)
    white, black = (255, 128, 128), (0, 128, 128)
    # The grid has 2 points in each direction, and the first ink varies slowest.
    corners = [black] * 16
    corners[0b0000], corners[0b1000] = white, encoded_cyan
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + b"".join(map(_s15, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table += ramp * 4 + b"".join(map(bytes, corners)) + ramp * 3
    tags = [(b"wtpt", _xyz(_D50)), (b"A2B0", table)]
    return _profile(tags, space=b"CMYK", connection=b"Lab ", version=0x02400000, kind=b"prtr")


def _s15(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_s15, values))


def _parametric(parameters: tuple[float, ...]) -> bytes:
    function = {1: 0, 5: 3}[len(parameters)]
    return b"para\0\0\0\0" + struct.pack(">HH", function, 0) + b"".join(map(_s15, parameters))


def _profile(
    tags: list[tuple[bytes, bytes]],
    *,
    space: bytes,
    connection: bytes = b"XYZ ",
    version: int = 0x04300000,
    kind: bytes = b"mntr",
) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        index += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4xI", start + len(body), version) + kind + space + connection
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(map(_s15, _D50))
    return header.ljust(128, b"\0") + index + body


def with_little_cms(rgb: RgbImage, profile: bytes) -> RgbImage:
    """The colours as Little CMS converts them to sRGB."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(transform.apply(Image.fromarray(rgb)))

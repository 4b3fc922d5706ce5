"""Photo files of every format, made in memory."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segpipe.vision.image_formats import FORMATS
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile

Upright = NDArray[np.uint8]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def corners(width: int = 48, height: int = 32) -> Upright:
    """A smooth picture whose four corners differ, so that every turn of it shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.rint(np.stack([230 * x + 10, 230 * y + 10, 120 * (1 - x) * (1 - y) + 40], -1)).astype(
        np.uint8
    )


def encode(picture: Upright | Image.Image, name: str, **options: object) -> bytes:
    """The picture as a file, as little changed as the format can."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, **options)
    else:
        image.save(file, name, **(_BEST.get(name, {}) | options))
    return file.getvalue()


def tiff(samples: NDArray[np.generic], **options: object) -> bytes:
    """A TIFF of any sample type."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **options)  # type: ignore[arg-type]
    return file.getvalue()


def with_orientation(picture: Upright, name: str, orientation: int, **options: object) -> bytes:
    """The picture as a file whose EXIF asks to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(picture, name, exif=exif.tobytes(), **options)


_BEST: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def png_chunk(kind: bytes, body: bytes, *, is_sound: bool = True) -> bytes:
    """One chunk of a PNG, with a wrong checksum where it is not sound."""
    checksum = zlib.crc32(kind + body) ^ (not is_sound)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(
    rows: list[bytes], width: int, *, bits: int, colour: int, chunks: tuple[bytes, ...] = ()
) -> bytes:
    """A PNG of rows of samples as they stand in the file, and further chunks before them."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    parts = [png_chunk(b"IHDR", header), *chunks, pixels, png_chunk(b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(parts)


def with_chunk(data: bytes, chunk: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A PNG with a chunk put before the first of a kind."""
    at = data.index(before) - 4
    return data[:at] + chunk + data[at:]


def with_segment(data: bytes, code: int, body: bytes) -> bytes:
    """A JPEG with a segment put at its start."""
    return data[:2] + bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body + data[2:]


PICTURE = corners()
LEVELS_LOST = {"JPEG": 6, "GIF": 60, "AVIF": 8, "HEIF": 6}
"""How far a decoded sample may be from the original; other formats lose nothing."""
FILES = {name: encode(PICTURE, name) for name in FORMATS} | {
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "grey": encode(Image.fromarray(PICTURE).convert("L"), "JPEG"),
    "cmyk": encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
    "turned": with_orientation(PICTURE, "JPEG", 6),
    "profile": encode(PICTURE, "JPEG", icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES)),
    "packed tiff": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "deep tiff": tiff(np.arange(600, dtype=np.uint16).reshape(20, 30)),
    "palette": encode(Image.fromarray(PICTURE).convert("P"), "PNG", transparency=3),
    "animation": encode(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (48, 32))]),
}


def assert_close(rgb: NDArray[np.uint8], expected: NDArray[np.uint8], name: str) -> None:
    assert rgb.shape == expected.shape
    np.testing.assert_allclose(rgb.astype(int), expected, atol=LEVELS_LOST.get(name, 0))

"""The decoders that a JPEG could be read with: ``python -m benchmarks.decode``.

Every decoder reads the same photo, in turn, round after round, so that a busy machine slows all
of them alike. Beside its time stands whether it is right: the colours of Pillow, and an error for
a file that breaks off and for one that breaks off and ends as if nothing were missing.
"""

import io
from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.photos import SIZE_PX, jpeg, photo
from benchmarks.timing import median_seconds
from segpipe.errors import CorruptImageError
from segpipe.vision.image import RgbImage, decode_image
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile

Decode = Callable[[bytes], NDArray[np.uint8]]

ROUNDS = 9
SEGPIPE = "segpipe: decode_image"
JPEG_END = b"\xff\xd9"
ORIENTATION = 0x0112
LYING_ON_ITS_SIDE = 6


def with_segpipe(encoded: bytes) -> RgbImage:
    return decode_image(encoded).rgb


def with_simplejpeg(encoded: bytes) -> RgbImage:
    return simplejpeg.decode_jpeg(encoded)  # type: ignore[no-any-return]


def with_opencv(encoded: bytes) -> RgbImage:
    buffer = np.frombuffer(encoded, np.uint8)
    decoded = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        raise ValueError("not decoded")
    return decoded  # type: ignore[return-value]


def with_pillow(encoded: bytes) -> RgbImage:
    with Image.open(io.BytesIO(encoded)) as opened:
        return np.asarray(opened)


DECODERS: Mapping[str, Decode] = {
    SEGPIPE: with_segpipe,
    "simplejpeg, strict": with_simplejpeg,
    "OpenCV": with_opencv,
    "Pillow": with_pillow,
}


def refuses(decode: Decode, encoded: bytes) -> bool:
    """Whether the decoder raises an error."""
    try:
        decode(encoded)
    except (ValueError, OSError, CorruptImageError):
        return True
    return False


def compare(kind: str, encoded: bytes) -> Table:
    """One table: every decoder on one file, its time as a ratio to the fastest."""
    reference = with_pillow(encoded).astype(np.int16)
    decoders = {name: partial(decode, encoded) for name, decode in DECODERS.items()}
    taken = median_seconds(decoders, rounds=ROUNDS)
    fastest = min(taken.values())
    half = encoded[: len(encoded) // 2]
    table = Table(
        *("decoder", "ratio", "ms", "levels off Pillow", "truncated", "truncated and ended"),
        title=f"{kind} JPEG, {SIZE_PX[0]} x {SIZE_PX[1]}, {len(encoded) / 1e6:.1f} MB",
    )
    for name, decode in DECODERS.items():
        table.add_row(
            name,
            f"{taken[name] / fastest:.2f}",
            f"{1000 * taken[name]:.0f}",
            str(np.abs(decode(encoded) - reference).max()),
            "error" if refuses(decode, half) else "passes",
            "error" if refuses(decode, half + JPEG_END) else "passes",
        )
    return table


def extras(image: Image.Image) -> Table:
    """What a turned photo and one of a wide gamut cost above a plain one."""
    exif = Image.Exif()
    exif[ORIENTATION] = LYING_ON_ITS_SIDE
    plain = "plain"
    files = {
        plain: jpeg(image),
        "turned by EXIF": jpeg(image, exif=exif.tobytes()),
        "Display P3 profile": jpeg(image, icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES)),
    }
    kinds = {kind: partial(with_segpipe, file) for kind, file in files.items()}
    taken = median_seconds(kinds, rounds=ROUNDS)
    table = Table("baseline JPEG", "ratio", "ms", title=SEGPIPE)
    for kind, seconds in taken.items():
        table.add_row(kind, f"{seconds / taken[plain]:.2f}", f"{1000 * seconds:.0f}")
    return table


def main() -> None:
    console = Console()
    image = photo()
    console.print(compare("baseline", jpeg(image)))
    console.print(compare("progressive", jpeg(image, progressive=True)))
    console.print(extras(image))


if __name__ == "__main__":
    main()

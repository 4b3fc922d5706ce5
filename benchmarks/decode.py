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
import pillow_heif
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.photos import SIZE_PX, jpeg, photo
from benchmarks.timing import median_seconds, median_times
from segpipe.errors import CorruptImageError
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.image_formats import open_photo
from segpipe_tests.vision.icc import (
    ADOBE_RGB_PRIMARIES,
    DISPLAY_P3_PRIMARIES,
    curve_of_steps,
    matrix_profile,
    rgb_profile,
    with_little_cms,
)

Decode = Callable[[bytes], NDArray[np.uint8]]

ROUNDS = 9
SEGPIPE = "segpipe: decode_image"
JPEG_END = b"\xff\xd9"
ORIENTATION = 0x0112
LYING_ON_ITS_SIDE = 6
PLAIN = "plain"
HEIC_QUALITY = 60
DISPLAY_P3 = rgb_profile(DISPLAY_P3_PRIMARIES)
ADOBE_RGB = rgb_profile(ADOBE_RGB_PRIMARIES, (2.19921875,))
THREE_CURVES = matrix_profile(
    ADOBE_RGB_PRIMARIES, [curve_of_steps(gamma) for gamma in (450, 460, 470)]
)


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


def extras(image: Image.Image) -> list[Table]:
    """What turns and colours cost above a plain photo of its format, and how right they are."""
    exif = Image.Exif()
    exif[ORIENTATION] = LYING_ON_ITS_SIDE
    turned = exif.tobytes()
    jpegs = {
        PLAIN: jpeg(image),
        "turned by EXIF": jpeg(image, exif=turned),
        "Display P3": jpeg(image, icc_profile=DISPLAY_P3),
        "Adobe RGB": jpeg(image, icc_profile=ADOBE_RGB),
        "a curve for each channel": jpeg(image, icc_profile=THREE_CURVES),
        "Display P3, turned by EXIF": jpeg(image, icc_profile=DISPLAY_P3, exif=turned),
    }
    heics = {PLAIN: heic(image), "Display P3": heic(image, DISPLAY_P3)}
    return [extras_table("JPEG", jpegs), extras_table("HEIC", heics)]


def extras_table(kind: str, files: Mapping[str, bytes]) -> Table:
    """One row a file, beside the plain one: times, and levels off Little CMS."""
    taken = median_times(
        {name: partial(with_segpipe, file) for name, file in files.items()}, rounds=ROUNDS
    )
    plain = with_segpipe(files[PLAIN])
    table = Table(
        *(kind, "ratio", "ms", "ratio of CPU", "levels off Little CMS"), title=f"{SEGPIPE}, {kind}"
    )
    for name, seconds in taken.items():
        decoded = decode_image(files[name]).rgb
        profile = open_photo(files[name], "HEIF" if kind == "HEIC" else kind).profile
        expected = with_little_cms(plain, profile) if profile else plain
        upright = np.rot90(expected, -1) if "turned" in name else expected
        table.add_row(
            name,
            f"{seconds.wall / taken[PLAIN].wall:.2f}",
            f"{1000 * seconds.wall:.0f}",
            f"{seconds.cpu / taken[PLAIN].cpu:.2f}",
            str(np.abs(decoded.astype(np.int16) - upright).max()),
        )
    return table


def heic(image: Image.Image, profile: bytes | None = None) -> bytes:
    """The photo as a phone writes it."""
    file = io.BytesIO()
    picture = pillow_heif.from_pillow(image)
    picture.info["icc_profile"] = profile
    picture.save(file, quality=HEIC_QUALITY, enc_params={"preset": "ultrafast"})
    return file.getvalue()


def main() -> None:
    console = Console()
    image = photo()
    console.print(compare("baseline", jpeg(image)))
    console.print(compare("progressive", jpeg(image, progressive=True)))
    for table in extras(image):
        console.print(table)


if __name__ == "__main__":
    main()

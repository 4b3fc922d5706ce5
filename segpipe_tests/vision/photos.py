"""Photo files of every format, made in memory."""

import io

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image

Upright = NDArray[np.uint8]


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

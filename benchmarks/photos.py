"""Photos as a camera would write them."""

import io

import cv2
import numpy as np
from PIL import Image
from skimage import data

SIZE_PX = (4000, 3000)
CAMERA_NOISE = 3.0
QUALITY = 90


def photo(size_px: tuple[int, int] = SIZE_PX) -> Image.Image:
    """A photo, twelve million pixels of it by default, with the noise of a camera."""
    small = data.coffee()  # type: ignore[no-untyped-call]
    large = cv2.resize(small, size_px, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, CAMERA_NOISE, large.shape)
    return Image.fromarray((large + noise).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: object) -> bytes:
    """The photo as a camera would write it, 4:2:0."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, **options)
    return file.getvalue()

"""Photo bytes to an upright RGB array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]
"""Shape (h, w, 3), RGB, 0 to 255, upright."""

DEFAULT_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """A decoded photo.

    Attributes:
        rgb: The upright picture.
        format: The format found in the bytes, as Pillow names it: "JPEG", "PNG", "HEIF", …
        warnings: What was given up on the way, in words for people, such as
            "animated: only the first of 12 frames is used".
    """

    rgb: RgbImage
    format: str
    warnings: tuple[str, ...] = ()


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> DecodedImage:
    """Decode a photo whole."""
    raise NotImplementedError

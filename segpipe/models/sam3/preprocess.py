"""Photos as SAM 3 wants them."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from segpipe.vision.image import RgbImage

_MIDDLE = 127.5
"""Mean and standard deviation of the model's input, 0 to 255: .5 each for all three channels
(``IMAGENET_STANDARD_MEAN`` in transformers' Sam3ImageProcessor)."""


def resize(image: RgbImage, side: int) -> Tensor:
    """Scale an image to a square whatever its shape, (3, side, side) uint8 on the CPU.

    Bilinear with antialiasing, on whole numbers: what transformers' Sam3ImageProcessor has
    torchvision do, and what Pillow calls BILINEAR.

    Args:
        image: Shape (h, w, 3) uint8.
        side: Pixels.
    """
    # torch warns of memory that it could write to and must not.
    pixels: Any = torch.from_numpy(np.require(image, requirements=["C", "W"]))
    channels_first = pixels.permute(2, 0, 1)[None]
    return interpolate(channels_first, (side, side), mode="bilinear", antialias=True)[0]


def digest_of(square: Tensor, *, width: int, height: int) -> bytes:
    """What names a scaled image of that size: equal for images that the model cannot tell apart.

    Args:
        square: Shape (3, side, side) uint8 on the CPU.
        width: Pixels of the image before it was scaled.
        height: Pixels of the image before it was scaled.
    """
    digest = hashlib.sha256(f"{width} {height} {len(square[0])}".encode())
    digest.update(square.contiguous().numpy().data)
    return digest.digest()


def normalise(pixels: Tensor) -> Tensor:
    """Turn 0 to 255 into -1 to 1, float32."""
    return (pixels.float() - _MIDDLE) / _MIDDLE

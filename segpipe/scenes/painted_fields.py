"""Smooth fields and other raw material of a painted scene."""

import cv2
import numpy as np
from numpy.typing import NDArray

FullMask = NDArray[np.bool_]
"""Shape (H, W), true on the item."""
Colour = NDArray[np.float32]
"""Shape (3,), RGB, 0 to 1."""
Picture = NDArray[np.float32]
"""Shape (h, w, 3), RGB, 0 to 1."""
Field = NDArray[np.float32]
"""Shape (h, w)."""
Rng = np.random.Generator


def clouds(rng: Rng, shape: tuple[int, int], scale: float, *, stretch: float = 1.0) -> Field:
    """Smooth noise of unit deviation, ``scale`` pixels large, ``stretch`` times as wide as high."""
    # Large clouds are drawn small and enlarged: the blur of a full picture would take long.
    shrink = max(1, int(scale / 4))
    small = (-(-shape[0] // shrink), -(-shape[1] // shrink))
    noise = rng.standard_normal(small, np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), scale * stretch / shrink, sigmaY=scale / shrink)
    clouds = np.asarray(cv2.resize(blurred, shape[::-1]), np.float32)
    return clouds / max(float(clouds.std()), 1e-6)


def stripes(rng: Rng, shape: tuple[int, int], period: float) -> Field:
    """A wave of -1 to 1 in some direction."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along_x, along_y = polar(rng, 2 * np.pi / period)
    stripes: Field = np.sin(along_x * x + along_y * y + float(rng.uniform(0, 2 * np.pi)))
    return stripes


def sharpened(wave: Field) -> Field:
    """A wave of -1 to 1 as bands of 0 and 1 with a short way between them."""
    sharp: Field = np.clip(0.5 + 3 * wave, 0, 1)
    return sharp


def polar(rng: Rng, length: float) -> tuple[float, float]:
    """A vector of that length in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return length * float(np.cos(angle)), length * float(np.sin(angle))


def unit_grid(shape: tuple[int, int]) -> tuple[Field, Field]:
    """Coordinates y, (h, 1), and x, (1, w), from -1 to 1."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, shape[0], dtype=np.float32),
        np.linspace(-1, 1, shape[1], dtype=np.float32),
        indexing="ij",
        sparse=True,
    )
    return y, x


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue in degrees, with saturation and value from 0 to 1."""
    pixel = np.array([[[hue % 360, saturation, value]]], np.float32)
    colour: Colour = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]
    return colour

"""The kinds of array that the classical segmenter works on."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

LabImage = NDArray[np.float32]
"""Shape (h, w, 3), CIE L* 0 to 100, a* and b*."""
Plane = NDArray[np.float32]
"""Shape (h, w)."""
Flags = NDArray[np.bool_]
"""Shape (h, w)."""
Labels = NDArray[np.int32]
"""Shape (h, w): 0 is nothing, each thing has a number of its own."""

_WHITE = np.uint8(255)
_SMOOTHING_PX = 0.8
_MOST_ELONGATION = 4


def to_lab(image: RgbImage) -> LabImage:
    """Convert (h, w, 3) uint8 sRGB to CIE Lab, smoothed a little against the sensor's noise."""
    lab = cv2.cvtColor(image.astype(np.float32) / _WHITE, cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.GaussianBlur(lab, (0, 0), _SMOOTHING_PX), np.float32)


def shrink(image: RgbImage, pixels: int) -> RgbImage:
    """Scale an image down to about that many pixels; a smaller one is returned as it is."""
    height, width = image.shape[:2]
    scale = (pixels / (height * width)) ** 0.5
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def diagonal_of(shape: tuple[int, ...]) -> float:
    """The diagonal of a picture, (h, w, ...), by which sizes in it are measured.

    A strip counts as a few times as long as it is wide, since its items are no larger than that.
    """
    shorter, longer = sorted(shape[:2])
    return float(np.hypot(shorter, min(longer, _MOST_ELONGATION * shorter)))


def disc(radius: int) -> Bitmap:
    """A structuring element, (2 r + 1, 2 r + 1)."""
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def filled(bits: Bitmap) -> Bitmap:
    """The same shapes without their holes."""
    outlines, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = np.zeros_like(bits)
    cv2.drawContours(solid, outlines, -1, (1,), cv2.FILLED)
    return solid


def enlarge(bits: Bitmap, *, width: int, height: int) -> Bitmap:
    """Scale a bitmap up to (height, width), with smooth outlines."""
    if bits.shape == (height, width):
        return bits
    grey = cv2.resize(bits * _WHITE, (width, height), interpolation=cv2.INTER_LINEAR)
    return (grey > _WHITE // 2).astype(np.uint8)

"""Lab pictures, planes and bitmaps, and what is done to them everywhere: reduce, fill, flood."""

from typing import Any

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

LAB_OF_BLACK = np.array([16, 0, 0], np.float32)
"""To be added to Lab: counted from black, less of the same light scales the whole vector."""

_WHITE = np.uint8(255)
_SMOOTHING_PX = 0.8
_MOST_ELONGATION = 4
_MIDDLE = np.uint8(128)
_DEEPEST = 256
_ON, _OFF = 1, 2  # markers; a pixel between two goes to the higher one
_SOBEL_SCALE = 1 / 8
_RELIEF_STEPS = 8.0  # levels of the relief for one Delta E per pixel


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


def radius_of(fraction: float, diagonal: float) -> int:
    """A part of the diagonal in whole pixels, 1 or more."""
    return max(1, round(fraction * diagonal))


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


def without_empty_holes(bits: Bitmap) -> Bitmap:
    """The same shapes with their holes filled, but for those in which another shape lies."""
    outlines, family = cv2.findContours(bits, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return bits
    _, _, child, parent = np.moveaxis(family[0], 1, 0)
    is_hole = np.zeros(len(outlines), np.bool_)
    for index, above in enumerate(parent):  # a parent comes before its children
        is_hole[index] = above >= 0 and not is_hole[above]
    whole = bits.copy()
    empty = [outlines[int(index)] for index in np.flatnonzero(is_hole & (child < 0))]
    cv2.drawContours(whole, empty, -1, (1,), cv2.FILLED)
    return whole


def enlarge(bits: Bitmap, *, width: int, height: int) -> Bitmap:
    """Scale a bitmap up to (height, width), with smooth outlines."""
    if bits.shape == (height, width):
        return bits
    grey = cv2.resize(bits * _WHITE, (width, height), interpolation=cv2.INTER_LINEAR)
    return (grey > _WHITE // 2).astype(np.uint8)


def flood(relief: NDArray[np.uint8], markers: Labels) -> Labels:
    """Give every pixel to the marker whose water reaches it first, from the lowest level up.

    F. Meyer: "Color image segmentation", 1992; S. Beucher, F. Meyer: "The morphological approach
    to segmentation: the watershed transformation", 1993.

    OpenCV's watershed floods by how much two neighbours differ, not by height. On a checkerboard
    of mid-grey plus and minus half the height, two neighbours differ by their mean height: so it
    floods the relief itself.

    Args:
        relief: Shape (h, w) uint8.
        markers: Shape (h, w) int32, 0 where nothing is known yet.

    Returns:
        Shape (h, w) int32, the marker of each pixel; no line is left between two of them. All
        0 when there is no marker.
    """
    if not markers.any():
        return markers.copy()
    half = relief >> 1
    checkered = _MIDDLE - 1 - half
    for square in (np.s_[::2, 1::2], np.s_[1::2, ::2]):
        checkered[square] = _MIDDLE + half[square]
    # OpenCV never floods the outermost pixels: give it a margin to waste.
    basins = cv2.watershed(
        cv2.cvtColor(np.pad(checkered, 1, mode="edge"), cv2.COLOR_GRAY2RGB),
        np.pad(markers, 1).astype(np.int32),
    )
    return _without_gaps(np.asarray(basins[1:-1, 1:-1], np.int32), relief)


def _without_gaps(basins: Labels, relief: NDArray[np.uint8]) -> Labels:
    """Give what is in no basin to its lowest neighbour, of equal ones to the highest label.

    It is the lines that OpenCV leaves between basins, and pixels that such lines enclose.
    """
    labels = np.pad(basins, 1)
    inside = labels[1:-1, 1:-1]
    # Lower and of a higher label is more; no label is nothing
    depth = np.pad(_DEEPEST - relief.astype(np.int64), 1) * (int(basins.max()) + 1)
    while (gaps := np.nonzero(inside <= 0))[0].size:
        rows, columns = gaps
        best = np.zeros(rows.size, np.int64)
        for dy, dx in np.ndindex(3, 3):
            label = labels[rows + dy, columns + dx]
            here = np.where(label > 0, depth[rows + dy, columns + dx] + label, 0)
            best = np.maximum(best, here)
        inside[gaps] = best % (int(basins.max()) + 1)
    return inside.copy()


def nearer_to(on: NDArray[Any], off: NDArray[Any], lab: LabImage) -> Flags:
    """The pixels that water from ``on`` reaches before that from ``off``, over the edges between.

    Args:
        on: Shape (h, w), not 0 at the springs of the one side.
        off: Shape (h, w), not 0 at the springs of the other side.
        lab: The picture, whose edges are the hills.
    """
    markers = np.zeros(lab.shape[:2], np.int32)
    markers[on > 0] = _ON
    markers[off > 0] = _OFF
    relief = np.clip(_slope(lab) * _RELIEF_STEPS, 0, 255).astype(np.uint8)
    nearer: Flags = flood(relief, markers) == _ON
    return nearer


def _slope(lab: LabImage) -> Plane:
    """Change over one pixel, (h, w), Delta E."""
    across = cv2.Sobel(lab, cv2.CV_32F, 1, 0, scale=_SOBEL_SCALE)
    down = cv2.Sobel(lab, cv2.CV_32F, 0, 1, scale=_SOBEL_SCALE)
    slope: Plane = np.sqrt(np.square(across).sum(axis=2) + np.square(down).sum(axis=2))
    return slope

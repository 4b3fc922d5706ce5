"""From the small planes of a model to masks of the image, box by box."""

import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.sam3.local.sam3_runtime import RawMasks
from segpipe.vision.boxes import BoxArray
from segpipe.vision.mask import Bitmap, Mask

_STRIP_PX = 1 << 20
"""Pixels that are interpolated at a time: what one needs as floats stays at 4 MB."""

Plane = NDArray[np.float32]


def to_mask(plane: Plane, level: float, *, width: int, height: int) -> Mask:
    """The pixels of an image at which a plane, stretched over it, is above a level.

    It is what bilinear interpolation to the whole image (``align_corners=False`` in torch) and a
    comparison give. Only the box of the item is interpolated, a strip of rows at a time, so that
    no array is as large as the image unless the item is.

    Args:
        plane: Shape (h, w) float32.
        level: In the unit of the plane.
        width: Pixels of the image.
        height: Pixels of the image.
    """
    rows = _reach(np.flatnonzero((plane > level).any(axis=1)), len(plane), height)
    columns = _reach(np.flatnonzero((plane > level).any(axis=0)), plane.shape[1], width)
    if rows.size == 0:
        return Mask.empty(image_width=width, image_height=height)
    left, right, towards_right = _neighbours(columns, plane.shape[1], width)
    # The side that shrinks first: all rows of the plane, the columns of the item.
    across = plane[:, left] * (1 - towards_right) + plane[:, right] * towards_right
    bits: Bitmap = np.empty((len(rows), len(columns)), np.uint8)
    strip = max(1, _STRIP_PX // len(columns))
    for start in range(0, len(rows), strip):
        above, below, towards_below = _neighbours(rows[start : start + strip], len(plane), height)
        down = towards_below[:, None]
        bits[start : start + strip] = across[above] * (1 - down) + across[below] * down > level
    return Mask(int(columns[0]), int(rows[0]), bits, width, height).tight()


def rough_boxes(raw: RawMasks, *, width: int, height: int) -> BoxArray:
    """Boxes of masks to the accuracy of their planes, (n, 4) ``xyxy`` in pixels of the image.

    A mask without a pixel has a box without an area.
    """
    boxes = np.zeros((len(raw), 4))
    down, across = raw.planes.shape[1:]
    for box, plane in zip(boxes, raw.planes, strict=True):
        inside = plane > raw.level
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if rows.size:
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    boxes *= (width / across, height / down, width / across, height / down)
    return boxes


def _reach(inside: NDArray[np.intp], cells: int, length: int) -> NDArray[np.intp]:
    """Pixels along one side of the image that cells of a plane can have a say in."""
    if inside.size == 0:
        return np.arange(0)
    # A cell counts up to the centres of its neighbours.
    start = (inside[0] - 0.5) * length / cells
    stop = (inside[-1] + 1.5) * length / cells
    return np.arange(max(0, int(np.floor(start))), min(length, int(np.ceil(stop)) + 1))


def _neighbours(
    pixels: NDArray[np.intp], cells: int, length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The two cells whose centres a pixel's centre lies between, and how near the second is."""
    places = np.maximum((pixels + 0.5) * (cells / length) - 0.5, 0)
    low = np.minimum(places.astype(np.intp), cells - 1)
    return low, np.minimum(low + 1, cells - 1), (places - low).astype(np.float32)

"""Flooding of a relief from markers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.arrays import Labels

_MIDDLE = np.uint8(128)


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
    return _without_gaps(np.asarray(basins[1:-1, 1:-1], np.int32))


def _without_gaps(basins: Labels) -> Labels:
    """Give what is in no basin to a neighbour, the highest label first.

    It is the lines that OpenCV leaves between basins, and pixels that such lines enclose.
    """
    around = np.pad(basins, 1)
    labels = around[1:-1, 1:-1]
    while (gaps := np.nonzero(labels <= 0))[0].size:
        rows, columns = gaps
        labels[gaps] = np.max(
            [around[rows + dy, columns + dx] for dy in range(3) for dx in range(3)], axis=0
        )
    return labels.copy()

"""Touching items, told apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import Labels, LabImage, Plane, flood
from segpipe.vision.mask import Bitmap

_PEAK_WINDOW_PX = 7
_MIN_DEPTH_PX = 2.0
_SMOOTHING_PX = 1.5  # of the distance: a ragged outline has no peak at every tooth
# The neck between two parts of one item, as a part of the thinner one's half width. Two parts of
# one colour need a marked neck to be two items; two colours need next to none.
_NECK_OF_ONE_COLOUR = 0.9
_NECK_OF_TWO_COLOURS = 0.97
_UNEVENNESS_PX = 0.8  # of a distance between pixels: no neck
_TWO_COLOURS = 10.0  # Delta E between the parts' means
_TOP = 255


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The basins of the distance to the outline; index 0 stands for no part.

    Attributes:
        depth: Half width of each in pixels, (n,).
        area: Pixels of each, (n,).
        colour: Mean Lab of each, (n, 3).
    """

    depth: NDArray[np.float64]
    area: NDArray[np.float64]
    colour: NDArray[np.float64]

    def are_one_item(self, a: int, b: int, saddle: float, min_area: float) -> bool:
        """Whether two touching parts belong together, from the deepest point between them."""
        two_colours = (
            float(np.linalg.norm(self.colour[a] - self.colour[b])) > _TWO_COLOURS
            # The mean colour of a fragment says little.
            and min(self.area[a], self.area[b]) > min_area
        )
        neck = _NECK_OF_TWO_COLOURS if two_colours else _NECK_OF_ONE_COLOUR
        thinner = min(self.depth[a], self.depth[b])
        return bool(saddle >= min(neck * thinner, thinner - _UNEVENNESS_PX))

    def merge(self, a: int, b: int) -> None:
        """Make ``a`` the two parts together."""
        area = self.area[a] + self.area[b]
        self.colour[a] = (self.colour[a] * self.area[a] + self.colour[b] * self.area[b]) / area
        self.area[a] = area
        self.depth[a] = max(self.depth[a], self.depth[b])


def split_items(goods: Bitmap, lab: LabImage, *, min_area: float) -> Labels:
    """Number the items of a foreground, 1 and up, (h, w).

    Watershed of the distance to the outline, one basin for each peak; then basins are merged from
    the highest saddle down, unless there is a neck between them, so that one item is not cut in
    two. (Merging by the height of the saddle against the lower peak is the dynamics of minima:
    M. Grimaud, "A new measure of contrast: the dynamics", 1992,
    https://doi.org/10.1117/12.60650.)

    Args:
        goods: Shape (h, w) uint8, 0 or 1.
        lab: Shape (h, w, 3) float32, CIE Lab.
        min_area: Pixels from which the colour of a part counts.
    """
    distance = cv2.distanceTransform(np.pad(goods, 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    depth: Plane = cv2.GaussianBlur(distance, (0, 0), _SMOOTHING_PX) * goods
    basins = _basins(depth, goods)
    parts = _measure(basins, depth, lab)
    return _merged(basins, parts, _saddles(basins, depth), min_area)


def _basins(depth: Plane, goods: Bitmap) -> Labels:
    window = np.ones((_PEAK_WINDOW_PX, _PEAK_WINDOW_PX), np.uint8)
    peaks = (depth >= cv2.dilate(depth, window)) & (depth > _MIN_DEPTH_PX)
    count, markers = cv2.connectedComponents(peaks.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros(goods.shape, np.int32)
    # Outside is the lowest marker: a pixel between it and an item goes to the item.
    markers = np.where(peaks, markers + 1, goods == 0)
    # The root spends more of the 8 bits on the necks, which are thin.
    relief = _TOP * (1 - np.sqrt(depth / depth.max()))
    return flood(relief.astype(np.uint8), np.asarray(markers, np.int32)) - 1


def _measure(basins: Labels, depth: Plane, lab: LabImage) -> _Parts:
    inside = np.nonzero(basins)
    basin = basins[inside]
    count = int(basin.max(initial=0)) + 1
    area = np.bincount(basin, minlength=count).astype(np.float64)
    deepest = np.zeros(count)
    np.maximum.at(deepest, basin, depth[inside])
    colours = lab[inside]
    sums = [np.bincount(basin, colours[:, channel], minlength=count) for channel in range(3)]
    return _Parts(deepest, area, np.stack(sums, axis=1) / np.maximum(area, 1)[:, None])


def _saddles(basins: Labels, depth: Plane) -> list[tuple[float, int, int]]:
    """The deepest point between each two touching parts, the deepest first."""
    count = int(basins.max()) + 1
    pairs: list[NDArray[np.int64]] = []
    depths: list[NDArray[np.float32]] = []
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        a, b = basins[one], basins[other]
        meet = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a[meet], b[meet]), np.maximum(a[meet], b[meet])
        pairs.append(low.astype(np.int64) * count + high)
        depths.append(np.minimum(depth[one][meet], depth[other][meet]))
    touching, index = np.unique(np.concatenate(pairs), return_inverse=True)
    saddle = np.zeros(len(touching))
    np.maximum.at(saddle, index, np.concatenate(depths))
    order = np.argsort(-saddle, kind="stable")
    return [(float(saddle[i]), *divmod(int(touching[i]), count)) for i in order]


def _merged(
    basins: Labels, parts: _Parts, saddles: list[tuple[float, int, int]], min_area: float
) -> Labels:
    root = list(range(len(parts.area)))

    def find(part: int) -> int:
        while root[part] != part:
            root[part] = root[root[part]]
            part = root[part]
        return part

    for saddle, one, other in saddles:
        a, b = sorted((find(one), find(other)))
        if a != b and parts.are_one_item(a, b, saddle, min_area):
            parts.merge(a, b)
            root[b] = a

    items = np.array([find(part) for part in range(len(root))])
    _, numbers = np.unique(items, return_inverse=True)
    # Part 0, no item, is its own root and sorts first: it stays 0.
    merged: Labels = numbers.astype(np.int32)[basins]
    return merged

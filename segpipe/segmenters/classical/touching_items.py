"""Touching items, told apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import (
    Labels,
    LabImage,
    Plane,
    flood,
    without_empty_holes,
)
from segpipe.vision.mask import Bitmap

_PEAK_WINDOW_PX = 7
_MIN_DEPTH_PX = 0.7
_SMOOTHING_PX = 1.5  # of the distance: a ragged outline has no peak at every tooth
# The neck between two parts of one item, as a part of the thinner one's half width, by how far
# their mean colours differ (Delta E). Parts of one colour need a very narrow neck to be two items,
# as two coins have that touch, since a key has a waist; two colours need next to none.
_COLOUR_DIFFERENCE = (3.0, 6.0, 10.0)
_NECK_OF_ONE_ITEM = (0.46, 0.9, 0.9)
_NECK_OF_TWO_COLOURS = 0.97
_NECK_OF_LINKS = 0.3
_UNEVENNESS_PX = 0.8  # of a distance between pixels: no neck
_NARROW = 1.3  # of the half width of a neck: what is hardly wider belongs to it
_SHAFT_AREA = 3.0  # of a neck's half width squared, from which it is long
_THREAD_PX = 3.6  # half width
_LIKE_LINKS = 0.6  # of the other's half width: small parts of a chain are alike
_STEP_REACH_PX = 3  # from the border between two parts, beyond the blur
_STEP_FLOOR, _STEP_GAIN = 1.0, 2.0  # of it, Delta E: the parts may meet beside the true border
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

    def copy(self) -> "_Parts":
        return _Parts(self.depth.copy(), self.area.copy(), self.colour.copy())

    def difference(self, a: int, b: int) -> float:
        """Delta E between the mean colours of two parts."""
        return float(np.linalg.norm(self.colour[a] - self.colour[b]))

    def merge(self, a: int, b: int) -> None:
        """Make ``a`` the two parts together."""
        area = max(self.area[a] + self.area[b], 1.0)
        self.colour[a] = (self.colour[a] * self.area[a] + self.colour[b] * self.area[b]) / area
        self.area[a] = area
        self.depth[a] = max(self.depth[a], self.depth[b])


@dataclass(frozen=True, slots=True)
class _Contact:
    """Where two basins touch.

    Attributes:
        one: A basin's number.
        other: The other's.
        saddle: The deepest point between them, pixels.
        step: How far their colours differ on both sides of the border between them, Delta E.
    """

    one: int
    other: int
    saddle: float
    step: float


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
    # A ring is as deep as the disc that it surrounds.
    solid = without_empty_holes(goods)
    distance = cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    depth: Plane = cv2.GaussianBlur(distance, (0, 0), _SMOOTHING_PX) * solid
    basins = _basins(depth, solid)
    parts = _measure(basins, depth, goods, lab)
    return _merged(basins, parts, _contacts(basins, depth, lab), min_area) * goods


def _basins(depth: Plane, goods: Bitmap) -> Labels:
    window = np.ones((_PEAK_WINDOW_PX, _PEAK_WINDOW_PX), np.uint8)
    peaks = (depth >= cv2.dilate(depth, window)) & (depth > _MIN_DEPTH_PX)
    count, markers = cv2.connectedComponents(peaks.astype(np.uint8), connectivity=8)
    if count == 1:
        return _with_threads(np.zeros(goods.shape, np.int32), goods)
    # Outside is the lowest marker: a pixel between it and an item goes to the item.
    markers = np.where(peaks, markers + 1, goods == 0)
    # The root spends more of the 8 bits on the necks, which are thin.
    relief = _TOP * (1 - np.sqrt(depth / depth.max()))
    basins = flood(relief.astype(np.uint8), np.asarray(markers, np.int32)) - 1
    return _with_threads(basins, goods)


def _with_threads(basins: Labels, goods: Bitmap) -> Labels:
    """Give a thread, too thin to be flooded, to what it hangs on, or a basin of its own."""
    lost = ((goods > 0) & (basins == 0)).astype(np.uint8)
    if not lost.any():
        return basins
    count, threads = cv2.connectedComponents(lost, connectivity=8)
    rows, columns = np.nonzero(lost)
    around = np.pad(basins, 1)
    near = np.max([around[rows + dy, columns + dx] for dy in range(3) for dx in range(3)], axis=0)
    owner = np.zeros(count, np.int32)
    np.maximum.at(owner, threads[rows, columns], near)
    alone = owner == 0
    alone[0] = False  # what is no thread
    owner[alone] = basins.max() + np.arange(1, np.count_nonzero(alone) + 1)
    return np.where(lost > 0, owner[threads], basins).astype(np.int32)


def _measure(basins: Labels, depth: Plane, goods: Bitmap, lab: LabImage) -> _Parts:
    count = int(basins.max()) + 1
    inside = np.nonzero(basins)
    deepest = np.zeros(count)
    np.maximum.at(deepest, basins[inside], depth[inside])
    shown = np.nonzero(basins * goods)
    basin, colours = basins[shown], lab[shown]
    area = np.bincount(basin, minlength=count).astype(np.float64)
    sums = [np.bincount(basin, colours[:, channel], minlength=count) for channel in range(3)]
    return _Parts(deepest, area, np.stack(sums, axis=1) / np.maximum(area, 1)[:, None])


def _contacts(basins: Labels, depth: Plane, lab: LabImage) -> list[_Contact]:
    """Where two parts touch, the deepest contact first."""
    count = int(basins.max()) + 1
    pairs: list[NDArray[np.int64]] = []
    depths: list[NDArray[np.float32]] = []
    steps: list[NDArray[np.float32]] = []
    for axis in (0, 1):
        near, far = _neighbours(axis)
        a, b = basins[near], basins[far]
        rows, columns = np.nonzero((a != b) & (a > 0) & (b > 0))
        a, b = a[rows, columns], b[rows, columns]
        pairs.append(np.minimum(a, b).astype(np.int64) * count + np.maximum(a, b))
        depths.append(np.minimum(depth[near][rows, columns], depth[far][rows, columns]))
        along = rows if axis == 0 else columns
        before = np.maximum(along - _STEP_REACH_PX, 0)
        behind = np.minimum(along + 1 + _STEP_REACH_PX, basins.shape[axis] - 1)
        step = (
            lab[behind, columns] - lab[before, columns]
            if axis == 0
            else lab[rows, behind] - lab[rows, before]
        )
        steps.append(np.where((a < b)[:, None], step, -step))
    touching, index = np.unique(np.concatenate(pairs), return_inverse=True)
    saddle = np.zeros(len(touching))
    np.maximum.at(saddle, index, np.concatenate(depths))
    length = np.bincount(index, minlength=len(touching))
    each_step = np.concatenate(steps)
    mean = [
        np.bincount(index, each_step[:, channel], minlength=len(touching)) for channel in range(3)
    ]
    step_size = np.linalg.norm(np.stack(mean, axis=1), axis=1) / np.maximum(length, 1)
    return [
        _Contact(*divmod(int(touching[i]), count), float(saddle[i]), float(step_size[i]))
        for i in np.argsort(-saddle, kind="stable")
    ]


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Each pixel but the last along an axis, and the next one."""
    everything = slice(None)
    near, far = slice(None, -1), slice(1, None)
    return (
        ((near, everything), (far, everything))
        if axis == 0
        else (
            (everything, near),
            (everything, far),
        )
    )


def _merged(basins: Labels, parts: _Parts, contacts: list[_Contact], min_area: float) -> Labels:
    items = parts.copy()
    root = list(range(len(parts.area)))

    def find(part: int) -> int:
        while root[part] != part:
            root[part] = root[root[part]]
            part = root[part]
        return part

    for contact in contacts:
        a, b = sorted((find(contact.one), find(contact.other)))
        if a != b and _are_one_item(parts, items, contact, (a, b), min_area):
            items.merge(a, b)
            root[b] = a

    found = np.array([find(part) for part in range(len(root))])
    _, numbers = np.unique(found, return_inverse=True)
    # Part 0, no item, is its own root and sorts first: it stays 0.
    merged: Labels = numbers.astype(np.int32)[basins]
    return merged


def _are_one_item(
    parts: _Parts, items: _Parts, contact: _Contact, touching: tuple[int, int], min_area: float
) -> bool:
    """Whether what was merged so far around two touching basins belongs together."""
    a, b = touching
    thinner = min(items.depth[a], items.depth[b])
    # Shading changes the mean colour too, but not at the border between two parts.
    difference = min(items.difference(a, b), _STEP_FLOOR + _STEP_GAIN * contact.step)
    # The colour of a fragment or a thread says little.
    says_little = min(items.area[a], items.area[b]) <= min_area
    if thinner < _THREAD_PX:
        neck = _NECK_OF_ONE_ITEM[0]
    elif difference > _COLOUR_DIFFERENCE[-1] and not says_little:
        neck = _NECK_OF_TWO_COLOURS
    else:
        neck = float(np.interp(difference, _COLOUR_DIFFERENCE, _NECK_OF_ONE_ITEM))

    # A neck that is long is the shaft of a bone, whose ends are thick again
    ends = (contact.one, contact.other)
    narrow = [part for part in ends if parts.depth[part] <= _NARROW * contact.saddle]
    shallow = min(float(parts.depth[part]) for part in ends)
    if sum(parts.area[part] for part in narrow) >= _SHAFT_AREA * contact.saddle**2:
        thinner = shallow
    elif min(parts.area[part] for part in ends) < min_area and shallow > _LIKE_LINKS * thinner:
        thinner, neck = shallow, min(neck, _NECK_OF_LINKS)
    return bool(contact.saddle >= min(neck * thinner, thinner - _UNEVENNESS_PX))

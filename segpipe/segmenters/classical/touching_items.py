"""Touching items, told apart."""

import math
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
_UNEVENNESS_PX = 0.8  # of a distance between pixels: no neck
_THREAD_PX = 3.6  # half width
_AS_NARROW = 0.85  # of the necks inside, from which another one is no narrower
_NARROW = 1.35  # of the half width of a neck: what is hardly wider belongs to it
# Between what is broad on both sides of a neck: two discs that touch have 1.8 of its half width.
_SHAFT_LENGTH, _SHAFT_MORE_PX = 3.5, 2.0
_STEP_REACH_PX = 3  # from the border between two parts, beyond the blur
_STEP_FLOOR, _STEP_GAIN = 1.0, 2.0  # of it, Delta E: the parts may meet beside the true border
_TOP = 255
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows and columns to a neighbour


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The basins of the distance to the outline; index 0 stands for no part.

    Attributes:
        depth: Half width of each in pixels, (n,).
        area: Pixels of each, (n,).
        colour: Mean Lab of each, (n, 3).
        narrowest: Half width of the narrowest neck inside each, (n,).
    """

    depth: NDArray[np.float64]
    area: NDArray[np.float64]
    colour: NDArray[np.float64]
    narrowest: NDArray[np.float64]

    def difference(self, a: int, b: int) -> float:
        """Delta E between the mean colours of two parts."""
        return float(np.linalg.norm(self.colour[a] - self.colour[b]))

    def merge(self, a: int, b: int, neck: float) -> None:
        """Make ``a`` the two parts together, with a neck of that half width between them."""
        area = max(self.area[a] + self.area[b], 1.0)
        self.colour[a] = (self.colour[a] * self.area[a] + self.colour[b] * self.area[b]) / area
        self.area[a] = area
        self.depth[a] = max(self.depth[a], self.depth[b])
        self.narrowest[a] = min(self.narrowest[a], self.narrowest[b], neck)


@dataclass(frozen=True, slots=True)
class _Contact:
    """Where two basins touch.

    Attributes:
        one: A basin's number.
        other: The other's.
        saddle: The half width of the neck between them at its widest, pixels.
        place: Where that is, (row, column).
        step: How far their colours differ on both sides of the border between them, Delta E.
    """

    one: int
    other: int
    saddle: float
    place: tuple[int, int]
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
    return _merged(basins, depth, parts, _contacts(basins, depth, lab), min_area) * goods


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
    colour = np.stack(sums, axis=1) / np.maximum(area, 1)[:, None]
    return _Parts(deepest, area, colour, deepest.copy())


def _contacts(basins: Labels, depth: Plane, lab: LabImage) -> list[_Contact]:
    """Where two parts touch, the deepest contact first."""
    count = int(basins.max()) + 1
    found = [_contacts_along(basins, depth, lab, step) for step in _STEPS]
    pairs, depths, places, steps = (np.concatenate(values) for values in zip(*found, strict=True))
    deepest_first = np.argsort(-depths, kind="stable")
    touching, first = np.unique(pairs[deepest_first], return_index=True)
    index = np.searchsorted(touching, pairs)
    length = np.bincount(index, minlength=len(touching))
    mean = [np.bincount(index, steps[:, channel], minlength=len(touching)) for channel in range(3)]
    step_size = np.linalg.norm(np.stack(mean, axis=1), axis=1) / np.maximum(length, 1)
    saddles = deepest_first[first]
    return [
        _Contact(
            *divmod(int(touching[i]), count),
            float(depths[saddles[i]]),
            tuple(places[saddles[i]]),
            float(step_size[i]),
        )
        for i in np.argsort(-depths[saddles], kind="stable")
    ]


def _contacts_along(
    basins: Labels, depth: Plane, lab: LabImage, step: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Each pixel whose neighbour so many rows and columns on is of another part.

    Returns:
        The pair as one number, (n,); the lesser depth of the two pixels, (n,); the place, (n, 2);
        how the colour changes from the lower number to the higher one, (n, 3).
    """
    down, across = step
    height, width = basins.shape
    near = np.s_[: height - down, max(0, -across) : width - max(0, across)]
    far = np.s_[down:, max(0, across) : width - max(0, -across)]
    a, b = basins[near], basins[far]
    rows, columns = np.nonzero((a != b) & (a > 0) & (b > 0))
    a, b = a[rows, columns], b[rows, columns]
    columns = columns + max(0, -across)
    end = (rows + down, columns + across)

    def colour(times: int) -> LabImage:
        y = np.clip(rows + times * down, 0, height - 1)
        return lab[y, np.clip(columns + times * across, 0, width - 1)]

    change = colour(1 + _STEP_REACH_PX) - colour(-_STEP_REACH_PX)
    return (
        np.minimum(a, b).astype(np.int64) * (int(basins.max()) + 1) + np.maximum(a, b),
        np.minimum(depth[rows, columns], depth[end]),
        np.stack([rows, columns], axis=1),
        np.where((a < b)[:, None], change, -change),
    )


def _merged(
    basins: Labels, depth: Plane, parts: _Parts, contacts: list[_Contact], min_area: float
) -> Labels:
    root = np.arange(len(parts.area))
    members = [[part] for part in range(len(root))]
    for contact in contacts:
        a, b = sorted((int(root[contact.one]), int(root[contact.other])))
        if a == b:
            continue
        # Shading changes the mean colour too, but not at the border between two parts.
        difference = min(parts.difference(a, b), _STEP_FLOOR + _STEP_GAIN * contact.step)
        if _are_one_item(parts, contact, (a, b), difference, min_area) or (
            difference <= _COLOUR_DIFFERENCE[-1] and _is_shaft(basins, depth, root, contact)
        ):
            parts.merge(a, b, contact.saddle)
            root[members[b]] = a
            members[a] += members[b]

    _, numbers = np.unique(root, return_inverse=True)
    # Part 0, no item, is its own root and sorts first: it stays 0.
    merged: Labels = numbers.astype(np.int32)[basins]
    return merged


def _are_one_item(
    items: _Parts,
    contact: _Contact,
    touching: tuple[int, int],
    difference: float,
    min_area: float,
) -> bool:
    """Whether what was merged so far around two touching basins belongs together."""
    a, b = touching
    if min(items.area[a], items.area[b]) < min_area:
        return True  # it is too small to be an item of its own: a link, a thread, a fragment
    if contact.saddle >= _AS_NARROW * max(items.narrowest[a], items.narrowest[b]):
        return True  # both have such necks inside: it is one more link of a chain
    thinner = min(items.depth[a], items.depth[b])
    if thinner < _THREAD_PX:
        neck = _NECK_OF_ONE_ITEM[0]
    elif difference > _COLOUR_DIFFERENCE[-1]:
        neck = _NECK_OF_TWO_COLOURS
    else:
        neck = float(np.interp(difference, _COLOUR_DIFFERENCE, _NECK_OF_ONE_ITEM))
    return bool(contact.saddle >= min(neck * thinner, thinner - _UNEVENNESS_PX))


def _is_shaft(basins: Labels, depth: Plane, root: NDArray[np.int64], contact: _Contact) -> bool:
    """Whether a neck is long: two goods that touch are broad on both its sides."""
    least = _SHAFT_LENGTH * contact.saddle + _SHAFT_MORE_PX
    reach = math.ceil(least)
    view = tuple(slice(max(0, at - reach), at + reach + 1) for at in contact.place)
    broad = depth[view] > _NARROW * contact.saddle
    owner = root[basins[view]]
    one, other = (broad & (owner == root[part]) for part in (contact.one, contact.other))
    if not (one.any() and other.any()):
        return True
    away = cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return bool(away[other].min() >= least)

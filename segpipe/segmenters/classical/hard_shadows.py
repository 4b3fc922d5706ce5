"""Shadows with a sharp edge, told from dark goods by their shape: an item's own, moved aside."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import (
    LAB_OF_BLACK,
    Flags,
    Labels,
    LabImage,
    diagonal_of,
    disc,
    radius_of,
)
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap

# Sizes, as a part of the diagonal:
_BROAD = 0.004  # radius of a disc that fits into a shadow
_NEXT_TO = 0.008  # how near a shadow is to its item
_MIN_FRACTION = 0.0008  # of the picture
_SIDE_PX = 72  # of the small pictures in which shapes are compared
_TURNS = np.radians(range(-40, 41, 10))  # from the way that leads from the item to its shadow
_DISTANCES = 18
_SAME_SHAPE = 0.82  # IoU of a shadow with its item moved aside
_PENUMBRA_PX = 1
_STEP_PX = 2  # of the reduced picture: a shadow worth the name shows in a quarter of its pixels
_DEEPEST, _SHADED = 0.25, 0.93  # of the light on the table
_TABLES_COLOUR = 6.0  # Delta E within which a darker pixel has the table's colour


def without_cast_shadows(goods: Bitmap, lab: LabImage, surface: LabImage) -> Bitmap:
    """Leave out what has the shape of the item beside it, moved, and is nothing but dark table.

    A lamp far away throws the outline of a flat thing; of a thick one, all that its outline sweeps
    over. A dark item in the shape of its neighbour, turned alike, is taken for a shadow.

    Args:
        goods: Shape (h, w), 0 or 1.
        lab: The picture, (h, w, 3), CIE Lab.
        surface: The table's colour at each pixel, (h, w, 3).
    """
    small = goods[::_STEP_PX, ::_STEP_PX] > 0
    dark = small & _is_dark_table(lab[::_STEP_PX, ::_STEP_PX], surface[::_STEP_PX, ::_STEP_PX])
    if np.count_nonzero(dark) < _MIN_FRACTION * small.size:
        return goods
    diagonal = diagonal_of(small.shape)
    broad = disc(radius_of(_BROAD, diagonal))
    shade, rest = (
        np.asarray(cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_OPEN, broad), np.uint8)
        for part in (dark, small & ~dark)
    )
    count, shades, stats, _ = cv2.connectedComponentsWithStats(shade, connectivity=4)
    _, items = cv2.connectedComponents(rest, connectivity=4)
    cast = np.zeros_like(shade)
    reach = radius_of(_NEXT_TO, diagonal)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < _MIN_FRACTION * small.size:
            continue
        piece = np.asarray(shades == number, np.uint8)
        if any(_is_moved(item, piece) for item in _beside(piece, np.asarray(items), reach)):
            cast |= piece
    if not cast.any():
        return goods
    near = disc(_PENUMBRA_PX + broad.shape[0] // 2)
    beside = np.asarray(cv2.dilate(rest, disc(1)), np.uint8) & (1 - cast)
    left_out = np.asarray(cv2.dilate(cast, near), np.uint8) & (1 - beside)
    size = (goods.shape[1], goods.shape[0])
    enlarged = np.asarray(cv2.resize(left_out, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(goods & (1 - enlarged), np.uint8)


def _is_dark_table(lab: LabImage, surface: LabImage) -> Flags:
    """Where a pixel has the table's colour in clearly less light, (h, w)."""
    lit, seen = surface + LAB_OF_BLACK, lab + LAB_OF_BLACK
    light = np.einsum("hwc,hwc->hw", lit, lit)
    part = np.einsum("hwc,hwc->hw", seen, lit) / np.maximum(light, 1)
    # Squared distance to the line from black to the table's colour
    beside = np.einsum("hwc,hwc->hw", seen, seen) - part * part * light
    dark: Flags = (part > _DEEPEST) & (part < _SHADED) & (beside < _TABLES_COLOUR**2)
    return dark


def _beside(piece: Bitmap, items: Labels, reach: int) -> Iterator[Bitmap]:
    near = items[cv2.dilate(piece, disc(reach)) > 0]
    for number in np.unique(near[near > 0]):
        yield np.asarray(items == number, np.uint8)


def _is_moved(item: Bitmap, shade: Bitmap) -> bool:
    """Whether a shade is what an item shows beside itself when it is moved, or swept."""
    window = _window(item | shade)
    scale = _SIDE_PX / max(window.width, window.height)
    small = [
        cv2.resize(
            part[window.y1 : window.y2, window.x1 : window.x2],
            (max(1, round(window.width * scale)), max(1, round(window.height * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST,
        )
        for part in (item, shade)
    ]
    thing, dark = ((np.asarray(part) > 0).astype(np.uint8) for part in small)
    dark = dark & (1 - thing)
    if not (dark.any() and thing.any()):
        return False
    across, down = (
        float(np.mean(d) - np.mean(t))
        for d, t in zip(np.nonzero(dark)[::-1], np.nonzero(thing)[::-1], strict=True)
    )
    for turn in _TURNS:
        angle = np.arctan2(down, across) + turn
        swept = thing.copy()
        for step in range(1, _DISTANCES + 1):
            distance = step * _SIDE_PX / 2 / _DISTANCES
            moved = _moved(thing, distance * float(np.cos(angle)), distance * float(np.sin(angle)))
            swept |= moved
            if max(_iou(moved & ~thing, dark), _iou(swept & ~thing, dark)) >= _SAME_SHAPE:
                return True
    return False


def _window(bits: Bitmap) -> PixelWindow:
    x, y, width, height = cv2.boundingRect(bits)
    return PixelWindow(x, y, x + width, y + height)


def _moved(bits: Bitmap, right: float, down: float) -> Bitmap:
    shift = np.array([[1, 0, round(right)], [0, 1, round(down)]], np.float32)
    size = (bits.shape[1], bits.shape[0])
    return np.asarray(cv2.warpAffine(bits, shift, size, flags=cv2.INTER_NEAREST), np.uint8)


def _iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0

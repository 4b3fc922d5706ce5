"""The outlines of the goods: lines that are goods, holes that are holes, and the edges."""

import cv2
import numpy as np

from segpipe.segmenters.classical.lab_planes import (
    Flags,
    Plane,
    diagonal_of,
    disc,
    filled,
    flood,
    radius_of,
)
from segpipe.vision.mask import Bitmap

_SPECK_PX = 2  # radius of a disc that fits into what is no line
# Sizes, as a part of the diagonal:
_LINE = 0.03  # the extent from which a line is no scratch
_MARGIN = 0.006  # how far an outline may be from the true edge
_LINE_STRONG_PART = 0.5  # of a line, in the middle of an item or of a thread
# Of a thin thing's half width, from which it is surely itself:
_CORE_OF_GOODS = 0.7
_CLEAR, _CLEAR_PART = 8.0, 0.7  # deviations, and of the clearest pixel near
_SHADELESS = 3.0  # deviations
_CORE_OF_HOLE = 0.5
_CORE_OF_GAP = 0.9  # a gap may be a crack

_MIN_HOLE_FRACTION = 0.00003  # of the picture; less is a spot
_HOLE_SKIN_PX = 2  # what is so near to the rim of a hole shows the rim
# In standard deviations of the bare table, as far as no shadow explains them:
_MOST_UNLIKE_TABLE = 0.4  # of a hole, more than the table beside the item
_USUAL_TABLE = 0.5  # a table of one colour, well fitted
_AROUND = 0.04  # of the diagonal: how far around a hole the table is compared
# Bands side by side in the table's colour are a pattern, not holes.
_PATTERN_BANDS = 3
_BAND_ELONGATION = 3.0

_GOODS, _TABLE = 1, 2  # markers; a pixel between two goes to the higher one
_RELIEF_STEPS = 8.0  # levels of the relief for one Delta E per pixel


def without_specks(goods: Bitmap, strong: Flags) -> Bitmap:
    """Leave out specks and scratches; lines that are clearly no table stay, however thin.

    Args:
        goods: Shape (h, w), 0 or 1.
        strong: What is surely no table, (h, w).
    """
    broad = np.asarray(cv2.morphologyEx(goods, cv2.MORPH_OPEN, disc(_SPECK_PX)), np.uint8)
    _, shapes, stats, _ = cv2.connectedComponentsWithStats(goods, connectivity=8)
    extent = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    is_long = extent > _LINE * diagonal_of(goods.shape)
    thin = goods & (1 - broad) & is_long[shapes]
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(thin, connectivity=8)
    sure = np.bincount(pieces[strong], minlength=count)
    is_line = sure > _LINE_STRONG_PART * stats[:, cv2.CC_STAT_AREA]
    is_line[0] = False
    return np.asarray(broad | is_line[pieces], np.uint8)


def with_holes(goods: Bitmap, unshaded: Plane) -> Bitmap:
    """Fill what the goods enclose, but for holes through which the bare table is seen.

    A hole shows the table as it is beside the item, or darker, as in a shadow. Three bands or
    more, side by side, are stripes in the colour of the table.

    Args:
        goods: Shape (h, w), 0 or 1.
        unshaded: How far each pixel is from the table, shadows aside, (h, w), in deviations.
    """
    solid = filled(goods)
    inner = solid & (1 - goods)
    count, holes, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=4)
    least = _MIN_HOLE_FRACTION * goods.size
    candidates = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= least]
    if not candidates:
        return solid
    _, outlines = cv2.connectedComponents(solid, connectivity=8)
    bands: dict[int, list[int]] = {}
    open_holes: list[int] = []
    for number in candidates:
        x, y, width, height, _ = (int(value) for value in stats[number])
        view = (slice(y, y + height), slice(x, x + width))
        hole = (holes[view] == number).astype(np.uint8)
        if not _shows_table(hole, unshaded[view], _beside(view, solid, unshaded)):
            continue
        open_holes.append(number)
        if _is_band(hole):
            row, column = np.argwhere(hole)[0]
            bands.setdefault(int(outlines[y + row, x + column]), []).append(number)
    striped = {one for many in bands.values() if len(many) >= _PATTERN_BANDS for one in many}
    keep = np.zeros(count, np.bool_)
    keep[[number for number in open_holes if number not in striped]] = True
    return np.asarray(solid & ~keep[holes], np.uint8)


def on_strongest_edges(goods: Bitmap, slope: Plane, unshaded: Plane) -> Bitmap:
    """Move each outline, by a small margin at most, to the strongest edge there.

    Args:
        goods: Shape (h, w), 0 or 1.
        slope: Change over one pixel, (h, w), Delta E.
        unshaded: How far each pixel is from the table, shadows aside, (h, w), in deviations.
    """
    margin = radius_of(_MARGIN, diagonal_of(goods.shape))
    markers = np.zeros(goods.shape, np.int32)
    solid = filled(goods)
    markers[_cores(1 - solid, margin - 1, _CORE_OF_GAP)] = _TABLE
    holes = solid - goods
    if holes.any():
        markers[_cores(holes, margin - 1, _CORE_OF_HOLE)] = _TABLE
    markers[_cores_of_goods(goods, margin, unshaded)] = _GOODS
    relief = np.clip(slope * _RELIEF_STEPS, 0, 255).astype(np.uint8)
    return np.asarray(flood(relief, markers) == _GOODS, np.uint8)


def _cores_of_goods(goods: Bitmap, margin: int, unshaded: Plane) -> Flags:
    """The cores of goods; in the middle of what is thin may be the shadow beside it."""
    deep = _cores(goods, margin, 1.0)
    side = 2 * margin + 1
    clearest = cv2.dilate(unshaded, np.ones((side, side), np.uint8))
    clear = unshaded > np.maximum(_CLEAR, _CLEAR_PART * clearest)
    thin = _cores(goods, margin, _CORE_OF_GOODS) & (unshaded > _SHADELESS)
    cores: Flags = deep | thin | (clear & (goods > 0))
    return cores


def _beside(view: tuple[slice, slice], solid: Bitmap, unshaded: Plane) -> float:
    """What the table around a hole has, a misfit of its colour included."""
    reach = _AROUND * diagonal_of(solid.shape)
    around = tuple(slice(max(0, int(side.start - reach)), int(side.stop + reach)) for side in view)
    table = unshaded[around][solid[around] == 0]
    return float(np.median(table)) if table.size else _USUAL_TABLE


def _shows_table(hole: Bitmap, unshaded: Plane, beside: float) -> bool:
    inside = cv2.erode(np.pad(hole, 1), disc(_HOLE_SKIN_PX))[1:-1, 1:-1] > 0
    seen = unshaded[inside if inside.any() else hole > 0]
    return bool(np.median(seen) <= max(_USUAL_TABLE, beside) + _MOST_UNLIKE_TABLE)


def _is_band(hole: Bitmap) -> bool:
    _, (one, other), _ = cv2.minAreaRect(cv2.findNonZero(hole))
    return bool(max(one, other) + 1 >= _BAND_ELONGATION * (min(one, other) + 1))


def _cores(shapes: Bitmap, margin: int, part: float) -> Flags:
    """What is surely inside: so far from the outline, or in the middle of what is thin."""
    padded = np.pad(shapes, 1, mode="edge")
    inward = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    side = 2 * margin + 3
    half_width = cv2.dilate(inward, np.ones((side, side), np.uint8))
    cores: Flags = inward > np.minimum(margin, part * half_width)
    return cores

"""Stripes of one item: what lies between them is no table where it ends in a bright edge."""

import itertools
from collections.abc import Iterator

import cv2
import numpy as np

from segpipe.segmenters.classical.lab_planes import Flags, Labels, LabImage, diagonal_of
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap

_WIDEST = 0.06  # of the diagonal: between two stripes of one item
_AROUND_PX = 8  # of a gap, to see what is outside its ends
_NARROWEST_PX = 2
_FACING, _FACING_PX = 1.35, 2.0  # of the gap's width: how far what faces it lies from the other
_SAME_COLOUR = 12.0  # Delta E between what faces the gap on both sides
_LARGEST = 2.0  # of a gap, as a part of the smaller stripe
_CLOSED = 0.55  # of a gap's outline, by the two stripes
_ALIKE = 0.35  # how much less of it one of them may close
_CORNER_PX = 2  # near the stripes their own edge is seen
_BLUR_PX, _SEEN_PX = 1.5, 5.0  # from the end of a gap: where the colours are compared
_SHORTEST_END_PX, _FEWEST_PX = 5, 12
_BRIGHTER = 5.0  # L inside the end; no shadow makes a table brighter between goods than beside them
_SQUARE = np.ones((3, 3), np.uint8)


def join_stripes(labels: Labels, lab: LabImage, *, min_area: float) -> Labels:
    """Number stripes of one item, and what lies between them, as one, (h, w).

    A stripe in the table's colour is told from the table between two goods that lie side by side
    by its ends: there the item ends in an edge, where a table goes on. Shadows end there too, but
    make the table darker; so the edge counts where it is brighter inside.

    Args:
        labels: Items by number from 1 on, (h, w); 0 is the table.
        lab: Shape (h, w, 3) float32, CIE Lab, a little smoothed.
        min_area: Pixels of the smallest item.
    """
    widest = _WIDEST * diagonal_of(labels.shape)
    joined: list[tuple[int, int, PixelWindow, Bitmap]] = []
    for one, other, window in _neighbours(labels, min_area, round(widest)):
        view = (slice(window.y1, window.y2), slice(window.x1, window.x2))
        stripes = [(labels[view] == number).astype(np.uint8) for number in (one, other)]
        gap = _gap_between(stripes[0], stripes[1], lab[view], widest)
        if gap is not None and _ends_brightly(gap, labels[view] > 0, lab[view]):
            joined.append((one, other, window, gap))
    if not joined:
        return labels
    root = np.arange(int(labels.max()) + 1)
    for one, other, _, _ in joined:
        root[root == root[other]] = root[one]
    merged = root[labels].astype(np.int32)
    for one, _, window, gap in joined:
        part = merged[window.y1 : window.y2, window.x1 : window.x2]
        part[(gap > 0) & (part == 0)] = root[one]
    return merged


def _neighbours(
    labels: Labels, min_area: float, reach: int
) -> Iterator[tuple[int, int, PixelWindow]]:
    """Two items whose boxes are no further apart than that, and where both are near."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    count = int(labels.max()) + 1
    low, high = np.full((2, count), max(labels.shape)), np.zeros((2, count), np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], numbers, places)
        np.maximum.at(high[axis], numbers, places + 1)
    picture = PixelWindow(0, 0, labels.shape[1], labels.shape[0])
    windows = {
        int(number): PixelWindow(
            int(low[0, number]) - reach,
            int(low[1, number]) - reach,
            int(high[0, number]) + reach,
            int(high[1, number]) + reach,
        )
        for number in np.flatnonzero(np.bincount(numbers, minlength=count) >= max(min_area, 1))
    }
    for one, other in itertools.combinations(windows, 2):
        both = windows[one].intersect(windows[other]).intersect(picture)
        if both.width > _AROUND_PX and both.height > _AROUND_PX:
            yield one, other, both


def _gap_between(one: Bitmap, other: Bitmap, lab: LabImage, widest: float) -> Bitmap | None:
    """What lies between two shapes of one colour that face each other along a long side."""
    if not (one.any() and other.any()):
        return None
    from_one, from_other = (
        cv2.distanceTransform(1 - shape, cv2.DIST_L2, cv2.DIST_MASK_5) for shape in (one, other)
    )
    width = float(from_one[other > 0].min())
    if not _NARROWEST_PX <= width <= widest:
        return None
    reach = _FACING * width + _FACING_PX
    facing_one, facing_other = (one > 0) & (from_other <= reach), (other > 0) & (from_one <= reach)
    colours = [np.median(lab[facing], axis=0) for facing in (facing_one, facing_other)]
    if np.linalg.norm(colours[0] - colours[1]) > _SAME_COLOUR:
        return None
    hull = np.zeros_like(one)
    corners = cv2.findNonZero((facing_one | facing_other).astype(np.uint8))
    cv2.fillConvexPoly(hull, cv2.convexHull(corners), (1,))
    between = hull & (1 - (one | other))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(between, connectivity=4)
    if count == 1:
        return None
    gap = np.asarray(pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)
    return gap if _is_closed(gap, one, other, width) else None


def _is_closed(gap: Bitmap, one: Bitmap, other: Bitmap, width: float) -> bool:
    """Whether both close a good part of the gap, which is not much larger than they are."""
    area = np.count_nonzero(gap)
    if area > _LARGEST * min(np.count_nonzero(one), np.count_nonzero(other)):
        return False
    ring = np.asarray(cv2.dilate(gap, _SQUARE), np.uint8) & (1 - gap)
    by_one, by_other = np.count_nonzero(ring & one), np.count_nonzero(ring & other)
    less, more = sorted((by_one, by_other))
    is_long = less >= 2 * width and less >= _ALIKE * more
    return bool(is_long and by_one + by_other >= _CLOSED * np.count_nonzero(ring))


def _ends_brightly(gap: Bitmap, goods: Flags, lab: LabImage) -> bool:
    """Whether the gap is brighter than what is outside one of its two open ends."""
    near_goods = cv2.dilate(goods.astype(np.uint8), np.ones((2 * _CORNER_PX + 1,) * 2, np.uint8))
    free = np.asarray(near_goods == 0)
    ends = (cv2.dilate(gap, _SQUARE) > 0) & (gap == 0) & ~goods
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(
        ends.astype(np.uint8), connectivity=8
    )
    steps = []
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < _SHORTEST_END_PX:
            continue
        away = cv2.distanceTransform(
            (numbers != number).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5
        )
        seen = free & (away > _BLUR_PX) & (away <= _SEEN_PX)
        inside, outside = seen & (gap > 0), seen & (gap == 0)
        if min(np.count_nonzero(inside), np.count_nonzero(outside)) >= _FEWEST_PX:
            steps.append(float(lab[inside, 0].mean() - lab[outside, 0].mean()))
    return len(steps) > 1 and max(steps) > _BRIGHTER

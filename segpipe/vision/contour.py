"""The outlines of a mask, as arrays and as SVG path data."""

import math
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Bitmap, Mask
from segpipe.vision.svg_path import MAX_CHARACTERS

DEFAULT_TOLERANCE_PX = 0.25
"""Keeps what is one pixel wide: across a diagonal line of pixels an outline has 0.7 px."""

Corners = NDArray[np.int32]
"""Shape (n, 2), x and y in half pixels of a bitmap."""
Integers = NDArray[np.int64]
"""Shape (n,)."""

_UNITS = 10_000  # 4 decimals
_PIXEL = 2  # in half pixels
_FEWEST_CORNERS = 3
_FEW_CORNERS = 32  # not worth simplifying: small items stay exact
# What is written can be read again.
_MAX_CORNERS = MAX_CHARACTERS // len("M0.1234,0.1234Z")

# Directions by (dy, dx) from (-1, -1) on, an eighth of a turn each: east is 0, north 2, west 4.
# No step at all, of a lone pixel, counts as a diagonal one, so that a turn meets all four sides.
_DIRECTIONS = np.array([3, 2, 1, 4, 1, 0, 5, 6, 7])
_EIGHTHS, _QUARTERS = 8, 4
# Where the east, north, west and south side of a pixel starts, with the pixel to the left.
_SIDE_STARTS = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], np.int32)


class Outline(NamedTuple):
    """One closed outline of a mask.

    Attributes:
        corners: Shape (n, 2), x and y in pixels of the upright image; the last joins the first.
        is_hole: Whether the mask lies outside of it; then it is wound the other way.
    """

    corners: NDArray[np.float64]
    is_hole: bool


def mask_to_path(
    mask: Mask, box: Box | None = None, *, tolerance_px: float = DEFAULT_TOLERANCE_PX
) -> str:
    """The SVG path data of a mask's outline, relative to a box: 0 to 1, 4 decimals.

    The outline runs along the edges of pixels, and with a tolerance cuts through the steps of
    slanted ones. It has one closed subpath of straight lines (M, L, Z) for each outer contour
    (pixels that meet at a corner are one item) and, wound the other way, for each hole: both fill
    rules give the same picture.

    Args:
        mask: The mask; "" is the path of an empty one.
        box: The box that the path is relative to, around the whole mask; its tight box if None.
        tolerance_px: How far the outline may move to save corners, 0 or more; at 0 it is exact,
            for a box of less than 10,000 pixels a side.

    Raises:
        InputError: The box does not hold the mask, the tolerance is negative or not finite, or
            the mask is such a noise that its path would be longer than can be read.

    Examples:
        >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
        >>> mask_to_path(mask)
        'M0,0L0,1L1,1L1,0Z'
        >>> mask_to_path(mask, Box(0, 0, 8, 4))
        'M0.25,0.25L0.25,0.75L0.75,0.75L0.75,0.25Z'
    """
    _check_tolerance(tolerance_px)
    tight = mask.box
    if tight is None:
        return ""
    box = box or tight
    inside = box.x1 <= tight.x1 and box.y1 <= tight.y1 and box.x2 >= tight.x2 and box.y2 >= tight.y2
    if not inside or not np.isfinite(box).all():
        raise InputError(
            f"the box {tuple(box)} of a path must hold its mask, {tuple(tight)}", field="box"
        )
    outlines = _trace(mask.bits, cut_steps=tolerance_px > 0)
    if tolerance_px > 0:
        outlines = [_simplify(outline, tolerance_px) for outline in outlines]
    count = sum(map(len, outlines))
    if count > _MAX_CORNERS:
        raise InputError(
            f"the outline of a mask has {count} corners, more than {_MAX_CORNERS}: clean the mask",
            field="mask",
        )

    origin = np.array([box.x1 - mask.x, box.y1 - mask.y])
    size = np.array([box.x2 - box.x1, box.y2 - box.y1])
    units = np.rint((np.concatenate(outlines) / _PIXEL - origin) / size * _UNITS) / _UNITS
    corners = [f"{x:g},{y:g}" for x, y in units.tolist()]
    ends = np.cumsum([0, *map(len, outlines)]).tolist()
    return "".join(f"M{'L'.join(corners[start:end])}Z" for start, end in pairwise(ends))


def mask_outlines(mask: Mask, *, tolerance_px: float = DEFAULT_TOLERANCE_PX) -> list[Outline]:
    """The outlines of a mask as :func:`mask_to_path` draws them, as arrays.

    Args:
        mask: The mask; an empty one has no outlines.
        tolerance_px: How far an outline may move to save corners, 0 or more; at 0 it runs along
            the edges of pixels, and its corners are whole numbers.

    Raises:
        InputError: The tolerance is negative or not finite.

    Examples:
        >>> full = np.ones((5, 5), np.uint8)
        >>> full[2, 2] = 0
        >>> hole, outer = mask_outlines(Mask.from_full(full))
        >>> hole.is_hole, hole.corners.tolist()
        (True, [[2.0, 3.0], [2.0, 2.0], [3.0, 2.0], [3.0, 3.0]])
        >>> outer.is_hole, outer.corners.tolist()
        (False, [[0.0, 0.0], [0.0, 5.0], [5.0, 5.0], [5.0, 0.0]])
    """
    _check_tolerance(tolerance_px)
    if mask.is_empty:
        return []
    traced = _trace(mask.bits, cut_steps=tolerance_px > 0)
    # What is traced tells a hole for sure: simplified, a thin one might lose all its area.
    holes = map(_is_hole, traced)
    if tolerance_px > 0:
        traced = [_simplify(outline, tolerance_px) for outline in traced]
    origin = np.array([mask.x, mask.y])
    return [
        Outline(outline / _PIXEL + origin, is_hole)
        for outline, is_hole in zip(traced, holes, strict=True)
    ]


def _check_tolerance(tolerance_px: float) -> None:
    if not 0 <= tolerance_px < math.inf:
        raise InputError(
            f"a tolerance must be finite, 0 or more, got {tolerance_px}", field="tolerance_px"
        )


def _trace(bits: Bitmap, *, cut_steps: bool) -> list[Corners]:
    """The outlines of a bitmap that is not empty, along the edges of its pixels.

    OpenCV follows the pixels of each border with what is outside on the right. At each of them, the
    sides met in turning left from where it came from to where it goes are on the outline.
    """
    borders, _ = cv2.findContours(bits, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    pixels = np.concatenate(borders, dtype=np.int32).reshape(-1, 2)
    lengths = np.array([len(border) for border in borders])

    # The sides of pixels that are on the outlines, in order.
    before, after = _neighbours(lengths)
    came_from = _directions(pixels[before] - pixels)
    goes_to = _directions(pixels[after] - pixels)
    turn = (goes_to - came_from - 1) % _EIGHTHS + 1  # 1 to 8: back is a whole turn
    counts = (came_from + turn - 1) // 2 - came_from // 2
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    sides = (np.repeat(came_from // 2 + 1, counts) + place) % _QUARTERS
    lengths = _sums(counts, lengths)

    # The corners: where a side starts that is not a straight continuation.
    starts = np.repeat(pixels, counts, axis=0) + _SIDE_STARTS[sides]
    turns = (sides - sides[_neighbours(lengths).before]) % _QUARTERS
    is_corner = turns != 0
    corners, lengths = _PIXEL * starts[is_corner], _sums(is_corner, lengths)
    if cut_steps:
        corners, lengths = _cut_steps(corners, turns[is_corner], lengths)
    return np.split(corners, np.cumsum(lengths)[:-1])


def _cut_steps(corners: Corners, turns: Integers, lengths: Integers) -> tuple[Corners, Integers]:
    """Outlines through the middle of each step of one pixel, and how many corners each has.

    A slanted outline is a staircase: it turns one way and then the other. Where it turns twice the
    same way, at the end of a line one pixel wide or the top of a disc, it stays as it is.
    """
    before, after = _neighbours(lengths)
    is_end = turns == turns[after]
    is_short = np.abs(corners[after] - corners).sum(axis=1) == _PIXEL
    is_step = is_short & ~is_end & np.repeat(lengths > _FEW_CORNERS, lengths)
    is_kept = is_end | is_end[before] | ~(is_step | is_step[before])
    middles = (corners + corners[after]) // 2
    kept = np.column_stack([is_kept, is_step])
    return np.stack([corners, middles], axis=1)[kept], _sums(kept.sum(axis=1), lengths)


def _simplify(outline: Corners, tolerance_px: float) -> Corners:
    """The outline with fewer corners.

    D. Douglas, T. Peucker, Cartographica 10(2), 1973, https://doi.org/10.3138/FM57-6770-U75U-7727
    """
    if len(outline) <= _FEW_CORNERS:
        return outline
    tolerance_px = min(tolerance_px, float(np.ptp(outline)))
    simple = np.zeros((0, 2), np.int32)
    while len(simple) < _FEWEST_CORNERS:  # what is thinner than the tolerance must not vanish
        approximated = cv2.approxPolyDP(outline, _PIXEL * tolerance_px, closed=True)
        simple = np.asarray(approximated, np.int32).reshape(-1, 2)
        tolerance_px /= 2
    return simple


def _is_hole(outline: Corners) -> bool:
    """Whether an outline is wound as those of holes are, by the sign of its area."""
    x, y = outline.astype(np.int64).T
    return bool(x @ np.roll(y, -1) > y @ np.roll(x, -1))


class _Neighbours(NamedTuple):
    """For each place of closed outlines, laid end to end, the place before and after it."""

    before: Integers
    after: Integers


def _neighbours(lengths: Integers) -> _Neighbours:
    ends = np.cumsum(lengths)
    before, after = np.arange(ends[-1]) - 1, np.arange(ends[-1]) + 1
    before[ends - lengths], after[ends - 1] = ends - 1, ends - lengths
    return _Neighbours(before, after)


def _sums(values: NDArray[np.generic], lengths: Integers) -> Integers:
    """The sum over each outline."""
    sums: Integers = np.add.reduceat(values, np.cumsum(lengths) - lengths, dtype=np.int64)
    return sums


def _directions(steps: Corners) -> Integers:
    directions: Integers = _DIRECTIONS[3 * steps[:, 1] + steps[:, 0] + 4]
    return directions

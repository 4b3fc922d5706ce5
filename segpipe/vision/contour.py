"""The outlines of a mask, as arrays and as SVG path data."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

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
Values = TypeVar("Values", bound=NDArray[Any])

_UNITS = 10_000  # 4 decimals
_PIXEL = 2  # in half pixels
_FEWEST_CORNERS = 3
_FEW_CORNERS = 32  # not worth simplifying: small items stay exact
# So many border pixels are followed at once: 50 arrays of them take 100 MB.
_BORDER_PIXELS = 250_000
# What is written can be read again.
_MAX_CORNERS = MAX_CHARACTERS // len("M0.1234,0.1234Z")

# A step to one of the nine pixels around has a number: 0 up and left, 4 no step, 8 down and right.
_STEPS = 9
_STEP_DOWN, _NO_STEP = 3, 4
# Their directions, an eighth of a turn each: east is 0, north 2, west 4. No step at all, of a lone
# pixel, counts as a diagonal one, so that a turn meets all four sides.
_DIRECTIONS = np.array([3, 2, 1, 4, 1, 0, 5, 6, 7])
_EIGHTHS, _QUARTERS = 8, 4
# Where the east, north, west and south side of a pixel starts, with the pixel to the left.
_SIDE_STARTS = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], np.int32)


def _sides() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """How many sides a border turns around at a pixel, and the first of them, by its two steps.

    Both have shape (81,): the number of the step back, times nine, and of the step on.
    """
    came_from, goes_to = _DIRECTIONS.repeat(_STEPS), np.tile(_DIRECTIONS, _STEPS)
    turn = (goes_to - came_from - 1) % _EIGHTHS + 1  # 1 to 8: back is a whole turn
    counts = (came_from + turn - 1) // 2 - came_from // 2
    return counts.astype(np.int8), (came_from // 2 + 1).astype(np.int8)


_SIDE_COUNTS, _FIRST_SIDES = _sides()


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
    (outlines,) = _outlines([mask.bits], tolerance_px)
    count = sum(map(len, outlines))
    if count > _MAX_CORNERS:
        raise InputError(
            f"the outline of a mask has {count} corners, more than {_MAX_CORNERS}: clean the mask",
            field="mask",
        )
    return _path(outlines, mask, box)


def masks_to_paths(masks: Sequence[Mask]) -> list[str | None]:
    """The path of each of many masks, as :func:`mask_to_path` gives it with all defaults.

    All are traced together, which takes a third of the time that one by one would.

    Returns:
        A path for each mask; None where it would be longer than can be read.

    Examples:
        >>> box = Box(2, 1, 6, 3)
        >>> mask = Mask.from_box(box, image_width=8, image_height=6)
        >>> masks_to_paths([mask, Mask.empty(image_width=8, image_height=6)])
        ['M0,0L0,1L1,1L1,0Z', '']
    """
    boxes = [mask.box for mask in masks]
    drawn = [(mask, box) for mask, box in zip(masks, boxes, strict=True) if box]
    traced = _outlines([mask.bits for mask, _ in drawn], DEFAULT_TOLERANCE_PX)
    paths = iter(
        _path(outlines, mask, box) if sum(map(len, outlines)) <= _MAX_CORNERS else None
        for outlines, (mask, box) in zip(traced, drawn, strict=True)
    )
    return ["" if box is None else next(paths) for box in boxes]


def _path(outlines: Sequence[Corners], mask: Mask, box: Box) -> str:
    """The path data of a mask's outlines."""
    corners = np.concatenate(outlines) if len(outlines) > 1 else outlines[0]
    across, down = _unit_texts()
    xs = _units(corners[:, 0], box.x1 - mask.x, box.x2 - box.x1)
    ys = _units(corners[:, 1], box.y1 - mask.y, box.y2 - box.y1)
    texts = [""] * (2 * len(corners))
    texts[::2], texts[1::2] = map(across.__getitem__, xs), map(down.__getitem__, ys)
    path, start = [], 0
    for outline in outlines:
        end = start + 2 * len(outline)
        path += ["M", "".join(texts[start:end])[1:], "Z"]
        start = end
    return "".join(path)


def _units(halves: NDArray[np.int32], origin: float, size: float) -> list[int]:
    """Half pixels of a bitmap as parts of a box."""
    units: list[int] = np.rint((halves / _PIXEL - origin) / size * _UNITS).astype(np.int64).tolist()
    return units


@cache
def _unit_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every "Lx," and "y" that a path can have: to write them once takes less than each time."""
    numbers = tuple(f"{unit / _UNITS:g}" for unit in range(_UNITS + 1))
    return tuple(f"L{number}," for number in numbers), numbers


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
    (traced,) = _trace([mask.bits], cut_steps=tolerance_px > 0)
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


def _outlines(bitmaps: Sequence[Bitmap], tolerance_px: float) -> Iterator[list[Corners]]:
    """The outlines of each bitmap, with as few corners as the tolerance allows."""
    for traced in _trace(bitmaps, cut_steps=tolerance_px > 0):
        yield [_simplify(one, tolerance_px) for one in traced] if tolerance_px > 0 else traced


def _trace(bitmaps: Sequence[Bitmap], *, cut_steps: bool) -> Iterator[list[Corners]]:
    """The outlines of each of some bitmaps that are not empty, along the edges of their pixels."""
    waiting: list[Sequence[Corners]] = []
    pixels = 0
    for bits in bitmaps:
        found, _ = cv2.findContours(bits, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        borders = [np.asarray(border, np.int32) for border in found]
        size = sum(map(len, borders))
        if waiting and pixels + size > _BORDER_PIXELS:
            yield from _follow_each(waiting, cut_steps=cut_steps)
            waiting, pixels = [], 0
        waiting.append(borders)
        pixels += size
    if waiting:
        yield from _follow_each(waiting, cut_steps=cut_steps)


def _follow_each(found: Sequence[Sequence[Corners]], *, cut_steps: bool) -> Iterator[list[Corners]]:
    """The outlines of each bitmap, given the borders of each; numpy is called once for all."""
    outlines = iter(_follow([one for borders in found for one in borders], cut_steps=cut_steps))
    for borders in found:
        yield [next(outlines) for _ in borders]


def _follow(borders: Sequence[Corners], *, cut_steps: bool) -> list[Corners]:
    """The outlines along the edges of the pixels of borders.

    OpenCV follows the pixels of each border with what is outside on the right. At each of them, the
    sides met in turning left from where it came from to where it goes are on the outline.
    """
    pixels = np.concatenate(borders, dtype=np.int32).reshape(-1, 2)
    lengths = np.array([len(border) for border in borders])

    # The sides of pixels that are on the outlines, in order.
    across, down = (_after(pixels, lengths) - pixels).T
    steps = across + _STEP_DOWN * down + _NO_STEP
    came_and_goes = _STEPS * (_STEPS - 1 - _before(steps, lengths)) + steps  # back is the opposite
    counts = _SIDE_COUNTS[came_and_goes]
    pixel_of = np.repeat(np.arange(len(pixels)), counts)
    firsts = np.cumsum(counts, dtype=np.int64) - counts
    place = np.arange(len(pixel_of)) - firsts[pixel_of]
    sides = (_FIRST_SIDES[came_and_goes][pixel_of] + place).astype(np.int8) & (_QUARTERS - 1)
    lengths = _sums(counts, lengths)

    # The corners: where a side starts that is not a straight continuation.
    turns = (sides - _before(sides, lengths)) & (_QUARTERS - 1)
    is_corner = turns != 0
    at = np.flatnonzero(is_corner)
    starts = pixels.take(pixel_of[at], axis=0) + _SIDE_STARTS.take(sides[at], axis=0)
    corners, lengths = _PIXEL * starts, _sums(is_corner, lengths)
    if cut_steps:
        corners, lengths = _cut_steps(corners, turns[is_corner], lengths)
    ends = np.cumsum([0, *lengths]).tolist()
    return [corners[start:end] for start, end in pairwise(ends)]


def _cut_steps(
    corners: Corners, turns: NDArray[np.int8], lengths: Integers
) -> tuple[Corners, Integers]:
    """Outlines through the middle of each step of one pixel, and how many corners each has.

    A slanted outline is a staircase: it turns one way and then the other. Where it turns twice the
    same way, at the end of a line one pixel wide or the top of a disc, it stays as it is.
    """
    following = _after(corners, lengths)
    is_end = turns == _after(turns, lengths)
    sides = np.abs(following - corners)
    is_short = sides[:, 0] + sides[:, 1] == _PIXEL
    is_step = is_short & ~is_end & np.repeat(lengths > _FEW_CORNERS, lengths)
    is_kept = is_end | _before(is_end, lengths) | ~(is_step | _before(is_step, lengths))
    middles = (corners + following) // 2
    # A corner and the middle behind it, each as one number of 64 bits: numpy picks those faster.
    both = np.column_stack([_as_numbers(corners), _as_numbers(middles)])
    kept = np.column_stack([is_kept, is_step])
    counts = is_kept.astype(np.int8) + is_step
    return both[kept].view(np.int32).reshape(-1, 2), _sums(counts, lengths)


def _as_numbers(corners: Corners) -> Integers:
    return np.ascontiguousarray(corners).view(np.int64)[:, 0]


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


def _before(values: Values, lengths: Integers) -> Values:
    """For each place of closed outlines, laid end to end, the value at the place before it."""
    ends = np.cumsum(lengths)
    shifted: Values = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[ends - lengths] = values[ends - 1]
    return shifted


def _after(values: Values, lengths: Integers) -> Values:
    """The same for the place after it."""
    ends = np.cumsum(lengths)
    shifted: Values = np.empty_like(values)
    shifted[:-1] = values[1:]
    shifted[ends - 1] = values[ends - lengths]
    return shifted


def _sums(values: NDArray[np.generic], lengths: Integers) -> Integers:
    """The sum over each outline."""
    sums: Integers = np.add.reduceat(values, np.cumsum(lengths) - lengths, dtype=np.int64)
    return sums

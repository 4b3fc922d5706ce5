"""Boxes: absolute pixels ``xyxy``, float, half-open, in the upright image."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError

BoxArray = NDArray[np.float64]
"""Shape (n, 4), ``xyxy``."""
Columns = tuple[NDArray[np.float64], ...]
"""x1, y1, x2, y2, each (n,): numpy gathers from one axis many times faster than from two."""
Indices = NDArray[np.intp]


class Box(NamedTuple):
    """One box, ``xyxy`` in pixels, half-open: a box of one pixel is (x, y, x + 1, y + 1)."""

    x1: float
    y1: float
    x2: float
    y2: float


class PixelWindow(NamedTuple):
    """A rectangle of whole pixels, half-open; as slices it is ``[y1:y2, x1:x2]``."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Columns, never negative."""
        return max(self.x2 - self.x1, 0)

    @property
    def height(self) -> int:
        """Rows, never negative."""
        return max(self.y2 - self.y1, 0)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.width == 0 or self.height == 0

    def intersect(self, other: "PixelWindow") -> "PixelWindow":
        """The pixels of both; empty when they do not meet."""
        return PixelWindow(
            max(self.x1, other.x1),
            max(self.y1, other.y1),
            min(self.x2, other.x2),
            min(self.y2, other.y2),
        )

    def seen_from(self, other: "PixelWindow") -> "PixelWindow":
        """Where it lies in another window of the same image."""
        return PixelWindow(
            self.x1 - other.x1, self.y1 - other.y1, self.x2 - other.x1, self.y2 - other.y1
        )

    def grown(self, margin_px: int) -> "PixelWindow":
        """With more pixels on each side."""
        return PixelWindow(
            self.x1 - margin_px, self.y1 - margin_px, self.x2 + margin_px, self.y2 + margin_px
        )


def to_array(boxes: Sequence[Box]) -> BoxArray:
    """The boxes as an array, (n, 4) float64; (0, 4) for none."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def box_ious(a: BoxArray, b: BoxArray) -> NDArray[np.float64]:
    """The IoU of every box of a with every box of b, (len(a), len(b)); boxes need an area."""
    least = np.minimum(a[:, None, 2:], b[None, :, 2:])
    most = np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.prod(np.clip(least - most, 0, None), axis=2)
    areas_a, areas_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    ious: NDArray[np.float64] = shared / (areas_a[:, None] + areas_b[None, :] - shared)
    return ious


def pixel_window(box: Box, *, image_width: int, image_height: int) -> PixelWindow:
    """The pixels of an image that a box touches: rounded outward, clipped to the image.

    It is empty when the box lies outside the image or covers no area.

    Raises:
        InputError: A coordinate is NaN or infinite.

    Examples:
        >>> pixel_window(Box(1.2, 0.5, 3.0, 99.0), image_width=8, image_height=6)
        PixelWindow(x1=1, y1=0, x2=3, y2=6)
    """
    if not all(map(math.isfinite, box)):
        raise InputError(f"a box needs finite coordinates, got {tuple(box)}", field="box")
    x1, y1 = math.floor(box.x1), math.floor(box.y1)
    x2 = math.ceil(box.x2) if box.x1 < box.x2 else x1
    y2 = math.ceil(box.y2) if box.y1 < box.y2 else y1
    return PixelWindow(x1, y1, x2, y2).intersect(PixelWindow(0, 0, image_width, image_height))


def meeting_pairs(boxes: Columns, first: int | None = None) -> tuple[Indices, Indices]:
    """Pairs (i, j) of boxes that share some area, i < j, in no order; with ``first``, i < first.

    >>> meeting_pairs((np.array([0.0, 8, 5]), np.zeros(3), np.array([6.0, 9, 7]), np.ones(3)))
    (array([0]), array([2]))
    """
    block = boxes[0].size if first is None else first
    by_start = np.argsort(boxes[0])
    x1, y1, x2, y2 = at_places(boxes, by_start)
    # Of two boxes that meet, one starts first along x: one of the block …
    if block >= by_start.size:
        i, j = _expand(np.arange(1, by_start.size + 1), np.searchsorted(x1, x2))
    else:
        in_block = by_start < block
        heads = np.flatnonzero(in_block)
        number, j = _expand(heads + 1, np.searchsorted(x1, x2[heads]))
        i = heads[number]
        # … or another.
        others = np.flatnonzero(~in_block)
        stops = np.searchsorted(x1[heads], x2[others])
        number, second = _expand(np.searchsorted(heads, others), stops)
        i, j = np.concatenate([i, others[number]]), np.concatenate([j, heads[second]])
    meet = np.flatnonzero((y1[i] < y2[j]) & (y1[j] < y2[i]))
    i, j = by_start[i[meet]], by_start[j[meet]]
    return np.minimum(i, j), np.maximum(i, j)


def _expand(starts: Indices, stops: Indices) -> tuple[Indices, Indices]:
    """Each range's number as often as it is long, and beside it the range's members."""
    lengths = np.maximum(stops - starts, 0)
    numbers = np.repeat(np.arange(lengths.size), lengths)
    offsets = starts - (np.cumsum(lengths) - lengths)
    return numbers, np.arange(numbers.size) + offsets[numbers]


def at_places(columns: Columns, places: Indices) -> Columns:
    """The columns of some of the boxes, in this order."""
    return tuple(column[places] for column in columns)

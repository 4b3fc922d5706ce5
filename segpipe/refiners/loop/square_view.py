"""Where things lie: in the image, in the square that the model sees, and on an object's grid.

Positions are continuous: pixel (x, y) of any plane covers x to x + 1 and y to y + 1. A view lies in
the upper left of the model's square.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.refiners.loop.mask_prompts import Logits, MaskPrompts
from segpipe.vision.boxes import Box, PixelWindow
from segpipe.vision.canvas import shrink
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_MAX_STRETCH = 2.0
"""A model that is shown stretched pictures knows those of cameras: 16:9 and the like."""


class Fit(StrEnum):
    """How a window comes to fill a square."""

    PAD = "pad"
    """Its longer side fills the square; below it, or right of it, the square is empty."""
    STRETCH = "stretch"
    """It is stretched over the whole square."""


@dataclass(frozen=True, slots=True)
class Square:
    """What a model sees at a time.

    Attributes:
        side: Pixels along each side.
        low_side: Pixels along each side of the model's masks, which cover the square.
        fit: How a window comes to fill it.
    """

    side: int
    low_side: int
    fit: Fit

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows that a window of that size takes, from the upper left of the square."""
        if self.fit is Fit.STRETCH:
            return self.side, self.side
        longer = max(width, height)
        return max(1, round(width * self.side / longer)), max(1, round(height * self.side / longer))

    def window_for(self, window: PixelWindow, image: PixelWindow) -> PixelWindow:
        """The window to show for another, which it holds: none that would be stretched too far.

        Args:
            window: What has to be seen, inside the image.
            image: The whole image.
        """
        if self.fit is Fit.PAD:
            return window
        least = math.ceil(max(window.width, window.height) / _MAX_STRETCH)
        x1, x2 = _widened(window.x1, window.x2, least, image.x2)
        y1, y2 = _widened(window.y1, window.y2, least, image.y2)
        return PixelWindow(x1, y1, x2, y2)


def _widened(start: int, end: int, least: int, limit: int) -> tuple[int, int]:
    """A stretch of at least that length around another, as far as 0 to the limit has room."""
    length = min(max(end - start, least), limit)
    first = min(max(start - (length - (end - start)) // 2, 0), limit - length)
    return first, first + length


_COVERED = np.uint8(255)
_HALF_COVERED = np.uint8(127)
_NEAR = 1.5  # up to this reduction, interpolation alone leaves nothing out

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SquarePrompt:
    """What to ask the model about one object, in pixels of its square.

    Attributes:
        inside: A point of the object.
        outside: A point near it that is not of the object, when there is one.
        box: The object's box.
        logits: Shape (low_side, low_side), the object's soft mask over the whole square.
    """

    inside: Point
    outside: Point | None
    box: Box
    logits: Logits


@dataclass(frozen=True, slots=True)
class View:
    """A window of the image as the model sees it.

    Attributes:
        window: What is seen, inside the image.
        square: What the model sees at a time.
    """

    window: PixelWindow
    square: Square

    def pixels(self, image: RgbImage) -> RgbImage:
        """The window's pixels as they are, (h, w, 3) uint8, not a copy."""
        x1, y1, x2, y2 = self.window
        return image[y1:y2, x1:x2]


@dataclass(frozen=True, slots=True)
class Site:
    """An object's surroundings, and the small grid on which its mask is worked out.

    Attributes:
        window: The surroundings, inside the image.
        grid_width: Columns of the grid.
        grid_height: Rows of the grid.
        view: What the model sees of the image.
        corner: The window's upper left, in pixels of the model's masks.
        pitch: A pixel of the image, in pixels of the model's masks.
    """

    window: PixelWindow
    grid_width: int
    grid_height: int
    view: View
    corner: Point
    pitch: Point

    @classmethod
    def around(cls, window: PixelWindow, view: View) -> "Site":
        """Lay a grid over a window: as fine as the image, but not longer than the model's masks."""
        seen, square = view.window, view.square
        scale = min(1.0, square.low_side / max(window.width, window.height))
        width, height = (max(1, round(side * scale)) for side in (window.width, window.height))
        columns, rows = square.size_of(seen.width, seen.height)
        step = square.low_side / square.side
        pitch = step * columns / seen.width, step * rows / seen.height
        corner = (window.x1 - seen.x1) * pitch[0], (window.y1 - seen.y1) * pitch[1]
        return cls(window, width, height, view, corner, pitch)

    def to_grid(self, bits: Bitmap) -> Bitmap:
        """Reduce a bitmap of the window to the grid; a cell that is half covered is inside."""
        covered = shrink(bits * _COVERED, self.grid_width, self.grid_height)
        return (covered > _HALF_COVERED).astype(np.uint8)

    def to_square(self, prompts: MaskPrompts) -> SquarePrompt:
        """Turn prompts on the grid into the model's."""
        inside, outside, box = prompts.inside, prompts.outside, prompts.box
        return SquarePrompt(
            inside=self._point(inside.x + 0.5, inside.y + 0.5),
            outside=self._point(outside.x + 0.5, outside.y + 0.5) if outside else None,
            box=Box(*self._point(box.x1, box.y1), *self._point(box.x2, box.y2)),
            logits=self._low_logits(prompts.logits, prompts.outside_logit),
        )

    def grid_logits(self, low: Logits) -> Logits:
        """The model's logits, (low_side, low_side), at each cell of the grid."""
        return self._sampled(low, self.grid_width, self.grid_height)

    def window_logits(self, low: Logits) -> Logits:
        """The model's logits, (low_side, low_side), at each pixel of the window."""
        return self._sampled(low, self.window.width, self.window.height)

    def _point(self, x: float, y: float) -> Point:
        """A place of the grid in pixels of the model's square."""
        scale_x, scale_y = self._cell(self.grid_width, self.grid_height)
        step = self.view.square.side / self.view.square.low_side
        return step * (self.corner[0] + x * scale_x), step * (self.corner[1] + y * scale_y)

    def _cell(self, columns: int, rows: int) -> Point:
        """A cell of a plane that lies over the window, in pixels of the model's masks."""
        return self.pitch[0] * self.window.width / columns, self.pitch[
            1
        ] * self.window.height / rows

    def _sampled(self, low: Logits, columns: int, rows: int) -> Logits:
        sampled = cv2.warpAffine(
            low,
            _between_centres(self._cell(columns, rows), self.corner),
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(sampled, np.float32)

    def _low_logits(self, logits: Logits, outside_logit: float) -> Logits:
        """The soft mask of the grid over the model's whole square, outside where it says nothing.

        In a view of the whole image an object is a few pixels of the model's mask, so the grid is
        averaged down first.
        """
        rows, columns = logits.shape
        scale_x, scale_y = self._cell(columns, rows)
        if min(scale_x, scale_y) * _NEAR < 1:
            columns = max(1, round(columns * min(1.0, scale_x)))
            rows = max(1, round(rows * min(1.0, scale_y)))
            logits = np.asarray(
                cv2.resize(logits, (columns, rows), interpolation=cv2.INTER_AREA), np.float32
            )
        low_side = self.view.square.low_side
        placed = cv2.warpAffine(
            logits,
            _between_centres(self._cell(columns, rows), self.corner),
            (low_side, low_side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside_logit,
        )
        return np.asarray(placed, np.float32)


def surroundings(mask: Mask, margin_ratio: float) -> PixelWindow:
    """The tight box of a mask and a margin around it, inside the image.

    Args:
        mask: One with pixels.
        margin_ratio: The margin on each side, as a part of the box's width or height.
    """
    tight = mask.tight().window
    x_px, y_px = (max(1, round(margin_ratio * side)) for side in (tight.width, tight.height))
    return PixelWindow(
        tight.x1 - x_px, tight.y1 - y_px, tight.x2 + x_px, tight.y2 + y_px
    ).intersect(whole(mask))


def whole(mask: Mask) -> PixelWindow:
    """Every pixel of the mask's image."""
    return PixelWindow(0, 0, mask.image_width, mask.image_height)


def _between_centres(cell: Point, corner: Point) -> NDArray[np.float64]:
    """Leads from a plane with cells of that size and its corner there to the plane they count in.

    OpenCV counts from the middle of the first pixel, where everything here counts from its edge.
    """
    (width, height), (left, top) = cell, corner
    return np.array([[width, 0.0, left + (width - 1) / 2], [0.0, height, top + (height - 1) / 2]])

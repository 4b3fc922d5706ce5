"""The square that a promptable model sees, and how a window of an image is fitted into it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from segpipe.vision.boxes import PixelWindow

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

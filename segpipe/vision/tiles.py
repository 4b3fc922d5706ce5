"""Tiles of a photo: where they lie."""

import math

from segpipe.errors import ConfigError
from segpipe.vision.boxes import PixelWindow

LEAST_OVERLAP, MOST_OVERLAP = 0.05, 0.5
"""Shares of a side: without any nothing can be joined, with more most is looked at thrice."""


def tile_windows(
    width: int, height: int, *, tile_px: int, overlap_ratio: float
) -> tuple[PixelWindow, ...]:
    """Tiles that cover an image, row by row, spread evenly.

    All have the same size: ``tile_px`` a side, or less where the image is smaller. Neighbours share
    at least ``overlap_ratio`` of a side, rounded up to whole pixels.

    >>> tile_windows(250, 80, tile_px=100, overlap_ratio=0.2)
    (PixelWindow(x1=0, y1=0, x2=100, y2=80), PixelWindow(x1=75, y1=0, x2=175, y2=80), \
PixelWindow(x1=150, y1=0, x2=250, y2=80))

    Args:
        width: Pixels of the image.
        height: Pixels of the image.
        tile_px: Longest side of a tile, 2 or more.
        overlap_ratio: .05 to .5.

    Raises:
        ConfigError: A setting is out of its range.
    """
    if tile_px < 2:  # noqa: PLR2004 - one pixel has no half to share
        raise ConfigError(f"must be 2 or more, got {tile_px}", field="tile_px")
    if not LEAST_OVERLAP <= overlap_ratio <= MOST_OVERLAP:
        raise ConfigError(
            f"must be from {LEAST_OVERLAP} to {MOST_OVERLAP}, got {overlap_ratio}",
            field="overlap_ratio",
        )
    columns, rows = (_starts(length, tile_px, overlap_ratio) for length in (width, height))
    return tuple(
        PixelWindow(x, y, min(x + tile_px, width), min(y + tile_px, height))
        for y in rows
        for x in columns
    )


def _starts(length: int, tile: int, overlap_ratio: float) -> list[int]:
    if length <= tile:
        return [0]
    overlap = math.ceil(tile * overlap_ratio)
    steps = math.ceil((length - tile) / (tile - overlap))
    return [step * (length - tile) // steps for step in range(steps + 1)]


def window_around(
    x: float, y: float, *, tile_px: int, image_width: int, image_height: int
) -> PixelWindow:
    """A tile with a point in its middle, or as near to it as the image allows."""
    width, height = min(tile_px, image_width), min(tile_px, image_height)
    left = min(max(round(x - width / 2), 0), image_width - width)
    top = min(max(round(y - height / 2), 0), image_height - height)
    return PixelWindow(left, top, left + width, top + height)

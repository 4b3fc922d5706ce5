"""The pixels inside an SVG path."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError, PathError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.mask import Bitmap, Mask
from segpipe.vision.svg_path import Lines, flatten, parse_path

_FLATNESS_PX = 0.05
_MAX_BOX_PX = 1e9  # beyond it, places of a path could not be told apart to the pixel
_MAX_CROSSINGS = 4_000_000


class FillRule(StrEnum):
    """What a path that runs round a point more than once makes of it."""

    NONZERO = "nonzero"
    EVENODD = "evenodd"


def path_to_mask(
    path: str,
    box: Box,
    *,
    image_width: int,
    image_height: int,
    fill_rule: FillRule = FillRule.NONZERO,
) -> Mask:
    """The pixels of an image whose centres are inside an SVG path.

    A centre on the outline belongs to what lies right of it, or below. What reaches out of the
    image is cut off; open subpaths are closed.

    Args:
        path: Path data as :func:`segpipe.vision.svg_path.parse_path` reads it; "" is empty.
        box: The pixels that the path's 0 to 1 stand for; the path may reach out of it.
        image_width: Width of the upright image, 1 or more.
        image_height: Height of the upright image, 1 or more.
        fill_rule: See :class:`FillRule`.

    Returns:
        The tight mask.

    Raises:
        PathError: The path is malformed or too long.
        InputError: The box has no area, or reaches beyond a billion pixels.

    Examples:
        >>> from segpipe.vision.contour import mask_to_path
        >>> box = Box(0, 0, 8, 4)
        >>> mask = path_to_mask(
        ...     "M.25,.25H.75V.75H.25Z", box, image_width=8, image_height=6
        ... )
        >>> tuple(mask.box)
        (2.0, 1.0, 6.0, 3.0)
        >>> path_to_mask(mask_to_path(mask, box), box, image_width=8, image_height=6).area
        8
    """
    if not (np.abs(box).max() <= _MAX_BOX_PX and box.x1 < box.x2 and box.y1 < box.y2):
        raise InputError(
            f"the box of a path needs an area and finite corners, none beyond {_MAX_BOX_PX:.0f}, "
            f"got {tuple(box)}",
            field="box",
        )
    lines, curves = (
        segments.real * (box.x2 - box.x1)
        + box.x1
        + 1j * (segments.imag * (box.y2 - box.y1) + box.y1)
        for segments in parse_path(path)
    )
    lines = np.concatenate([lines, flatten(curves, _FLATNESS_PX)])
    empty = Mask.empty(image_width=image_width, image_height=image_height)
    if len(lines) == 0:
        return empty
    bounds = Box(lines.real.min(), lines.imag.min(), lines.real.max(), lines.imag.max())
    window = pixel_window(bounds, image_width=image_width, image_height=image_height)
    if window.is_empty:
        return empty
    bits = _fill(lines, window, fill_rule)
    return Mask(window.x1, window.y1, bits, image_width, image_height).tight()


def _fill(lines: Lines, window: PixelWindow, fill_rule: FillRule) -> Bitmap:
    """The pixels of a window whose centres are inside closed outlines.

    Where a line crosses the middle of a row, a run of pixels starts or ends; in reading order, the
    crossings are the runs of the whole bitmap.
    """
    # From here on the origin is the first pixel's centre.
    lines = lines - (window.x1 + 0.5 + (window.y1 + 0.5) * 1j)
    goes_up = lines[:, 0].imag > lines[:, 1].imag
    top, bottom = np.where(goes_up[:, None], lines[:, ::-1], lines).T
    first, end = (_first_from(edge.imag, window.height) for edge in (top, bottom))
    counts = end - first
    total = int(counts.sum())
    if total > _MAX_CROSSINGS:
        raise PathError(
            f"the path crosses {total} rows of pixels, more than {_MAX_CROSSINGS}", field="svg_path"
        )

    line = np.repeat(np.arange(len(lines)), counts)
    rows = np.arange(total) - np.repeat(np.cumsum(counts) - counts - first, counts)
    start, span = top[line], (bottom - top)[line]
    columns = start.real + (rows - start.imag) * span.real / span.imag
    places = rows * window.width + _first_from(columns, window.width)

    order = np.argsort(places, kind="stable")
    is_evenodd = fill_rule == FillRule.EVENODD
    windings = np.cumsum(np.where(goes_up[line[order]], 1, -1))
    is_inside = windings % 2 if is_evenodd else windings != 0
    runs = np.diff(places[order], prepend=0, append=window.height * window.width)
    inside = np.concatenate(([0], is_inside)).astype(np.uint8)
    return np.repeat(inside, runs).reshape(window.height, window.width)


def _first_from(positions: NDArray[np.float64], end: int) -> NDArray[np.int64]:
    """The first of the whole numbers 0 … end that is not below a position."""
    return np.ceil(np.clip(positions, 0, end)).astype(np.int64)

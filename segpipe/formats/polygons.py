"""Items as polygons, for formats that know no bitmaps."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segpipe.formats.labels import LabelledItem
from segpipe.vision.boxes import Box
from segpipe.vision.contour import mask_outlines

Polygon = NDArray[np.float64]
"""Shape (n, 2), x and y in pixels of the upright photo; the last corner joins the first."""

# How many distances are held at once when the corners of two polygons are compared.
_MAX_DISTANCES = 1_000_000


def parts_of(item: LabelledItem) -> tuple[Polygon, ...]:
    """The outline of each part of an item, within 0.25 pixels, without holes; or its box."""
    if not item.has_mask:
        return (_corners(item.box),)
    return tuple(outline.corners for outline in mask_outlines(item.mask) if not outline.is_hole)


def join_parts(parts: Sequence[Polygon]) -> Polygon:
    """One closed outline around all parts, which covers just what they cover.

    It goes from each part to the next where their corners are nearest, and back the same way, so
    the lines between them have no width.

    Args:
        parts: One or more, each of at least one corner.
    """
    bridges = [_nearest(part, after) for part, after in pairwise(parts)]
    there: list[Polygon] = []
    back: list[Polygon] = []
    entry = bridges[0][0] if bridges else 0
    for part, bridge in zip(parts, [*bridges, None], strict=True):
        from_entry = np.roll(part, -entry, axis=0)
        if bridge is None:
            there.append(from_entry)
            break
        leave, next_entry = (bridge[0] - entry) % len(part), bridge[1]
        there.append(from_entry[: leave + 1])
        back.append(np.concatenate([from_entry[leave:], from_entry[:1]]))
        entry = next_entry
    if bridges:
        there.append(there[-1][:1])  # once round the last part
    return np.concatenate([*there, *reversed(back)])


def _nearest(one: Polygon, other: Polygon) -> tuple[int, int]:
    """The corners of two polygons that are nearest to each other."""
    rows = max(1, _MAX_DISTANCES // len(other))
    best, pair = np.inf, (0, 0)
    for start in range(0, len(one), rows):
        steps = one[start : start + rows, None] - other
        distances = np.square(steps).sum(axis=2)
        place = int(distances.argmin())
        if distances.flat[place] < best:
            row, column = divmod(place, len(other))
            best, pair = distances.flat[place], (start + row, column)
    return pair


def _corners(box: Box) -> Polygon:
    return np.array(
        [(box.x1, box.y1), (box.x1, box.y2), (box.x2, box.y2), (box.x2, box.y1)], np.float64
    )

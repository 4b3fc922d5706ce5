"""Which pixels are goods: unlike the table, and no shadow on it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.goods_outline import (
    on_strongest_edges,
    with_holes,
    without_specks,
)
from segpipe.segmenters.classical.hard_shadows import without_cast_shadows
from segpipe.segmenters.classical.lab_planes import (
    LAB_OF_BLACK,
    Flags,
    LabImage,
    Plane,
    diagonal_of,
    disc,
    filled,
    radius_of,
)
from segpipe.segmenters.classical.table_colour import Background
from segpipe.vision.mask import Bitmap

# In standard deviations of the bare table:
_WEAK = 3.5
_STRONG = 8.0
_EDGE = 2.0

_EQUAL_WEIGHTS = np.ones(3)
_DARKEST_SHADOW = 0.72  # of the lightness of the table in full light
# Change over one pixel, as a part of the whole step: a sharp edge in a photo has 0.3 to 0.5, the
# soft edge of a shadow less than 0.1.
_SHARP = 0.16
_SHARP_GOING_ON = 0.09
_SHARP_IN_SHADE = 0.12  # where it may be the edge of a shadow
_SHADELESS = 3.0  # standard deviations that no shadow explains, from which there is none
_RIPPLE = 0.15  # of what is beside it: so much a camera changes colours
_FAINT = 0.5
_STEP_WINDOW_PX = 5
_STEP_FLOOR = 1.5  # Delta E

# Sizes, as a part of the diagonal:
_LEAK = 0.003  # gaps in an outline through which the table must not run in
_CRACK = 0.004  # gaps inside an item: stripes in the table's colour, say
_BROAD = 0.006  # radius of a disc that fits into an item, not into the shadow beside it
_NEAR = 0.003
_BESIDE = 0.01
_LINK = 0.012  # radius of a disc that fits into no link of a chain
_MIN_SHARP_PART = 0.65  # of an outline; a shadow beside an item is sharp on one side only
_TABLE_PART = 0.15  # of a smooth region, from which the region belongs to the table
_SOBEL_SCALE = 1 / 8


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """What speaks for goods, pixel by pixel, each (h, w).

    Attributes:
        depth: Distance to the table's colour, Delta E.
        deviations: The same in standard deviations of the table.
        unshaded: Standard deviations that no shadow can explain.
        slope: Change over one pixel, Delta E.
    """

    depth: Plane
    deviations: Plane
    unshaded: Plane
    slope: Plane


def mark_foreground(lab: LabImage, background: Background, distance: Plane | None = None) -> Bitmap:
    """Mark the goods, their holes open, outlines on the strongest edges, (h, w) 0 or 1.

    A shadow darkens the table without changing its colour, and softly: what the table reaches
    without crossing a sharp edge, through pixels that a shadow can explain, is no item.

    Args:
        lab: Shape (h, w, 3) float32, CIE Lab, a little smoothed.
        background: The table of that picture.
        distance: What :func:`colour_distance` gives, where it is known.
    """
    evidence = _weigh(lab, background, distance)
    strong = evidence.unshaded > _STRONG
    weak = evidence.deviations > _WEAK
    edges = _sharp_edges(evidence, evidence.slope)
    table = _reached_by_table(strong, weak, edges)
    # A narrow shadow has a sharp edge, too, beside thin goods and where a camera leaves ripples
    table |= _narrow(weak & ~strong & ~table & _like_shadow(evidence))

    shaded = weak & table & ~strong
    goods = (strong | (weak & ~table) | _enclosed(shaded, edges)).astype(np.uint8)
    crack = disc(radius_of(_CRACK, diagonal_of(weak.shape)))
    closed = np.asarray(cv2.morphologyEx(goods, cv2.MORPH_CLOSE, crack), np.uint8)
    # Cracks are open to the outside, or dark; not so the holes of thin links
    holes = (filled(goods) > goods) & (~weak | _narrow(closed > 0, _LINK))
    goods = np.asarray(closed & ~holes, np.uint8)
    goods = without_cast_shadows(
        without_specks(goods, evidence.deviations > _STRONG), lab, background.surface
    )
    goods = with_holes(goods, evidence.unshaded)
    return on_strongest_edges(goods, evidence.slope, evidence.unshaded)


def colour_distance(lab: LabImage, background: Background) -> Plane:
    """Distance of each pixel to the table's colour, (h, w), Delta E (CIE76)."""
    return _length(cv2.subtract(lab, background.surface), _EQUAL_WEIGHTS)


def unlike_table(lab: LabImage, background: Background) -> Plane:
    """Standard deviations of the table that no shadow can explain, (h, w)."""
    return _weigh(lab, background, None).unshaded


def _weigh(lab: LabImage, background: Background, distance: Plane | None) -> _Evidence:
    in_deviations = 1 / (3 * background.noise.astype(np.float64) ** 2)
    lit = background.surface + LAB_OF_BLACK
    seen = lab + LAB_OF_BLACK
    shade = _dot(seen, lit) / _dot(lit, lit)
    shaded = cv2.merge([np.clip(shade, _DARKEST_SHADOW, 1)] * 3) * lit
    return _Evidence(
        depth=colour_distance(lab, background) if distance is None else distance,
        deviations=_length(cv2.subtract(seen, lit), in_deviations),
        unshaded=_length(cv2.subtract(seen, shaded), in_deviations),
        slope=_slope(lab),
    )


def _slope(lab: LabImage) -> Plane:
    across = cv2.Sobel(lab, cv2.CV_32F, 1, 0, scale=_SOBEL_SCALE)
    down = cv2.Sobel(lab, cv2.CV_32F, 0, 1, scale=_SOBEL_SCALE)
    slope: Plane = np.sqrt(_dot(across, across) + _dot(down, down))
    return slope


def _length(vectors: cv2.typing.MatLike, weights: NDArray[np.float64]) -> Plane:
    """Root of the weighted sum of squares of the three channels."""
    length: Plane = np.sqrt(_dot(vectors, vectors, weights))
    return length


def _dot(
    a: cv2.typing.MatLike, b: cv2.typing.MatLike, weights: NDArray[np.float64] = _EQUAL_WEIGHTS
) -> Plane:
    # OpenCV: NumPy takes several times as long along an axis of three.
    return np.asarray(cv2.transform(cv2.multiply(a, b), weights[None]), np.float32)


def _like_shadow(evidence: _Evidence) -> Flags:
    """What is darker than the table, but much less so than something beside it."""
    side = 2 * radius_of(_BESIDE, diagonal_of(evidence.depth.shape)) + 1
    beside = np.ones((side, side), np.uint8)
    unshaded = evidence.unshaded < np.maximum(
        _SHADELESS, _RIPPLE * cv2.dilate(evidence.unshaded, beside)
    )
    like: Flags = unshaded & (evidence.depth < _FAINT * cv2.dilate(evidence.depth, beside))
    return like


def _narrow(flags: Flags, broad_fraction: float = _BROAD) -> Flags:
    """What of it holds no broad disc."""
    broad = disc(radius_of(broad_fraction, diagonal_of(flags.shape)))
    narrow: Flags = flags & (cv2.morphologyEx(flags.astype(np.uint8), cv2.MORPH_OPEN, broad) == 0)
    return narrow


def _sharp_edges(evidence: _Evidence, slope: Plane) -> Flags:
    """Edges too sharp for a shadow, followed as far as they go on (hysteresis)."""
    window = np.ones((_STEP_WINDOW_PX, _STEP_WINDOW_PX), np.uint8)
    step = cv2.dilate(evidence.depth, window) + _STEP_FLOOR
    sharpness = slope / step
    going_on = np.where(evidence.unshaded > _SHADELESS, _SHARP_GOING_ON, _SHARP_IN_SHADE)
    candidates = (evidence.deviations > _EDGE) & (sharpness > going_on)
    count, lines = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, np.bool_)
    kept[lines[candidates & (sharpness > _SHARP)]] = True
    edges: Flags = kept[lines]
    return edges


def _reached_by_table(strong: Flags, weak: Flags, edges: Flags) -> Flags:
    """Smooth regions that consist of bare table to a good part: the table and its shadows."""
    smooth = (~strong & ~edges).astype(np.uint8)
    leak = disc(radius_of(_LEAK, diagonal_of(smooth.shape)))
    smooth = np.asarray(cv2.morphologyEx(smooth, cv2.MORPH_OPEN, leak), np.uint8)
    count, regions = cv2.connectedComponents(smooth, connectivity=4)
    area = np.bincount(regions.ravel(), minlength=count)
    bare = np.bincount(regions[~weak], minlength=count)
    is_table = bare > _TABLE_PART * area
    is_table[0] = False  # what is not smooth
    table: Flags = is_table[regions]
    return table


def _enclosed(shaded: Flags, edges: Flags) -> Flags:
    """Broad dark regions with sharp edges nearly all around: items into which the table ran."""
    diagonal = diagonal_of(shaded.shape)
    broad = cv2.morphologyEx(
        shaded.astype(np.uint8), cv2.MORPH_OPEN, disc(radius_of(_BROAD, diagonal))
    )
    count, regions = cv2.connectedComponents(broad, connectivity=4)
    outline = (broad > 0) & (cv2.erode(broad, disc(1)) == 0)
    near_edge = cv2.dilate(edges.astype(np.uint8), disc(radius_of(_NEAR, diagonal))) > 0
    length = np.bincount(regions[outline], minlength=count)
    sharp = np.bincount(regions[outline & near_edge], minlength=count)
    is_enclosed = sharp > _MIN_SHARP_PART * length
    enclosed: Flags = is_enclosed[regions]
    return enclosed

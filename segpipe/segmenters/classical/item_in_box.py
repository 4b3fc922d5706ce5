"""The item in a drawn box."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.detection import NO_EVIDENCE, Detection
from segpipe.errors import SegmenterError
from segpipe.prompt import Point
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.goods_mask import unlike_table
from segpipe.segmenters.classical.goods_outline import with_holes
from segpipe.segmenters.classical.item_search import score_item
from segpipe.segmenters.classical.lab_planes import (
    Flags,
    Labels,
    LabImage,
    disc,
    enlarge,
    filled,
    nearer_to,
    shrink,
    to_lab,
)
from segpipe.segmenters.classical.table_colour import fit_background
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_RNG_SEED = 20040801
_GRABCUT_MODEL_SIZE = 65  # five Gaussians: weight, mean and covariance of three channels each
_RIM_FRACTION = 0.04  # of the box's shorter side: where a drawn box mostly shows background
_MIN_ITEM_FRACTION = 0.05  # of the box; less is no item
_SEED_FRACTION = 0.03  # of the box's shorter side: what lies so near to a point is the same thing
_SMOOTH_PX = 1.0
_BARE = 1.0  # deviations from the table, from which on something may be an item
_MIN_BARE_FRACTION = 0.01  # of the item; less is no hole worth a second cut
_SAME_OUTLINE = 0.8  # overlap of two outlines, IoU
_NOWHERE = np.zeros((), np.bool_)
_MIN_PIECE_FRACTION = 0.2  # of the item; a smaller piece apart from the rest is none of it


def inside_box(
    image: RgbImage,
    boxes: Sequence[Box],
    config: ClassicalConfig,
    *,
    points: Sequence[Point] = (),
    is_wanted: Callable[[], bool],
) -> tuple[Detection, ...]:
    """Cut out the item in each box of an upright RGB image, one detection for each, in order.

    Where nothing sets itself off from the surroundings, the box itself is the mask, with score 0.

    Args:
        image: The picture.
        boxes: The drawn boxes; each has a part in the image.
        config: The settings.
        points: On the items of the boxes that they lie in, or (negative) off them.
        is_wanted: Whether somebody still waits for the answer; asked at every box.

    Raises:
        SegmenterError: Nobody waits any more.
    """
    height, width = image.shape[:2]
    detections = []
    for box in boxes:
        if not is_wanted():
            raise SegmenterError("nobody waits for what is in the boxes any more")
        window = pixel_window(box, image_width=width, image_height=height)
        inside = [point for point in points if point.lies_in(box)]
        detections.append(_cut_out(image, window, inside, config))
    return tuple(detections)


def _cut_out(
    image: RgbImage, window: PixelWindow, points: Sequence[Point], config: ClassicalConfig
) -> Detection:
    height, width = image.shape[:2]
    padding = max(1, round(config.box_padding_fraction * max(window.width, window.height)))
    around = PixelWindow(
        window.x1 - padding, window.y1 - padding, window.x2 + padding, window.y2 + padding
    ).intersect(PixelWindow(0, 0, width, height))
    view = shrink(image[around.y1 : around.y2, around.x1 : around.x2], config.box_side_px**2)
    inner = _scaled(window, around, view)

    on, off = (
        _seeds([one for one in points if one.positive is positive], around, inner, view)
        for positive in (True, False)
    )
    lab = to_lab(view)

    def cut(bare: Flags) -> Bitmap:
        return _grabcut(view, inner, on, off, bare, config.grabcut_iterations)

    bits = _with_points(cut(_NOWHERE), lab, on, off) if points else _item(cut, lab)
    if np.count_nonzero(bits) < _MIN_ITEM_FRACTION * inner.width * inner.height:
        mask = Mask.from_box(Box(*map(float, window)), image_width=width, image_height=height)
        return Detection(Box(*map(float, window)), NO_EVIDENCE, mask=mask)

    score = score_item(bits, _distance_to_surroundings(view, bits))
    full = Mask(
        around.x1,
        around.y1,
        enlarge(bits, width=around.width, height=around.height),
        width,
        height,
    )
    # The scaled box may be a fraction of a pixel larger than the drawn one.
    mask = Mask(window.x1, window.y1, full.crop_to(*window), width, height).tight()
    return Detection(Box(*map(float, mask.window)), score, mask=mask)


def _scaled(window: PixelWindow, around: PixelWindow, view: RgbImage) -> PixelWindow:
    """The box in the pixels of the reduced view of its surroundings; never empty."""
    height, width = view.shape[:2]
    across, down = width / around.width, height / around.height
    x1 = min(int((window.x1 - around.x1) * across), width - 1)
    y1 = min(int((window.y1 - around.y1) * down), height - 1)
    return PixelWindow(
        x1,
        y1,
        max(x1 + 1, round((window.x2 - around.x1) * across)),
        max(y1 + 1, round((window.y2 - around.y1) * down)),
    )


def _seeds(
    points: Sequence[Point], around: PixelWindow, inner: PixelWindow, view: RgbImage
) -> Bitmap:
    """Small discs at the points, in the pixels of the view and inside the box; (h, w), 0 or 1."""
    height, width = view.shape[:2]
    radius = max(1, round(_SEED_FRACTION * min(inner.width, inner.height)))
    seeds = np.zeros((height, width), np.uint8)
    for point in points:
        x = int((point.x - around.x1) * width / around.width)
        y = int((point.y - around.y1) * height / around.height)
        cv2.circle(seeds, (x, y), radius, (1,), cv2.FILLED)
    return seeds


def _grabcut(
    view: RgbImage, inner: PixelWindow, on: Bitmap, off: Bitmap, bare: Flags, iterations: int
) -> Bitmap:
    """Separate the item from what surrounds the box, and from what lies at the negative seeds.

    C. Rother, V. Kolmogorov, A. Blake: "GrabCut", ACM Transactions on Graphics 23(3), 2004,
    https://doi.org/10.1145/1015706.1015720
    """
    trimap = np.full(view.shape[:2], cv2.GC_BGD, np.uint8)
    rim = max(1, round(_RIM_FRACTION * min(inner.width, inner.height)))
    trimap[inner.y1 : inner.y2, inner.x1 : inner.x2] = cv2.GC_PR_BGD
    trimap[inner.y1 + rim : inner.y2 - rim, inner.x1 + rim : inner.x2 - rim] = cv2.GC_PR_FGD
    trimap[bare & (trimap == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
    trimap[on > 0] = cv2.GC_FGD
    trimap[off > 0] = cv2.GC_BGD
    if not np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
        return np.zeros(view.shape[:2], np.uint8)
    # The colour models start from random centres. OpenCV keeps one generator for each thread:
    # seeded right here, the same box gives the same mask whatever ran before or runs beside.
    cv2.setRNGSeed(_RNG_SEED)
    models = np.zeros((2, 1, _GRABCUT_MODEL_SIZE))
    no_box = (0, 0, 0, 0)
    cut, _, _ = cv2.grabCut(
        view, trimap, no_box, models[0], models[1], iterations, cv2.GC_INIT_WITH_MASK
    )
    return np.asarray(np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD)), np.uint8)


def _item(cut: Callable[[Flags], Bitmap], lab: LabImage) -> Bitmap:
    """The item with its holes open, through which the table is seen, (h, w), 0 or 1.

    GrabCut takes all inside the box for the item at first, and learns from the middle of a thin
    ring that items look like the table. What looks like it is left out in a second cut, which
    counts where it has about the same outline: else the item itself looks like the table.

    Args:
        cut: Separates the item, when told what shows the bare table, (h, w).
        lab: The box and its surroundings, (h, w, 3) float32, CIE Lab.
    """
    smooth = np.asarray(cv2.GaussianBlur(lab, (0, 0), _SMOOTH_PX), np.float32)
    unlike = unlike_table(smooth, fit_background(smooth))
    bits = _large_pieces(cut(_NOWHERE))
    solid, bare = filled(bits), unlike < _BARE
    if np.count_nonzero(bare & (solid > 0)) >= _MIN_BARE_FRACTION * np.count_nonzero(solid):
        again = _large_pieces(cut(bare))
        outline = filled(again)
        both, either = np.count_nonzero(solid & outline), np.count_nonzero(solid | outline)
        if both >= _SAME_OUTLINE * either:
            bits = again
    return with_holes(bits, unlike)


def _with_points(bits: Bitmap, lab: LabImage, on: Bitmap, off: Bitmap) -> Bitmap:
    """The pieces that the points mean, holes filled but for those with a negative point.

    With positive points they are the pieces under them, cut along their edges between positive and
    negative ones. Otherwise a piece that goes on around a negative point is left out, unless
    nothing else is there.
    """
    pieces = _pieces(bits | off, connectivity=8)
    wanted = _under(pieces, on > 0)
    # A negative point on the background is a piece of nothing but its own seed.
    unwanted = _under(pieces, np.asarray(cv2.dilate(off, disc(1)) > 0) & (bits > 0))
    others = _under(pieces, bits > 0) - unwanted
    kept = wanted or others or unwanted
    chosen = (np.isin(pieces, list(kept)) & (bits > 0)).astype(np.uint8)
    if wanted & unwanted:
        chosen &= nearer_to(on, off, lab)
    whole = chosen if wanted else _large_pieces(chosen)
    solid = filled(whole)
    holes = _pieces((solid > whole).astype(np.uint8), connectivity=4)
    opened = np.isin(holes, list(_under(holes, off > 0)))
    return (solid & ~opened).astype(np.uint8)


def _pieces(bits: Bitmap, connectivity: int) -> Labels:
    _, pieces = cv2.connectedComponents(bits, connectivity=connectivity)
    return np.asarray(pieces, np.int32)


def _under(pieces: Labels, place: Flags) -> set[int]:
    """The numbers of the pieces at a place."""
    return set(np.unique(pieces[place]).tolist()) - {0}


def _large_pieces(bits: Bitmap) -> Bitmap:
    """The main piece, and others nearly as large."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
    if count == 1:
        return bits
    areas = stats[:, cv2.CC_STAT_AREA]
    large = areas >= _MIN_PIECE_FRACTION * areas[1:].max()
    large[0] = False
    return np.asarray(large[pieces], np.uint8)


def _distance_to_surroundings(view: RgbImage, bits: Bitmap) -> NDArray[np.float32]:
    """Distance of each pixel to the median colour around the item, (h, w), Delta E."""
    lab = to_lab(view)
    outside = lab[bits == 0]
    if not len(outside):
        return np.zeros(bits.shape, np.float32)
    distance: NDArray[np.float32] = np.linalg.norm(lab - np.median(outside, axis=0), axis=2)
    return distance

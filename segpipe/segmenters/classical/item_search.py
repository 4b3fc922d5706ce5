"""Every item on a fairly even background, found and scored in a reduced picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.goods_mask import colour_distance, mark_foreground
from segpipe.segmenters.classical.lab_planes import (
    Labels,
    LabImage,
    Plane,
    enlarge,
    filled,
    shrink,
    to_lab,
)
from segpipe.segmenters.classical.photo_frame import (
    inside_frame,
    only_inside,
    whole_of,
    without_frame,
)
from segpipe.segmenters.classical.striped_goods import join_stripes
from segpipe.segmenters.classical.table_colour import Background, fit_background
from segpipe.segmenters.classical.touching_items import split_items
from segpipe.vision.boxes import Box, PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_MIN_SIDE_PX = 16  # a smaller picture shows no table around an item
_MAX_BORDER_CONTACT = 0.55  # of an outline: a square in the corner has 0.5, a cut corner 0.59
_BULGE = 1.15  # of what a straight line would cut off: a quarter of a ball in the corner has 1.6
_LARGE_FRACTION = 0.1  # of the picture
_HALF_CONTRAST = 10.0  # Delta E at which the contrast counts one half
_COMPACT = 0.8  # of its convex hull; what fills less straggles
_CONTRASTS = (0.5, 0.8)
_COMPACTNESS_WEIGHTS = (1.0, 0.35)  # of straggling, at these contrasts
_DIGITS = 4  # of a score; more is rounding noise, and would order equal items by it
_CROSS = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An item in the reduced picture.

    Attributes:
        window: Where it lies.
        bits: Its pixels in the window, (h, w), 0 or 1.
        score: How sure it is that this is one, 0 to 1.
    """

    window: PixelWindow
    bits: Bitmap
    score: float

    @property
    def area(self) -> int:
        """Pixels of it."""
        return int(np.count_nonzero(self.bits))

    @property
    def view(self) -> tuple[slice, slice]:
        """Its window as slices of the reduced picture."""
        return _slices(self.window)

    def moved(self, right: int, down: int) -> "Item":
        """The same item so many pixels further."""
        x1, y1, x2, y2 = self.window
        window = PixelWindow(x1 + right, y1 + down, x2 + right, y2 + down)
        return Item(window, self.bits, self.score)

    def part_within(self, window: PixelWindow) -> float:
        """The part of its pixels that lie in a window, 0 to 1."""
        both = self.window.intersect(window)
        inside = self.bits[_slices(both, self.window.x1, self.window.y1)]
        return np.count_nonzero(inside) / self.area

    def shared_with(self, other: "Item") -> Bitmap:
        """Which of its pixels are the other's too, in its own window."""
        shared = np.zeros_like(self.bits)
        both = self.window.intersect(other.window)
        if not both.is_empty:
            here = _slices(both, self.window.x1, self.window.y1)
            there = _slices(both, other.window.x1, other.window.y1)
            shared[here] = self.bits[here] & other.bits[there]
        return shared

    def iou(self, other: "Item") -> float:
        """Intersection over union with another item, 0 to 1."""
        shared = np.count_nonzero(self.shared_with(other))
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The reduced picture and what is in it.

    Attributes:
        lab: Its colours, (h, w, 3), a little smoothed.
        background: Its table.
        distance: Distance to the table's colour, (h, w), Delta E.
        min_area: Pixels of the smallest item.
        items: Every item with a good enough score, the best first.
    """

    lab: LabImage
    background: Background
    distance: Plane
    min_area: float
    items: tuple[Item, ...]


def find_all(image: RgbImage, config: ClassicalConfig) -> tuple[Detection, ...]:
    """Find separate goods in an upright RGB image, (h, w, 3) uint8; the best score comes first."""
    look = look_at(image, config)
    if look is None:
        return ()
    return tuple(
        to_detection(item, item.score, work_shape=look.lab.shape, image=image)
        for item in look.items[: config.max_detections]
    )


def look_at(image: RgbImage, config: ClassicalConfig) -> Look | None:
    """Find the items in an upright RGB image, (h, w, 3) uint8; None when it is too small."""
    if min(image.shape[:2]) < _MIN_SIDE_PX:
        return None

    lab = to_lab(shrink(image, config.work_pixels))
    inner = inside_frame(lab)
    look = _look_inside(without_frame(lab, inner), inner, config)
    # With nothing in it, what seemed a picture in a dark frame lies itself on a dark table
    is_whole = inner == whole_of(lab)
    return look if look.items or is_whole else _look_inside(lab, whole_of(lab), config)


def _look_inside(lab: LabImage, inner: PixelWindow, config: ClassicalConfig) -> Look:
    # Tell goods from table
    background = fit_background(lab)
    distance = colour_distance(lab, background)
    goods = only_inside(mark_foreground(lab, background, distance), inner)

    # Tell touching goods apart, and stripes of one item from goods side by side
    min_area = config.min_area_fraction * goods.size
    labels = split_items(goods, lab, min_area=min_area)
    labels = join_stripes(labels, lab, min_area=min_area)

    # Keep what looks like an item, the best first
    items = [
        item
        for item in numbered_items(labels, distance, min_area)
        if item.score >= config.min_score and not _is_edge_of_table(item, inner)
    ]
    items.sort(key=lambda item: (-item.score, item.window.y1, item.window.x1))
    return Look(lab, background, distance, min_area, tuple(items))


def numbered_items(labels: Labels, distance: Plane, min_area: float) -> Iterator[Item]:
    """The numbered items, (h, w), that are large enough, in the order of their numbers."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    count = int(labels.max()) + 1
    areas = np.bincount(numbers, minlength=count)
    low = np.full((2, count), max(labels.shape))
    high = np.zeros((2, count), np.int64)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], numbers, places)
        np.maximum.at(high[axis], numbers, places + 1)
    for number in np.flatnonzero(areas >= max(min_area, 1)):
        window = PixelWindow(*map(int, (*low[:, number], *high[:, number])))
        view = _slices(window)
        bits = (labels[view] == number).astype(np.uint8)
        yield Item(window, bits, score_item(bits, distance[view]))


def score_item(bits: Bitmap, distance: NDArray[np.float32]) -> float:
    """Contrast times compactness, 0 to 1.

    Contrast is d / (d + 10) for the median colour distance d; compactness is the part of its
    convex hull that the item fills, holes aside. The clearer the contrast, the less it counts that
    an item straggles: a faint one is a stain, a dark one may be a chair.

    Args:
        bits: The item, (h, w), 0 or 1, at least one pixel.
        distance: Distance of each pixel to the background's colour, (h, w), Delta E.
    """
    inside = bits.astype(np.bool_)
    median = float(np.median(distance[inside]))
    hull = np.zeros_like(bits)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(bits)), (1,))
    solidity = np.count_nonzero(filled(bits)) / np.count_nonzero(hull)
    contrast = median / (median + _HALF_CONTRAST)
    weight = float(np.interp(contrast, _CONTRASTS, _COMPACTNESS_WEIGHTS))
    if solidity < _COMPACT:
        solidity = _COMPACT * (solidity / _COMPACT) ** weight
    return round(float(contrast * solidity), _DIGITS)


def to_detection(
    item: Item, score: float, *, work_shape: tuple[int, ...], image: RgbImage
) -> Detection:
    """The item at the image's own size.

    Args:
        item: An item of the reduced picture.
        score: What the detection is to have.
        work_shape: The reduced picture's, (h, w, ...).
        image: The photo, (H, W, 3).
    """
    image_height, image_width = image.shape[:2]
    down, across = image_height / work_shape[0], image_width / work_shape[1]
    window = PixelWindow(
        round(item.window.x1 * across),
        round(item.window.y1 * down),
        round(item.window.x2 * across),
        round(item.window.y2 * down),
    )
    bits = enlarge(item.bits, width=window.width, height=window.height)
    mask = Mask(window.x1, window.y1, bits, image_width, image_height).tight()
    return Detection(Box(*map(float, mask.window)), score, mask=mask)


def reduced_window(box: Box, image: RgbImage, work_shape: tuple[int, ...]) -> PixelWindow:
    """A box of the photo in the reduced picture, cut to it; never empty.

    Args:
        box: In pixels of the photo.
        image: The photo, (H, W, 3).
        work_shape: The reduced picture's, (h, w, ...).
    """
    height, width = work_shape[0], work_shape[1]
    across, down = width / image.shape[1], height / image.shape[0]
    x1 = min(max(0, round(box.x1 * across)), width - 1)
    y1 = min(max(0, round(box.y1 * down)), height - 1)
    return PixelWindow(
        x1,
        y1,
        max(x1 + 1, min(width, round(box.x2 * across))),
        max(y1 + 1, min(height, round(box.y2 * down))),
    )


def reduced_item(detection: Detection, image: RgbImage, work_shape: tuple[int, ...]) -> Item:
    """A detection in the photo as an item of the reduced picture; never empty.

    Args:
        detection: It has a mask.
        image: The photo, (H, W, 3).
        work_shape: The reduced picture's, (h, w, ...).
    """
    window = reduced_window(detection.box, image, work_shape)
    solid = np.ones((window.height, window.width), np.uint8)
    if detection.mask is None:
        return Item(window, solid, detection.score)
    bits = cv2.resize(
        detection.mask.tight().bits, solid.shape[::-1], interpolation=cv2.INTER_NEAREST
    )
    return Item(window, np.asarray(bits, np.uint8) if bits.any() else solid, detection.score)


def _slices(window: PixelWindow, left: int = 0, top: int = 0) -> tuple[slice, slice]:
    """A window of a plane whose first pixel is (left, top), as slices of it."""
    y, x = window.y1 - top, window.x1 - left
    return slice(y, y + window.height), slice(x, x + window.width)


def _is_edge_of_table(item: Item, picture: PixelWindow) -> bool:
    """Whether it is a strip or corner beside the table: small, mostly along the border, straight.

    A ball in the corner lies along the border too, but bulges into the picture.
    """
    window, bits = item.window, item.bits
    if np.count_nonzero(bits) > _LARGE_FRACTION * picture.width * picture.height:
        return False
    outline = np.count_nonzero(bits - cv2.erode(np.pad(bits, 1), _CROSS)[1:-1, 1:-1])
    at_border = np.zeros_like(bits)
    for side, is_at_border in (
        (np.s_[0], window.y1 <= picture.y1),
        (np.s_[-1], window.y2 >= picture.y2),
        (np.s_[:, 0], window.x1 <= picture.x1),
        (np.s_[:, -1], window.x2 >= picture.x2),
    ):
        if is_at_border:
            at_border[side] = bits[side]
    if np.count_nonzero(at_border) <= _MAX_BORDER_CONTACT * outline:
        return False
    behind = np.zeros_like(bits)
    cv2.fillConvexPoly(behind, cv2.convexHull(cv2.findNonZero(at_border)), (1,))
    return bool(np.count_nonzero(bits) < _BULGE * np.count_nonzero(behind))

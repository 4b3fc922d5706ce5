"""Every item on a fairly even background."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from segpipe.segmenters.base import Detection
from segpipe.segmenters.classical.arrays import Labels, Plane, enlarge, shrink, to_lab
from segpipe.segmenters.classical.background import fit_background
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.foreground import colour_distance, mark_foreground
from segpipe.segmenters.classical.score import score_item
from segpipe.segmenters.classical.split import split_items
from segpipe.vision.boxes import Box, PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_MIN_SIDE_PX = 16  # a smaller picture shows no table around an item
_MAX_BORDER_CONTACT = 0.55  # of an outline: a square in the corner has 0.5, a cut corner 0.59
_LARGE_FRACTION = 0.1  # of the picture
_CROSS = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """An item in the reduced picture: its window there, its bits in it, its score."""

    window: PixelWindow
    bits: Bitmap
    score: float


def find_all(image: RgbImage, config: ClassicalConfig) -> tuple[Detection, ...]:
    """Find separate goods in an upright RGB image, (h, w, 3) uint8; the best score comes first."""
    if min(image.shape[:2]) < _MIN_SIDE_PX:
        return ()

    # Tell goods from table in a reduced picture
    lab = to_lab(shrink(image, config.work_pixels))
    background = fit_background(lab)
    goods = mark_foreground(lab, background)

    # Tell touching goods apart
    min_area = config.min_area_fraction * goods.size
    labels = split_items(goods, lab, min_area=min_area)

    # Keep what looks like an item, the best first
    items = [
        item
        for item in _items(labels, colour_distance(lab, background), min_area)
        if item.score >= config.min_score and not _is_edge_of_table(item, goods.shape)
    ]
    items.sort(key=lambda item: (-item.score, item.window.y1, item.window.x1))

    # Back to full size
    return tuple(_enlarged(item, goods.shape, image) for item in items[: config.max_detections])


def _items(labels: Labels, distance: Plane, min_area: float) -> Iterator[_Item]:
    """The numbered items that are large enough."""
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
        view = np.s_[window.y1 : window.y2, window.x1 : window.x2]
        bits = (labels[view] == number).astype(np.uint8)
        yield _Item(window, bits, score_item(bits, distance[view]))


def _is_edge_of_table(item: _Item, shape: tuple[int, ...]) -> bool:
    """Whether it is a strip or corner beside the table: small, and mostly along the border."""
    height, width = shape[0], shape[1]
    window, bits = item.window, item.bits
    if np.count_nonzero(bits) > _LARGE_FRACTION * height * width:
        return False
    outline = np.count_nonzero(bits - cv2.erode(np.pad(bits, 1), _CROSS)[1:-1, 1:-1])
    contact = sum(
        np.count_nonzero(line)
        for line, at_border in (
            (bits[0], window.y1 == 0),
            (bits[-1], window.y2 == height),
            (bits[:, 0], window.x1 == 0),
            (bits[:, -1], window.x2 == width),
        )
        if at_border
    )
    return bool(contact > _MAX_BORDER_CONTACT * outline)


def _enlarged(item: _Item, work_shape: tuple[int, ...], image: RgbImage) -> Detection:
    """The item at the image's own size."""
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
    return Detection(Box(*map(float, mask.window)), item.score, mask=mask)

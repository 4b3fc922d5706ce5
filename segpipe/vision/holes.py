"""Holes to be filled in a picture: grown, taken apart, and pasted with a soft rim."""

from collections.abc import Sequence

import cv2
import numpy as np

from segpipe.errors import InputError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_BLACK = 127


def union_of(masks: Sequence[Mask], *, image_width: int, image_height: int) -> Bitmap:
    """The pixels of any of the masks of one image, (image_height, image_width).

    >>> square = Mask(1, 0, np.ones((2, 2), np.uint8), 4, 2)
    >>> union_of([square, square], image_width=4, image_height=2).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]

    Raises:
        InputError: A mask belongs to an image of another size.
    """
    whole = np.zeros((image_height, image_width), np.uint8)
    for mask in masks:
        if (mask.image_width, mask.image_height) != (image_width, image_height):
            raise InputError(
                f"a mask belongs to an image of {mask.image_width} x {mask.image_height} pixels, "
                f"not {image_width} x {image_height}",
                field="mask",
            )
        window = mask.window
        whole[window.y1 : window.y2, window.x1 : window.x2] |= mask.bits
    return whole


def hole_of_picture(picture: RgbImage) -> Bitmap:
    """The hole that somebody painted: what is more white than black, (h, w)."""
    return np.asarray(picture.max(axis=2) > _BLACK, np.uint8)


def grown(hole: Bitmap, by_px: int) -> Bitmap:
    """A hole with every pixel at most ``by_px`` away from it, in a straight line.

    >>> grown(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8), 1).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    whole = np.zeros_like(hole)
    # The distances of a large photo would take four times its memory.
    for x1, y1, x2, y2 in hole_windows(hole, context_ratio=0, min_context_px=by_px):
        outside = 1 - hole[y1:y2, x1:x2]
        distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        whole[y1:y2, x1:x2] = distance <= by_px
    return whole


def hole_windows(hole: Bitmap, *, context_ratio: float, min_context_px: int) -> list[PixelWindow]:
    """Where each part of a hole lies, with surroundings to fill it from; no two of them meet.

    >>> hole = np.zeros((100, 200), np.uint8)
    >>> hole[40:60, 20:40] = hole[40:60, 150:170] = 1
    >>> [tuple(window) for window in hole_windows(hole, context_ratio=0.5, min_context_px=4)]
    [(10, 30, 50, 70), (140, 30, 180, 70)]

    Args:
        hole: Shape (h, w), 1 is to be filled.
        context_ratio: How wide the surroundings are, as a part of the longer side of the hole.
        min_context_px: Their width at least, pixels.
    """
    height, width = hole.shape
    whole = PixelWindow(0, 0, width, height)
    _, _, stats, _ = cv2.connectedComponentsWithStats(hole, connectivity=8)
    windows: list[PixelWindow] = []
    for x, y, w, h, _ in stats[1:].tolist():
        rim = max(min_context_px, round(context_ratio * max(w, h)))
        windows.append(PixelWindow(x - rim, y - rim, x + w + rim, y + h + rim).intersect(whole))
    return sorted(_merged(windows, hole.shape))


def _merged(windows: list[PixelWindow], shape: tuple[int, ...]) -> list[PixelWindow]:
    """Windows of which no two meet, that hold all of these."""
    while True:
        covered = np.zeros(shape, np.uint8)
        for x1, y1, x2, y2 in windows:
            covered[y1:y2, x1:x2] = 1
        _, _, stats, _ = cv2.connectedComponentsWithStats(covered, connectivity=4)
        boxes = [PixelWindow(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
        if len(boxes) == len(windows):
            return boxes
        windows = boxes


def pasted(image: RgbImage, filled: RgbImage, hole: Bitmap, *, feather_px: int) -> RgbImage:
    """An image with its hole from another one, and a rim outside of it that fades over.

    Pixels further than ``feather_px`` from the hole are those of the image, bit for bit.

    Args:
        image: Shape (h, w, 3).
        filled: The same picture with something in the hole.
        hole: Shape (h, w), 1 is taken from ``filled``.
        feather_px: Width of the rim, pixels; 0 for a hard edge.
    """
    if feather_px == 0:
        return np.where(hole[..., None] == 1, filled, image)
    distance = cv2.distanceTransform(1 - hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.where(distance > feather_px, 0, 1 - distance / (feather_px + 1))[..., None]
    mixed = np.rint(filled * share + image * (1 - share)).astype(np.uint8)
    return np.where(share > 0, mixed, image)

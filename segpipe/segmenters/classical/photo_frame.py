"""A frame around a photo, or bars at two of its sides, as scanners, apps and films leave them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import Flags, LabImage
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap

_DEEPEST = 0.23  # of a side of the photo; what is deeper is no frame
_APART = 8.0  # Delta E by which the picture's outermost lines differ from the frame, at least
_EVEN = 4.0  # Delta E within which a frame has one colour
# Of a light frame, L* by which most pixels differ from its middle, JPEG's ringing at its edge aside
_FLAT, _FLAT_PART = 0.1, 0.6
_DARK = 40.0  # L*
_EVEN_PART = 0.97  # of a line of the frame
_BESIDE_BAR = 0.5  # of a line of the picture
_SOFT_EDGE_PX = 3  # between frame and picture


def whole_of(lab: LabImage) -> PixelWindow:
    """All of a picture, (h, w, 3), as a window."""
    return PixelWindow(0, 0, lab.shape[1], lab.shape[0])


def inside_frame(lab: LabImage) -> PixelWindow:
    """The picture inside a frame of one colour; all of it where there is no frame.

    A frame is of one colour, and straight to the pixel. It lies on all four sides, or on two that
    face each other, as the bars of a film do. A light one is perfectly flat, too: nobody lights a
    table like that.

    Args:
        lab: Shape (h, w, 3), CIE Lab.
    """
    height, width = lab.shape[:2]
    whole = whole_of(lab)
    top, bottom = _depth(lab), _depth(lab[::-1])
    across = lab.transpose(1, 0, 2)
    left, right = _depth(across), _depth(across[::-1])
    if not (top and bottom):
        top = bottom = 0
    if not (left and right):
        left = right = 0
    if not (top or left):
        return whole
    inner = PixelWindow(left, top, width - right, height - bottom)
    if inner.is_empty:
        return whole
    outside = np.ones((height, width), np.bool_)
    outside[inner.y1 : inner.y2, inner.x1 : inner.x2] = False
    # All its outermost lines differ from the frame: things on a table leave gaps. The light may
    # have burnt out a part of the table beside a bar.
    least = _EVEN_PART if top and left else _BESIDE_BAR
    picture = lab[inner.y1 : inner.y2, inner.x1 : inner.x2]
    other = np.linalg.norm(picture - np.median(lab[outside], axis=0), axis=2) > _APART
    sides = [other[0], other[-1]] * bool(top) + [other[:, 0], other[:, -1]] * bool(left)
    return inner if all(side.mean() >= least for side in sides) else whole


def without_frame(lab: LabImage, inner: PixelWindow) -> LabImage:
    """The picture with its own outermost pixels in place of the frame, (h, w, 3).

    Args:
        lab: Shape (h, w, 3), CIE Lab.
        inner: The picture inside the frame.
    """
    height, width = lab.shape[:2]
    if inner == whole_of(lab):
        return lab
    picture = lab[inner.y1 : inner.y2, inner.x1 : inner.x2]
    sides = (inner.y1, height - inner.y2, inner.x1, width - inner.x2)
    return np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REPLICATE), np.float32)


def only_inside(bits: Bitmap, inner: PixelWindow) -> Bitmap:
    """A bitmap, (h, w), with nothing outside a window."""
    kept = np.zeros_like(bits)
    view = (slice(inner.y1, inner.y2), slice(inner.x1, inner.x2))
    kept[view] = bits[view]
    return kept


def _depth(lab: LabImage) -> int:
    """How many lines from the top belong to a frame, the soft edge below it included."""
    deepest = int(_DEEPEST * lab.shape[0])
    strip = lab[: deepest + 1]
    colour: NDArray[np.float32] = np.median(strip[0], axis=0)
    alike: Flags = np.linalg.norm(strip - colour, axis=2) < _EVEN
    is_frame = alike.mean(axis=1) >= _EVEN_PART
    depth = int(np.argmin(is_frame)) if not is_frame.all() else 0
    lightness = strip[: max(1, depth), :, 0]
    away = np.quantile(np.abs(lightness - np.median(lightness)), _FLAT_PART)
    flat = colour[0] < _DARK or away < _FLAT
    return depth + _SOFT_EDGE_PX if depth and flat else 0

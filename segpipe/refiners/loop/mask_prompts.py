"""What a mask tells a promptable model: two points, a box, and a soft mask.

Y. Lin and others: "SAMRefiner: Taming Segment Anything Model for Universal Mask Refinement",
ICLR 2025, https://arxiv.org/abs/2502.06756
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap

Depth = NDArray[np.float32]
"""Shape (h, w): how far each pixel of a mask lies from what is outside, 0 outside."""
Logits = NDArray[np.float32]
"""Shape (h, w): above 0 is inside."""


@dataclass(frozen=True, slots=True)
class Pixel:
    """One pixel of a bitmap."""

    x: int
    y: int


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrompts:
    """What to ask about one object, in pixels of its bitmap.

    Attributes:
        inside: The pixel deepest inside the object.
        outside: The pixel of its tight box that is farthest from it; None when it fills the box.
        box: Its tight box, half-open.
        logits: Its soft mask, the shape of the bitmap.
        outside_logit: What the soft mask has wherever the object is not.
    """

    inside: Pixel
    outside: Pixel | None
    box: PixelWindow
    logits: Logits
    outside_logit: float


def mask_prompts(bits: Bitmap, *, gamma: float, strength: float) -> MaskPrompts:
    """Derive all prompts from one bitmap, (h, w) uint8 of 0 and 1.

    Args:
        bits: The object; what lies beyond its edges counts as outside.
        gamma: How quickly the soft mask falls off from the middle of the object; see
            :func:`gaussian_mask`.
        strength: The soft mask's logit in the middle, and its negative outside.

    Raises:
        InputError: The bitmap has no pixel inside.
    """
    box = tight_window(bits)
    if box.is_empty:
        raise InputError("an empty mask has no prompts", field="bits")
    # Beyond the box there is nothing to measure.
    tight = bits[box.y1 : box.y2, box.x1 : box.x2]
    depth = depth_inside(tight)
    logits = np.full(bits.shape, -strength, np.float32)
    logits[box.y1 : box.y2, box.x1 : box.x2] = gaussian_mask(
        tight, depth, gamma=gamma, strength=strength
    )
    return MaskPrompts(
        inside=_deepest(depth, box),
        outside=background_pixel(bits, box),
        box=box,
        logits=logits,
        outside_logit=-strength,
    )


def tight_window(bits: Bitmap) -> PixelWindow:
    """The smallest window that holds all pixels of the object; empty when there are none."""
    x, y, width, height = cv2.boundingRect(bits)
    return PixelWindow(x, y, x + width, y + height)


def depth_inside(bits: Bitmap) -> Depth:
    """Distance of each pixel of the object to the nearest one outside it, in pixels.

    It is Euclidean to within some percent; the exact one takes three times as long.
    """
    distance = cv2.distanceTransform(np.pad(bits, 1), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(distance[1:-1, 1:-1], np.float32)


def background_pixel(bits: Bitmap, box: PixelWindow) -> Pixel | None:
    """The pixel of a box that is outside the object and farthest from it; None without any."""
    outside = 1 - bits[box.y1 : box.y2, box.x1 : box.x2]
    if not outside.any():
        return None
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5)
    return _deepest(np.asarray(distance, np.float32), box)


def gaussian_mask(bits: Bitmap, depth: Depth, *, gamma: float, strength: float) -> Logits:
    """A mask prompt that is sure of the middle of an object and unsure of its edge.

    With D the depth and A the larger of area / gamma and 1, it is
    strength * exp(-(D - max D)^2 / A) inside, and -strength outside.
    """
    spread = max(np.count_nonzero(bits) / gamma, 1.0)
    gauss = np.exp(-np.square(depth - depth.max(initial=0.0)) / np.float32(spread))
    logits: Logits = np.where(bits == 1, np.float32(strength) * gauss, np.float32(-strength))
    return logits


def _deepest(depth: Depth, window: PixelWindow) -> Pixel:
    """The deepest pixel of a window; the depth is given for its pixels."""
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return Pixel(window.x1 + x, window.y1 + y)

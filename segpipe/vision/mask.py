"""Masks: a box-local bitmap and where it lies in its image."""

from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window

Bitmap = NDArray[np.uint8]
"""Shape (h, w), 0 or 1."""

_PLANE_AXES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels of one item, which never change.

    Attributes:
        x: Left column of the bitmap in the image.
        y: Top row of the bitmap in the image.
        bits: Shape (h, w) uint8, 0 or 1; it lies inside the image. (0, 0) when empty.
        image_width: Width of the upright image.
        image_height: Height of the upright image.

    Raises:
        InputError: The bitmap is no (h, w) uint8 of 0 and 1, or does not lie inside the image.
    """

    x: int
    y: int
    # Whoever shows a mask in a message, as asyncio does at the end of a run, shows no pixels.
    bits: Bitmap = field(repr=False)
    image_width: int
    image_height: int
    _tight: PixelWindow | None = field(default=None, init=False, repr=False)
    _packed: bytes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.bits.ndim != _PLANE_AXES or self.bits.dtype != np.uint8:
            raise InputError(
                f"a mask bitmap must be (h, w) uint8, got {self.bits.shape} {self.bits.dtype}",
                field="bits",
            )
        if self.bits.max(initial=0) > 1:
            raise InputError(
                f"a mask bitmap holds 0 and 1 only, got {self.bits.max()}", field="bits"
            )
        window = self.window
        inside = (
            0 <= window.x1 <= window.x2 <= self.image_width
            and 0 <= window.y1 <= window.y2 <= self.image_height
        )
        if not inside or self.image_width < 1 or self.image_height < 1:
            raise InputError(
                f"a mask must lie inside its image: {tuple(window)} is not inside "
                f"{self.image_width} x {self.image_height}",
                field="bits",
            )

    @classmethod
    def from_full(cls, full: NDArray[np.generic]) -> Self:
        """Make the tight mask of a full-image array, (H, W), non-zero is inside.

        Raises:
            InputError: The array is not (H, W), or has no pixels.

        Examples:
            >>> full = np.zeros((6, 8), np.uint8)
            >>> full[1:3, 2:6] = 1
            >>> mask = Mask.from_full(full)
            >>> mask.x, mask.y, mask.bits.shape, mask.area, tuple(mask.box)
            (2, 1, (2, 4), 8, (2.0, 1.0, 6.0, 3.0))
            >>> np.array_equal(mask.to_full(), full)
            True
        """
        if full.ndim != _PLANE_AXES or full.size == 0:
            raise InputError(f"a full-image mask must be (H, W), got {full.shape}", field="full")
        image_height, image_width = full.shape
        inside = full.astype(np.bool_, copy=False).view(np.uint8)
        x, y, width, height = cv2.boundingRect(inside)
        # A copy: a view would keep the full image in memory, and change with it.
        bits = inside[y : y + height, x : x + width].copy()
        return cls(x, y, bits, image_width, image_height)

    @classmethod
    def from_box(cls, box: Box, *, image_width: int, image_height: int) -> Self:
        """Make a filled rectangle of every pixel that a box touches inside the image.

        Raises:
            InputError: A coordinate is NaN or infinite.
        """
        window = pixel_window(box, image_width=image_width, image_height=image_height)
        if window.is_empty:
            return cls.empty(image_width=image_width, image_height=image_height)
        bits = np.ones((window.height, window.width), np.uint8)
        return cls(window.x1, window.y1, bits, image_width, image_height)

    @classmethod
    def empty(cls, *, image_width: int, image_height: int) -> Self:
        """Make a mask without any pixel."""
        return cls(0, 0, np.zeros((0, 0), np.uint8), image_width, image_height)

    def to_full(self) -> Bitmap:
        """The full-image array, (H, W) uint8, 0 or 1."""
        return self.crop_to(0, 0, self.image_width, self.image_height)

    @property
    def window(self) -> PixelWindow:
        """Where the bitmap lies in the image."""
        height, width = self.bits.shape
        return PixelWindow(self.x, self.y, self.x + width, self.y + height)

    @property
    def area(self) -> int:
        """Pixels inside the mask."""
        return cv2.countNonZero(self.bits) if self.bits.size else 0

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside the mask."""
        return self._tight_window().is_empty

    @property
    def box(self) -> Box | None:
        """The tight box in pixels of the image; None when the mask is empty."""
        tight = self._tight_window()
        return None if tight.is_empty else Box(*map(float, tight))

    def tight(self) -> Self:
        """The same pixels in the smallest bitmap; (0, 0) at the origin when empty."""
        window = self._tight_window()
        if window.is_empty:
            return self.empty(image_width=self.image_width, image_height=self.image_height)
        if window == self.window:
            return self
        return type(self)(
            window.x1, window.y1, self.crop_to(*window), self.image_width, self.image_height
        )

    def crop_to(self, x1: int, y1: int, x2: int, y2: int) -> Bitmap:
        """The bitmap of any window of the plane, (y2 - y1, x2 - x1), a new array.

        Everything outside the mask's own bitmap, also outside the image, is 0.

        Raises:
            InputError: x2 < x1 or y2 < y1.
        """
        if x2 < x1 or y2 < y1:
            raise InputError(f"a window needs x1 <= x2 and y1 <= y2, got {(x1, y1, x2, y2)}")
        cropped = np.zeros((y2 - y1, x2 - x1), np.uint8)
        shared = self.window.intersect(PixelWindow(x1, y1, x2, y2))
        if not shared.is_empty:
            cropped[shared.y1 - y1 : shared.y2 - y1, shared.x1 - x1 : shared.x2 - x1] = self._view(
                shared
            )
        return cropped

    def shown_in(self, window: PixelWindow) -> Bitmap:
        """What :meth:`crop_to` gives, to read only: it may be the mask's own bitmap."""
        return self.bits if window == self.window else self.crop_to(*window)

    def packed(self) -> bytes:
        """The bitmap row after row, 8 pixels a byte, highest bit first, 0 at the end.

        Packed once, as each stage that keeps the mask asks; an eighth of the bitmap.
        """
        if self._packed is None:
            packed = np.packbits(self.bits).tobytes()
            object.__setattr__(self, "_packed", packed)
            return packed
        return self._packed

    def _tight_window(self) -> PixelWindow:
        """The smallest window around the pixels; looked for once, as every stage asks."""
        if self._tight is None:
            window = PixelWindow(0, 0, 0, 0)
            if self.bits.size:
                left, top, width, height = cv2.boundingRect(self.bits)
                x1, y1 = self.x + left, self.y + top
                window = PixelWindow(x1, y1, x1 + width, y1 + height)
            object.__setattr__(self, "_tight", window)
            return window
        return self._tight

    def _view(self, window: PixelWindow) -> Bitmap:
        """The bitmap under a window that lies inside it."""
        return self.bits[
            window.y1 - self.y : window.y2 - self.y, window.x1 - self.x : window.x2 - self.x
        ]


def intersection_area(a: Mask, b: Mask) -> int:
    """Pixels inside both masks of one image.

    Raises:
        InputError: The masks belong to images of different sizes.
    """
    if (a.image_width, a.image_height) != (b.image_width, b.image_height):
        raise InputError(
            "masks of different images cannot be compared: "
            f"{a.image_width} x {a.image_height} and {b.image_width} x {b.image_height}"
        )
    shared = a.window.intersect(b.window)
    if shared.is_empty:
        return 0
    return cv2.countNonZero(cv2.bitwise_and(a._view(shared), b._view(shared)))


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one image, 0 to 1; 0 when both are empty.

    Raises:
        InputError: The masks belong to images of different sizes.

    Examples:
        >>> a = Mask.from_box(Box(0, 0, 4, 4), image_width=8, image_height=6)
        >>> b = Mask.from_box(Box(2, 0, 6, 4), image_width=8, image_height=6)
        >>> round(iou(a, b), 3)
        0.333
    """
    intersection = intersection_area(a, b)
    union = a.area + b.area - intersection
    return intersection / union if union else 0.0


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by every image pixel at most a distance away from it.

    Args:
        mask: The mask; it is not changed.
        radius_px: Euclidean distance between pixel centres, 0 or more.

    Raises:
        InputError: The radius is negative.
    """
    if radius_px < 0:
        raise InputError(f"a radius must be 0 or more, got {radius_px}", field="radius_px")
    tight = mask.tight()
    if radius_px == 0 or tight.is_empty:
        return tight
    whole = PixelWindow(0, 0, mask.image_width, mask.image_height)
    grown = tight.window.grown(radius_px).intersect(whole)
    bits = cv2.dilate(tight.crop_to(*grown), disc(radius_px)).astype(np.uint8, copy=False)
    return Mask(grown.x1, grown.y1, bits, mask.image_width, mask.image_height)


def disc(radius_px: int) -> Bitmap:
    """Every pixel at most a distance away from the middle one, (2 r + 1, 2 r + 1).

    >>> disc(1).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    offsets = np.arange(-radius_px, radius_px + 1) ** 2
    return (offsets[:, None] + offsets <= radius_px**2).astype(np.uint8)

"""Masks: a box-local bitmap and where it lies in its image."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels of one item.

    Attributes:
        x: Left column of the bitmap in the image.
        y: Top row of the bitmap in the image.
        bits: Shape (h, w) uint8, 0 or 1; it lies inside the image. (0, 0) when empty.
        image_width: Width of the upright image.
        image_height: Height of the upright image.
    """

    x: int
    y: int
    bits: NDArray[np.uint8]
    image_width: int
    image_height: int

    @classmethod
    def from_full(cls, full: NDArray[np.generic]) -> Self:
        """Make the tight mask of a full-image array, (H, W), non-zero is inside."""
        raise NotImplementedError

    def to_full(self) -> NDArray[np.uint8]:
        """The full-image array, (H, W) uint8, 0 or 1."""
        raise NotImplementedError

"""What a library that runs SAM 3 has to offer: one implementation a library, chosen in ``load``.

A runtime is synchronous and keeps nothing between calls but the weights. Everything around it is
shared: batches, kept features, thresholds of masks, "everything", labels (``model.py``).

Conventions:

- Coordinates are pixels of the upright image, as in a prompt; the runtime scales them to what its
  library wants. A point (x, y) is a place, not the index of a pixel.
- Arrays that come out are NumPy, in the memory of the processor, float32, and belong to the
  caller: an implementation copies what is a view of a batch.
- All calls but ``prepare`` come from one thread, one after another. ``prepare`` may be called from
  several threads at once, and never touches the device.
- A runtime raises :class:`~segpipe.errors.PromptError` for a prompt that it cannot follow.
  Whatever else its library raises is left to come through: the caller names it
  (``faults.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Thresholds
from segpipe.errors import SegmenterError
from segpipe.models.faults import Faults
from segpipe.prompt import Exemplar, Point
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage


class Prepared(Protocol):
    """An image made ready for a model."""

    @property
    def digest(self) -> bytes:
        """What names it: equal for images with the same features, as ``preprocess`` makes it."""
        ...


PixelsT = TypeVar("PixelsT", bound=Prepared)
FeaturesT = TypeVar("FeaturesT")

CANDIDATES = 3
"""Masks that SAM gives for one prompt of points: the part, the whole, and something between."""


@dataclass(frozen=True, slots=True, eq=False)
class RawMasks:
    """Masks as a model gives them: small planes that are stretched over the whole image.

    Attributes:
        planes: Shape (n, h, w) float32. A pixel of the image is in the mask when the plane,
            interpolated there, is above ``level``.
        scores: Shape (n,) float32, 0 to 1.
        level: The threshold of the planes, in their own unit. A runtime interpolates what its own
            library interpolates: probabilities (level = the threshold) or logits (level = the
            logit of the threshold).
    """

    planes: NDArray[np.float32]
    scores: NDArray[np.float32]
    level: float

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.intp]) -> "RawMasks":
        """The masks at these positions, in this order."""
        return RawMasks(self.planes[chosen], self.scores[chosen], self.level)


class Runtime(Protocol[PixelsT, FeaturesT]):
    """A loaded SAM 3.

    ``PixelsT`` is an image made ready for the model, ``FeaturesT`` what its vision encoder makes
    of it. Both know the size of the image. Features may stay on the device; how many are kept is
    decided by the caller, who drops his last reference to let go of them.
    """

    @property
    def revision(self) -> str:
        """What names the weights: a commit, or a digest of the files."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, as torch names it: ``cpu``, ``cuda:0``, ``mps``."""
        ...

    def prepare(self, image: RgbImage) -> PixelsT:
        """Scale and normalise an upright RGB image, (h, w, 3) uint8, which is not changed."""
        ...

    def encode(self, images: Sequence[PixelsT]) -> list[FeaturesT]:
        """Features of each image, by one pass of the vision encoder over all of them."""
        ...

    def find(
        self,
        features: FeaturesT,
        text: str | None,
        exemplars: Sequence[Exemplar],
        thresholds: Thresholds,
    ) -> RawMasks:
        """Everything that the text names and the exemplars show; at least one of both is given.

        The best score comes first, all scores reach ``thresholds.score``, and there are
        ``thresholds.max_masks`` at most.

        Raises:
            PromptError: The text is longer than the model can read; ``field="text"``.
        """
        ...

    def at_points(
        self, features: FeaturesT, points: Sequence[Point], mask_threshold: float
    ) -> RawMasks:
        """Three readings of what all the points mean together, in the model's order.

        The planes are logits, so that ``level`` is the logit of the threshold.
        """
        ...

    def at_each_point(
        self,
        features: FeaturesT,
        points: Sequence[Point],
        mask_threshold: float,
        min_score: float,
    ) -> RawMasks:
        """Readings of each point for itself, those that score ``min_score`` or more, as logits.

        The caller gives no more points than the model can take at a time
        (``everything.points_per_batch``). The order is that of the points, three readings a
        point at most.
        """
        ...

    def in_boxes(
        self,
        features: FeaturesT,
        boxes: Sequence[Box],
        points: Sequence[Sequence[Point]],
        mask_threshold: float,
    ) -> RawMasks:
        """One mask for each box, in their order, refined by the points that come with it.

        The planes are logits. An answer does not depend on the other boxes. The caller gives no
        more boxes than the model can take at a time.
        """
        ...

    def close(self) -> None:
        """Let go of the weights; nothing is called after it."""
        ...


def logit(probability: float) -> float:
    """The logit of a probability; infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


FAULTS = Faults(
    model="SAM 3",
    remedy="lower batch_size, kept_images or everything.points_per_batch",
    error=SegmenterError,
)

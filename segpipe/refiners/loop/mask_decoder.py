"""What the refining loop asks of a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segpipe.refiners.loop.mask_prompts import Logits
from segpipe.refiners.loop.square_view import Square, SquarePrompt
from segpipe.vision.image import RgbImage

E = TypeVar("E")
"""A model's own features of one view."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The masks that a model proposes for one object.

    Attributes:
        logits: Shape (n, low_side, low_side) float32 over the model's square; above 0 is inside.
        predicted_ious: Shape (n,) float32, how well the model expects each to fit.
    """

    logits: NDArray[np.float32]
    predicted_ious: NDArray[np.float32]

    @property
    def best(self) -> tuple[Logits, float] | None:
        """The candidate that the model expects most of, and its predicted IoU, 0 to 1.

        None when no candidate is made of finite numbers: float16 overflows in some models.
        """
        for index in np.argsort(-self.predicted_ious, kind="stable").tolist():
            logits, predicted = self.logits[index], float(self.predicted_ious[index])
            if math.isfinite(predicted) and np.isfinite(logits).all():
                return logits, min(max(predicted, 0.0), 1.0)
        return None


class MaskDecoder(Protocol[E]):
    """A promptable model that takes mask prompts; called by one thread at a time."""

    @property
    def square(self) -> Square:
        """What it sees at a time."""
        ...

    def embed(self, views: Sequence[RgbImage]) -> Sequence[E]:
        """Look at views, each (h, w, 3) uint8 of any size; it scales them as its square says."""
        ...

    def decode(
        self, embeddings: Sequence[E], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        """Propose masks for objects; each embedding is of the view that its prompt speaks of.

        Objects of one view share one embedding, the same Python object.
        """
        ...

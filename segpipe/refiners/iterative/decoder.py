"""What the refining loop asks of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segpipe.refiners.iterative.prompts import Logits
from segpipe.refiners.iterative.views import SquarePrompt
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
    def best(self) -> tuple[Logits, float]:
        """The candidate that the model expects most of, and its predicted IoU, 0 to 1."""
        index = int(self.predicted_ious.argmax())
        return self.logits[index], float(np.clip(self.predicted_ious[index], 0, 1))


class MaskDecoder(Protocol[E]):
    """A promptable model that takes mask prompts; called by one thread at a time.

    Attributes:
        side: Pixels along each side of the square that it sees.
        low_side: Pixels along each side of its masks, which cover the square.
    """

    side: int
    low_side: int

    def embed(self, views: Sequence[RgbImage]) -> Sequence[E]:
        """Look at views, each (h, w, 3) uint8 with its longer side equal to ``side``."""
        ...

    def decode(
        self, embeddings: Sequence[E], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        """Propose masks for objects; each embedding is of the view that its prompt speaks of.

        Objects of one view share one embedding, the same Python object.
        """
        ...

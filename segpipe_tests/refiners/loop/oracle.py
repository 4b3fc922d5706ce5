"""A stand-in for the model that knows the truth, and tells it with noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.refiners.loop.mask_decoder import Candidates
from segpipe.refiners.loop.mask_prompts import Logits
from segpipe.refiners.loop.square_view import Fit, Square, SquarePrompt
from segpipe.scenes.painted_fields import FullMask
from segpipe.vision.canvas import shrink
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import iou

_LEVELS = (60, 120, 180, 240)
"""So far apart that two items' colours stay apart where a view blends them."""
_PART_PX, _WHOLE_PX = -5.0, 5.0
"""What the other two candidates are off by, in pixels of the model's masks."""


def labelled(shape: tuple[int, int], masks: Sequence[FullMask]) -> RgbImage:
    """A picture in which each item has a colour of its own, on black."""
    image = np.zeros((*shape, 3), np.uint8)
    for number, mask in enumerate(masks):
        image[mask] = colour(number)
    return image


def colour(number: int) -> tuple[int, int, int]:
    red, rest = number % 4, number // 4
    return _LEVELS[red], _LEVELS[rest % 4], _LEVELS[rest // 4]


@dataclass(eq=False)
class Oracle:
    """Answers questions about a labelled picture: the item whose colour lies under the point.

    Of its three candidates one is the truth, one a little more and one a little less. The edge of
    each wavers, and their predicted IoUs are a little off.

    Attributes:
        side: Pixels along each side of the square that it sees.
        low_side: Pixels along each side of its masks.
        fit: How a view comes to fill the square.
        edge_noise_px: Standard deviation of the edge, in pixels of the model's masks.
        iou_noise: Standard deviation of the predicted IoUs.
        embedded: The views of each call so far.
        questions: The prompts of each call so far.
    """

    side: int = 256
    low_side: int = 64
    fit: Fit = Fit.PAD
    edge_noise_px: float = 0.0
    iou_noise: float = 0.0
    seed: int = 0
    embedded: list[list[RgbImage]] = field(default_factory=list)
    questions: list[list[SquarePrompt]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    @cached_property
    def square(self) -> Square:
        return Square(self.side, self.low_side, self.fit)

    def embed(self, views: Sequence[RgbImage]) -> Sequence[RgbImage]:
        self.embedded.append(list(views))
        return [shrink(view, *self.square.size_of(view.shape[1], view.shape[0])) for view in views]

    def decode(
        self, embeddings: Sequence[RgbImage], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        self.questions.append(list(prompts))
        return [self._answer(*pair) for pair in zip(embeddings, prompts, strict=True)]

    def _answer(self, view: RgbImage, prompt: SquarePrompt) -> Candidates:
        x, y = (int(place) for place in prompt.inside)
        is_item = np.all(np.abs(view.astype(np.int16) - view[y, x]) < 30, axis=2)
        square = np.zeros((self.side, self.side), np.uint8)
        square[: view.shape[0], : view.shape[1]] = is_item
        truth = self._signed_depth(square)
        wavering = truth + self._waves()
        candidates = np.stack([wavering + off for off in (_PART_PX, 0.0, _WHOLE_PX)])
        ious = np.array([iou(one > 0, truth > 0) for one in candidates])
        noisy = ious + self._rng.normal(0, self.iou_noise, 3) if self.iou_noise else ious
        return Candidates(candidates.astype(np.float32), noisy.astype(np.float32))

    def _signed_depth(self, square: NDArray[np.uint8]) -> Logits:
        """Distance to the item's edge, in pixels of the model's masks, above 0 inside."""
        inside, outside = (
            cv2.distanceTransform(plane, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            for plane in (square, 1 - square)
        )
        step = self.side // self.low_side
        size = (self.low_side, self.low_side)
        depth = cv2.resize((inside - outside) / step, size, interpolation=cv2.INTER_AREA)
        return np.asarray(depth, np.float32)

    def _waves(self) -> Logits:
        if not self.edge_noise_px:
            return np.zeros((self.low_side, self.low_side), np.float32)
        noise = self._rng.standard_normal((self.low_side, self.low_side)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
        return np.asarray(smooth * (self.edge_noise_px / smooth.std()), np.float32)

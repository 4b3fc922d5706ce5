"""A loaded SAM 3 that answers prompts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from cachetools import LRUCache

from segpipe.detection import (
    NO_EVIDENCE,
    Candidate,
    Detection,
    SegmentationResult,
    Thresholds,
)
from segpipe.prompt import Mode, Point, Prompt, Supports, require_points
from segpipe.segmenters.batching import MicroBatcher
from segpipe.segmenters.sam3.local.grid_search import find_everything
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.mask_planes import to_mask
from segpipe.segmenters.sam3.local.sam3_runtime import FAULTS, FeaturesT, PixelsT, RawMasks, Runtime
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_CANDIDATES_MASK_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Job(Generic[PixelsT, FeaturesT]):
    """A question about an image, for the thread of the model.

    Attributes:
        pixels: The picture made ready.
        answer: Takes the features.
    """

    pixels: PixelsT
    answer: Callable[[FeaturesT], RawMasks]


class LocalModel(Generic[PixelsT, FeaturesT]):
    """SAM 3 in this process, by whichever runtime.

    An image goes through the vision encoder once, with others that come at the same time; its
    features are kept for further prompts. The model works in one thread. What comes before and
    after it, scaling pictures and masks, is done in others meanwhile.

    Args:
        runtime: The loaded weights.
        config: Batches, kept images and the settings of "everything".
    """

    id = "sam3-local"

    def __init__(self, runtime: Runtime[PixelsT, FeaturesT], config: LocalConfig) -> None:
        self._runtime = runtime
        self._config = config
        self._kept = LRUCache[bytes, FeaturesT](config.kept_images)
        self._revision = runtime.revision
        self._device = runtime.device
        self._batcher = MicroBatcher(
            self._compute,
            max_items=config.batch_size,
            max_wait_s=config.batch_wait_ms / 1000,
            name=self.id,
        )

    @property
    def revision(self) -> str:
        """What names its weights."""
        return self._revision

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._device

    async def find(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        With ``find_all`` the best score comes first. With ``inside_box`` there is one detection
        for each box, in the order of the boxes, refined by the points that lie in it; where the
        model sees nothing, the box itself is the mask, with score 0.

        Raises:
            PromptError: The prompt makes no sense for this image, or its text is too long.
            UnsupportedPromptError: It asks for two things that SAM 3 cannot combine.
            SegmenterError: The model failed.
        """
        started = time.perf_counter()
        height, width, _ = image.shape
        prompt.require(Supports(), by="SAM 3", instead="ask in several prompts")
        prompt = prompt.for_image(width, height)
        raw = await self._ask(
            image, lambda features: self._answer(features, prompt, width, height, thresholds)
        )
        detections = await asyncio.to_thread(self._detections, raw, prompt, width, height)
        return SegmentationResult.of_one_pass(
            detections,
            image,
            self.id,
            started,
        )

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, taken together, the best score first.

        Raises:
            PromptError: No point is positive, or one lies outside the image.
            SegmenterError: The model failed.
        """
        height, width, _ = image.shape
        checked = require_points(points, width, height)
        raw = await self._ask(
            image,
            lambda features: self._runtime.at_points(features, checked, _CANDIDATES_MASK_THRESHOLD),
        )
        first, second, third = await asyncio.to_thread(_candidates, raw, width, height)
        return first, second, third

    async def aclose(self) -> None:
        """Answer what is waiting, then let go of the weights."""
        await self._batcher.aclose()
        self._kept.clear()
        self._runtime.close()

    async def _ask(self, image: RgbImage, answer: Callable[[FeaturesT], RawMasks]) -> RawMasks:
        return await self._batcher.submit(
            _Job(await asyncio.to_thread(self._prepare, image), answer)
        )

    def _prepare(self, image: RgbImage) -> PixelsT:
        with FAULTS.told("scaling the picture"):
            return self._runtime.prepare(image)

    def _compute(self, jobs: Sequence[_Job[PixelsT, FeaturesT]]) -> list[RawMasks | Exception]:
        """Answer a batch of questions, in the thread of the model."""
        features = self._features(jobs)
        outcomes: list[RawMasks | Exception] = []
        for job in jobs:
            try:
                with FAULTS.told("answering the prompt"):
                    outcomes.append(job.answer(features[job.pixels.digest]))
            except Exception as error:  # noqa: BLE001 - the one who asked gets it
                outcomes.append(error)
        return outcomes

    def _features(self, jobs: Sequence[_Job[PixelsT, FeaturesT]]) -> dict[bytes, FeaturesT]:
        """Features of every image of a batch: kept ones, and one pass for all the others."""
        asked = {job.pixels.digest: job.pixels for job in jobs}
        features = {digest: self._kept[digest] for digest in asked if digest in self._kept}
        new = {digest: pixels for digest, pixels in asked.items() if digest not in features}
        if new:
            with FAULTS.told("reading the picture"):
                of_new = self._runtime.encode(list(new.values()))
            features.update(zip(new, of_new, strict=True))
        self._kept.update(features)
        return features

    def _answer(
        self,
        features: FeaturesT,
        prompt: Prompt,
        width: int,
        height: int,
        thresholds: Thresholds,
    ) -> RawMasks:
        if prompt.mode is Mode.INSIDE_BOX:
            return self._in_boxes(features, prompt, thresholds.mask)
        if prompt.text or prompt.exemplars:
            return self._runtime.find(features, prompt.text, prompt.exemplars, thresholds)
        if prompt.points:
            raw = self._runtime.at_points(features, prompt.points, thresholds.mask)
            return raw.take(np.argsort(-raw.scores, kind="stable")[:1])
        return find_everything(
            self._runtime,
            features,
            width=width,
            height=height,
            settings=self._config.everything,
            thresholds=thresholds,
        )

    def _in_boxes(self, features: FeaturesT, prompt: Prompt, mask_threshold: float) -> RawMasks:
        size, boxes = self._config.everything.points_per_batch, prompt.boxes
        points = [[one for one in prompt.points if one.lies_in(box)] for box in boxes]
        return _joined(
            [
                self._runtime.in_boxes(
                    features,
                    boxes[start : start + size],
                    points[start : start + size],
                    mask_threshold,
                )
                for start in range(0, len(boxes), size)
            ]
        )

    def _detections(
        self, raw: RawMasks, prompt: Prompt, width: int, height: int
    ) -> tuple[Detection, ...]:
        boxes = prompt.boxes or (None,) * len(raw)
        least = 1 if prompt.says_what else self._config.everything.min_area_px
        found: list[Detection] = []
        for plane, score, box in zip(raw.planes, raw.scores.tolist(), boxes, strict=True):
            mask = to_mask(plane, raw.level, width=width, height=height)
            if mask.box is None:
                if box is not None:
                    found.append(_nothing_in(box, prompt.text, width=width, height=height))
            elif mask.area >= least:
                found.append(Detection(mask.box, score, prompt.text, mask))
        return tuple(found)


def _nothing_in(box: Box, label: str | None, *, width: int, height: int) -> Detection:
    mask = Mask.from_box(box, image_width=width, image_height=height)
    return Detection(Box(*map(float, mask.window)), NO_EVIDENCE, label, mask)


def _candidates(raw: RawMasks, width: int, height: int) -> list[Candidate]:
    best_first = raw.take(np.argsort(-raw.scores, kind="stable"))
    return [
        Candidate(to_mask(plane, raw.level, width=width, height=height), score)
        for plane, score in zip(best_first.planes, best_first.scores.tolist(), strict=True)
    ]


def _joined(parts: Sequence[RawMasks]) -> RawMasks:
    return RawMasks(
        np.concatenate([part.planes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        parts[0].level,
    )

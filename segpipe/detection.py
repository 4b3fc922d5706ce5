"""What a segmenter finds in an image."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from segpipe.errors import SegmenterError
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

NO_EVIDENCE = 0.0
"""The score of what stands for a drawn box in which nothing was found: the box is then its mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One thing that a segmenter found.

    Attributes:
        box: Pixels of the upright image, inside it, with x1 < x2 and y1 < y2.
        score: Confidence, 0 to 1.
        label: What it is, when the segmenter knows.
        mask: Its pixels; None when the segmenter gives boxes only.
        pass_index: The pass of a recursive segmenter that found it, from 0.
        trace_of: The index of the detection over whose paint it lies, where it shows that paint
            and no item of its own; None for an item.
    """

    box: Box
    score: float
    label: str | None = None
    mask: Mask | None = None
    pass_index: int = 0
    trace_of: int | None = None


def best_first(answers: Sequence[Sequence[Detection]]) -> tuple[Detection, ...]:
    """The detections of several answers in one, the best score first.

    Of equal scores the one of the earlier answer comes first. Traces name what they are traces of
    by its new place.

    >>> ring, paint = Detection(Box(0, 0, 9, 9), 0.6), Detection(Box(0, 0, 9, 9), 0.9, trace_of=0)
    >>> [one.trace_of for one in best_first([[ring, paint]])]
    [1, None]
    """
    found = [(start, one) for start, answer in _with_starts(answers) for one in answer]
    order = sorted(range(len(found)), key=lambda index: found[index][1].score, reverse=True)
    places = {index: place for place, index in enumerate(order)}
    ranked = []
    for index in order:
        start, one = found[index]
        if one.trace_of is not None:
            one = replace(one, trace_of=places[start + one.trace_of])
        ranked.append(one)
    return tuple(ranked)


def _with_starts(
    answers: Sequence[Sequence[Detection]],
) -> Iterator[tuple[int, Sequence[Detection]]]:
    """Each answer with how many detections stand before it."""
    start = 0
    for answer in answers:
        yield start, answer
        start += len(answer)


@dataclass(frozen=True, slots=True)
class PassStats:
    """What one pass over an image gave.

    Attributes:
        found: Detections of the pass.
        new: Those that no earlier pass had found.
        elapsed_ms: Wall time of the pass.
        stopped: Why no pass followed; None when one did.
    """

    found: int
    new: int
    elapsed_ms: float
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took from a service that is paid for or slow.

    Attributes:
        calls: Calls that were sent, whatever became of them.
        cached: Answers that were already there: no call was needed.
        cost: What the service said that it billed, in its credits.
        remaining_credits: What it said was left after the last call; None when it did not.
    """

    calls: int = 0
    cached: int = 0
    cost: float = 0.0
    remaining_credits: float | None = None

    def __add__(self, later: "Usage") -> "Usage":
        left = later.remaining_credits
        return Usage(
            calls=self.calls + later.calls,
            cached=self.cached + later.cached,
            cost=self.cost + later.cost,
            remaining_credits=self.remaining_credits if left is None else left,
        )


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationResult:
    """Everything that was found in one image, in the segmenter's order.

    Attributes:
        detections: What was found.
        image_width: Pixels of the upright image.
        image_height: Pixels of the upright image.
        segmenter_id: Who found it.
        elapsed_ms: Wall time of the whole answer.
        pass_stats: One entry for each look at the image.
        usage: What it took from a service.
        notes: What a reader has to know of the answer, in sentences, such as that one combined
            mask was cut into its connected parts.
    """

    detections: tuple[Detection, ...]
    image_width: int
    image_height: int
    segmenter_id: str
    elapsed_ms: float
    pass_stats: tuple[PassStats, ...]
    usage: Usage = Usage()
    notes: tuple[str, ...] = ()

    @classmethod
    def of_one_pass(
        cls,
        detections: Sequence[Detection],
        image: RgbImage,
        segmenter_id: str,
        started: float,
        *,
        usage: Usage = Usage(),
        notes: Sequence[str] = (),
    ) -> Self:
        """The answer of one look at an image, (h, w, 3), begun at a ``time.perf_counter()``."""
        height, width = image.shape[:2]
        elapsed_ms, count = (time.perf_counter() - started) * 1000, len(detections)
        stats = PassStats(found=count, new=count, elapsed_ms=elapsed_ms)
        return cls(
            tuple(detections),
            width,
            height,
            segmenter_id,
            elapsed_ms,
            (stats,),
            usage,
            tuple(notes),
        )

    def require_fit(self, width: int, height: int) -> None:
        """Raise SegmenterError unless it is about an image of this size, in pixels."""
        size = (width, height)
        if (self.image_width, self.image_height) != size:
            raise SegmenterError(
                f"{self.segmenter_id} answered for an image of "
                f"{self.image_width}x{self.image_height}, the photo is {width}x{height}"
            )
        for index, found in enumerate(self.detections):
            box = found.box
            if not (0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height):
                raise SegmenterError(
                    f"{self.segmenter_id} gave detection {index} the box {tuple(box)}, "
                    f"which is not inside the {width}x{height} photo"
                )
            if found.mask and (found.mask.image_width, found.mask.image_height) != size:
                raise SegmenterError(
                    f"{self.segmenter_id} gave detection {index} a mask of another image size"
                )

    def require_one_for_each(self, boxes: int) -> None:
        """Raise SegmenterError unless there is a detection for each of so many drawn boxes."""
        if len(self.detections) != boxes:
            raise SegmenterError(
                f"{self.segmenter_id} gave {len(self.detections)} detections for {boxes} boxes"
            )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as found.

    Attributes:
        score: Detections that score less are left out, 0 to 1.
        mask: Pixels whose probability is above this are in a mask, 0 to 1.
        max_masks: Detections at most, those with the best scores.
    """

    score: float = 0.5
    mask: float = 0.5
    max_masks: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One reading of what some points mean.

    Attributes:
        mask: The pixels; empty when there is nothing to see there.
        score: The model's own estimate of how good the mask is, 0 to 1.
    """

    mask: Mask
    score: float

"""A segmenter that looks again after painting out what it has found."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds, Usage
from segpipe.errors import ConfigError, MissingMaskError, SegmenterError
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.dedup import DEFAULT_CONTAINMENT_THRESHOLD, DEFAULT_IOU_THRESHOLD
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask, dilate, intersection_area

_CHANNELS = 3
_BRIGHTEST = 255
# An item that shows more paint than picture is a trace of the paint.
_MOST_PAINT = 0.5
# An item and an exemplar box that share so much of the smaller one belong together.
_EXEMPLAR_SHARE = 0.5


class _Find(NamedTuple):
    """A mask and its area, which is asked for many times."""

    mask: Mask
    area: int


class RecursiveSegmenter(WrappedSegmenter):
    """Wraps a segmenter and lets it look again, for what it missed beside other items.

    After each pass, everything found is painted out in a copy of the picture, and the next pass
    sees that copy. Only ``find_all`` recurses. A prompt of ``inside_box`` has one answer a box,
    and the first pass gives it: there is nothing left to find.

    What an exemplar box shows is never painted out, since a segmenter learns from the picture what
    the exemplar looks like: neither the box nor an item that it is drawn around.

    The result holds the detections of every pass, each with its pass; what a later pass finds
    again stays too, for dedup to reject with its reason, but does not count as new. A trace of the
    paint names the detection that was painted out, so that it never takes the place of an item. A
    pass that fails fails the whole segmentation.

    Args:
        inner: The segmenter that looks at each picture.
        max_passes: Passes over an image at most, 1 or more.
        min_new_detections: New detections that a pass needs to earn another one, 1 or more.
        fill_color: The RGB colour that paints out what was found, 0 to 255 each.
        fill_dilate_px: How far the paint reaches over an item's edge. What lies mostly in the
            paint, or as far again around it, is a trace of the paint.
        iou_threshold: Above this IoU with an earlier find a detection is not new, 0 to 1.
        containment_threshold: The same for the intersection over the smaller, 0 to 1.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self,
        inner: Segmenter,
        *,
        max_passes: int = 2,
        min_new_detections: int = 1,
        fill_color: tuple[int, int, int] = (128, 128, 128),
        fill_dilate_px: int = 3,
        iou_threshold: float = DEFAULT_IOU_THRESHOLD,
        containment_threshold: float = DEFAULT_CONTAINMENT_THRESHOLD,
    ) -> None:
        self._inner = inner
        self._max_passes = _at_least(1, max_passes, "max_passes")
        self._min_new_detections = _at_least(1, min_new_detections, "min_new_detections")
        self._fill_color = _color(fill_color)
        self._fill_dilate_px = _at_least(0, fill_dilate_px, "fill_dilate_px")
        self._iou_threshold = _share(iou_threshold, "iou_threshold")
        self._containment_threshold = _share(containment_threshold, "containment_threshold")

    @property
    def id(self) -> str:
        """``recursive(<id of the inner segmenter>)``."""
        return f"recursive({self._inner.id})"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        Raises:
            MissingMaskError: A ``find_all`` pass gave a detection without a mask: a rectangle
                would paint out more than the item.
            SegmenterError: The inner segmenter failed, or its masks are not those of the image.
        """
        started = time.perf_counter()
        if prompt.mode is not Mode.FIND_ALL:
            result = await self._inner.segment(image, prompt, thresholds)
            return replace(result, segmenter_id=self.id)
        height, width, _ = image.shape
        picture = image
        earlier: list[_Find] = []
        painted: dict[int, Mask] = {}
        # 1 in the paint and as far again around it: what the paint can make a segmenter see.
        paint = np.zeros((height, width), np.uint8)
        detections: list[Detection] = []
        stats: list[PassStats] = []
        usage, notes = Usage(), list[str]()
        while not stats or stats[-1].stopped is None:
            pass_started = time.perf_counter()
            result = await self._inner.segment(picture, prompt, thresholds)
            found = _finds(result.detections, image)
            traces = [
                _trace_of(find, one, len(detections), painted, paint)
                for find, one in zip(found, result.detections, strict=True)
            ]
            items = {
                len(detections) + place: find
                for place, find in enumerate(found)
                if traces[place] is None
            }
            new = sum(self._is_new(find, earlier) for find in items.values())
            stopped = self._reason_to_stop(len(stats) + 1, new)
            if stopped is None:
                examples = _examples(prompt, image)
                picture, traced = await asyncio.to_thread(
                    self._paint_out, items, examples, picture, paint
                )
                painted |= traced
                earlier += items.values()
            detections += [
                replace(one, pass_index=len(stats), trace_of=trace_of)
                for one, trace_of in zip(result.detections, traces, strict=True)
            ]
            usage += result.usage
            notes += [note for note in result.notes if note not in notes]
            stats.append(PassStats(len(found), new, _ms_since(pass_started), stopped))
        return SegmentationResult(
            detections=tuple(detections),
            image_width=width,
            image_height=height,
            segmenter_id=self.id,
            elapsed_ms=_ms_since(started),
            pass_stats=tuple(stats),
            usage=usage,
            notes=tuple(notes),
        )

    def _reason_to_stop(self, passes: int, new: int) -> str | None:
        if new < self._min_new_detections:
            return f"{new} new, fewer than {self._min_new_detections}"
        if passes == self._max_passes:
            return f"{passes} passes, the most allowed"
        return None

    def _is_new(self, find: _Find, earlier: Sequence[_Find]) -> bool:
        # What has no pixels cannot be painted out: it would be new for ever.
        return find.area > 0 and not any(self._is_duplicate(find, other) for other in earlier)

    def _is_duplicate(self, find: _Find, other: _Find) -> bool:
        shared = intersection_area(find.mask, other.mask)
        union, smaller = find.area + other.area - shared, min(find.area, other.area)
        return (
            shared > self._iou_threshold * union or shared > self._containment_threshold * smaller
        )

    def _paint_out(
        self,
        items: Mapping[int, _Find],
        examples: Sequence[_Find],
        picture: RgbImage,
        paint: Bitmap,
    ) -> tuple[RgbImage, dict[int, Mask]]:
        """A copy of the picture without the items, and by item where it may leave a trace.

        The traces are added to ``paint``. The examples are exemplar boxes; what they show stays as
        it is.
        """
        painted = picture.copy()
        traces: dict[int, Mask] = {}
        for index, find in items.items():
            if any(_belong_together(find, example) for example in examples):
                continue
            fill = dilate(find.mask, self._fill_dilate_px)
            _under(painted, fill)[fill.bits.view(np.bool_)] = self._fill_color
            traces[index] = trace = dilate(fill, self._fill_dilate_px)
            _under(paint, trace)[trace.bits.view(np.bool_)] = 1
        for example in examples:
            _under(painted, example.mask)[...] = _under(picture, example.mask)
            _under(paint, example.mask)[...] = 0
        return painted, traces


def _trace_of(
    find: _Find, detection: Detection, start: int, painted: Mapping[int, Mask], paint: Bitmap
) -> int | None:
    """The detection over whose paint a find lies; None for an item.

    Args:
        find: Its mask.
        detection: What the inner segmenter gave, which may know of a trace itself.
        start: The index of the first detection of this pass.
        painted: Where each item that was painted out may leave a trace, by its index.
        paint: 1 in all of these.
    """
    in_paint = int(np.count_nonzero(_under(paint, find.mask) & find.mask.bits))
    if in_paint > _MOST_PAINT * find.area:
        return max(painted, key=lambda index: intersection_area(painted[index], find.mask))
    return None if detection.trace_of is None else start + detection.trace_of


def _examples(prompt: Prompt, image: RgbImage) -> list[_Find]:
    """The exemplar boxes; those outside the image show nothing."""
    height, width, _ = image.shape
    boxes = (one.box for one in prompt.exemplars)
    masks = [Mask.from_box(box, image_width=width, image_height=height) for box in boxes]
    return [_Find(mask, mask.area) for mask in masks]


def _belong_together(find: _Find, example: _Find) -> bool:
    smaller = min(find.area, example.area)
    return intersection_area(find.mask, example.mask) > _EXEMPLAR_SHARE * smaller


def _under(plane: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """The view of an image under the bitmap of a mask."""
    x1, y1, x2, y2 = mask.window
    return plane[y1:y2, x1:x2]


def _finds(detections: Sequence[Detection], image: RgbImage) -> list[_Find]:
    """The mask of every detection, all of them of this image."""
    height, width, _ = image.shape
    finds = []
    for index, detection in enumerate(detections):
        mask = detection.mask
        if mask is None:
            raise MissingMaskError(
                f"detection {index} has no mask, and a recursive segmenter paints no rectangles; "
                "wrap a segmenter that gives masks"
            )
        if (mask.image_width, mask.image_height) != (width, height):
            raise SegmenterError(
                f"detection {index} has a mask for {mask.image_width} x {mask.image_height}, "
                f"the image has {width} x {height}"
            )
        finds.append(_Find(mask, mask.area))
    return finds


def _at_least(least: int, value: int, field: str) -> int:
    if value < least:
        raise ConfigError(f"must be {least} or more, got {value}", field=field)
    return value


def _share(value: float, field: str) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"must be between 0 and 1, got {value}", field=field)
    return value


def _color(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    if len(rgb) != _CHANNELS or not all(0 <= value <= _BRIGHTEST for value in rgb):
        raise ConfigError(f"must be 3 numbers from 0 to 255, got {rgb}", field="fill_color")
    return rgb


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000

"""Large photos of many small items and few very long ones, with the exact pixels of each."""

import asyncio
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask, intersection_area

TILE_PX = 1000
WIDTH, HEIGHT = 5000, 4200
"""21 MP, of which tiles with an overlap of .2 take whole steps: every tiler has the same tiles."""

_GAP_PX = 8
_LEAST_PIXELS = 40
"""The oracle sees nothing smaller, at the scale that it sees."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """A photo, and what is in it.

    Attributes:
        image: The colour of a pixel is the number of its item; 0 is the table.
        items: The mask of each item, the long ones first.
        long: How many are long.
    """

    image: RgbImage
    items: tuple[Mask, ...]
    long: int


def make_crowd(
    seed: int, *, small: int = 600, long: int = 10, width: int = WIDTH, height: int = HEIGHT
) -> Crowd:
    """A crowd of ellipses, and of wavy bands three tiles long that lie across or upright."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((height, width), np.int32)
    across = (long * 3 + 2) // 5
    for index in range(long):
        cv2.polylines(
            numbers,
            [_band(rng, index, across, long, width, height)],
            isClosed=False,
            color=(index + 1,),
            thickness=int(rng.integers(24, 60)),
        )
    number = long
    while number < long + small:
        radii = rng.integers(9, 48, 2)
        reach = int(radii.max()) + _GAP_PX
        x = int(rng.integers(reach, width - reach))
        y = int(rng.integers(reach, height - reach))
        if numbers[y - reach : y + reach + 1, x - reach : x + reach + 1].any():
            continue
        number += 1
        axes, angle = (int(radii[0]), int(radii[1])), float(rng.uniform(0, 180))
        cv2.ellipse(numbers, (x, y), axes, angle, 0, 360, (number,), cv2.FILLED)
    return Crowd(_coloured(numbers), tuple(_masks(numbers)), long)


def _band(
    rng: np.random.Generator, index: int, across: int, long: int, width: int, height: int
) -> NDArray[np.int32]:
    """The middle line of a long item: those that lie across, then the upright ones beside them."""
    length = 3 * TILE_PX
    along = np.arange(0, length + 1, 20.0)
    waves = rng.uniform(20, 60) * np.sin(along / rng.uniform(200, 500) + rng.uniform(0, 6))
    if index < across:
        lane = (index + 0.5) * height / across
        x, y = along + rng.uniform(60, 200), lane + waves
    else:
        first = length + 400
        lane = first + (index - across + 0.5) * (width - first) / (long - across)
        x, y = lane + waves, along + rng.uniform(60, height - length - 60)
    return np.round(np.stack([x, y], axis=1)).astype(np.int32)


def _coloured(numbers: NDArray[np.int32]) -> RgbImage:
    image = np.zeros((*numbers.shape, 3), np.uint8)
    image[..., 0], image[..., 1] = numbers & 255, numbers >> 8
    return image


def _masks(numbers: NDArray[np.int32]) -> list[Mask]:
    """The pixels of each number, from 1."""
    height, width = numbers.shape
    flat = numbers.ravel()
    places = np.flatnonzero(flat)
    places = places[np.argsort(flat[places], kind="stable")]
    kinds, starts = np.unique(flat[places], return_index=True)
    masks = []
    for _, group in zip(kinds, np.split(places, starts[1:]), strict=True):
        ys, xs = np.divmod(group, width)
        bits = np.zeros((ys.max() - ys.min() + 1, xs.max() - xs.min() + 1), np.uint8)
        bits[ys - ys.min(), xs - xs.min()] = 1
        masks.append(Mask(int(xs.min()), int(ys.min()), bits, width, height))
    return masks


class Oracle(Segmenter):
    """Sees every item of a crowd, as a model would: scaled down, with edges that waver a little.

    Args:
        side_px: Of the largest picture that it does not scale down.
    """

    id = "oracle"
    concurrency = 2

    def __init__(self, side_px: int = TILE_PX) -> None:
        self._side_px = side_px
        self.seconds = 0.0
        self.pictures = 0

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        return SegmentationResult.of_one_pass(self.find(image), image, self.id, 0.0)

    def find(self, image: RgbImage) -> list[Detection]:
        """Everything in a picture."""
        self.pictures += 1
        height, width = image.shape[:2]
        step = -(-max(height, width) // self._side_px)
        seen = image[::step, ::step]
        numbers = seen[..., 0].astype(np.int32) | seen[..., 1].astype(np.int32) << 8
        found = []
        for mask in _masks(numbers):
            if mask.area < _LEAST_PIXELS:
                continue
            # What it makes of an item depends on the picture and on nothing else.
            rng = np.random.default_rng([mask.x, mask.y, mask.area, height, width])
            grown = _at_scale(_wavering(mask, rng), step, width, height)
            if grown.box is not None:
                found.append(Detection(grown.box, rng.uniform(0.5, 1), mask=grown))
        return found

    async def aclose(self) -> None:
        pass


def _wavering(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask with an edge a pixel further in or out, or where it is."""
    change = int(rng.integers(-1, 2))
    x1, y1, x2, y2 = mask.window
    left, top = max(x1 - 1, 0), max(y1 - 1, 0)
    right, bottom = min(x2 + 1, mask.image_width), min(y2 + 1, mask.image_height)
    bits = mask.crop_to(left, top, right, bottom)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    if change > 0:
        bits = np.asarray(cv2.dilate(bits, cross), np.uint8)
    elif change < 0:
        bits = np.asarray(cv2.erode(bits, cross), np.uint8)
    return Mask(left, top, bits, mask.image_width, mask.image_height).tight()


def _at_scale(mask: Mask, step: int, width: int, height: int) -> Mask:
    """A mask of every so-manieth pixel as one of the picture."""
    bits: Bitmap = mask.bits.repeat(step, 0).repeat(step, 1)
    x, y = mask.x * step, mask.y * step
    return Mask(x, y, bits[: height - y, : width - x], width, height)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How masks agree with those of a crowd.

    Attributes:
        recall: Items that are found.
        precision: Masks that show an item.
        ious: Of each item with the mask that shows it; 0 where none does.
    """

    recall: float
    precision: float
    ious: tuple[float, ...]

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.recall * self.precision / (self.recall + self.precision)


def compare(found: list[Mask], crowd: Crowd, *, least_iou: float) -> Agreement:
    """Match each mask to the item that it shows most of; an item counts once."""
    ious = [0.0] * len(crowd.items)
    numbers = crowd.image[..., 0].astype(np.int32) | crowd.image[..., 1].astype(np.int32) << 8
    for mask in found:
        x1, y1, x2, y2 = mask.window
        under = numbers[y1:y2, x1:x2][mask.bits.astype(np.bool_)]
        counts = np.bincount(under, minlength=2)
        counts[0] = 0
        best = int(counts.argmax())
        if best == 0:
            continue
        item = crowd.items[best - 1]
        shared = intersection_area(mask, item)
        ious[best - 1] = max(ious[best - 1], shared / (mask.area + item.area - shared))
    matched = sum(iou >= least_iou for iou in ious)
    return Agreement(matched / len(crowd.items), matched / max(len(found), 1), tuple(ious))


def found_by(segmenter: Segmenter, crowd: Crowd) -> list[Mask]:
    """The masks of everything that a segmenter finds."""
    result = asyncio.run(segmenter.segment(crowd.image, Prompt()))
    return [one.mask for one in result.detections if one.mask]

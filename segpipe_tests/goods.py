"""Pictures of bright goods on a dark table, and segmenters that find them."""

import asyncio
import time
from typing import Literal

import cv2
import numpy as np

from segpipe.detection import NO_EVIDENCE, Detection, PassStats, SegmentationResult, Thresholds
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_TABLE, _GOODS = 30, 220
_FILLED_WITHIN = 3  # levels
WIDTH, HEIGHT = 400, 300
"""Of the photos with items of every kind."""


def goods_image(items: int, *, width: int = 160, height: int = 120) -> RgbImage:
    """A dark table with a row of bright goods, each 12 x 16 pixels, the first at (4, 20)."""
    image = np.full((height, width, 3), _TABLE, np.uint8)
    for index in range(items):
        image[20:36, 4 + 20 * index : 16 + 20 * index] = (_GOODS, _GOODS - 8 * index, 200)
    return image


def goods_photo(items: int) -> bytes:
    """The same as the bytes of a PNG file."""
    return encode_png(goods_image(items))


class BrightConfig(Settings):
    """What stands for the settings of :class:`BrightSegmenter` in what it makes."""

    kind: Literal["bright"] = "bright"
    threshold: int = 128


class BrightSegmenter(Segmenter):
    """Finds what is bright; with doubles, finds each thing a second time with a lower score.

    In a drawn box it finds all that is bright there, as one thing.
    """

    id = "bright"
    concurrency = 2

    def __init__(
        self, *, doubles: bool = False, threshold: int = 128, concurrency: int = 2
    ) -> None:
        self.concurrency = concurrency
        self.calls = 0
        self.prompts: list[Prompt] = []
        self.closed = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._doubles = doubles
        self._threshold = threshold

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.calls += 1
        self.prompts.append(prompt)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        start = time.perf_counter()
        if prompt.mode is Mode.INSIDE_BOX:
            detections = tuple(self._find_in(box, image) for box in prompt.boxes)
        else:
            detections = await asyncio.to_thread(self._find, image)
        self.in_flight -= 1
        elapsed_ms = 1000 * (time.perf_counter() - start)
        height, width = image.shape[:2]
        stats = PassStats(len(detections), len(detections), elapsed_ms, "one pass")
        return SegmentationResult(detections, width, height, self.id, elapsed_ms, (stats,))

    async def aclose(self) -> None:
        self.closed += 1

    def _find(self, image: RgbImage) -> tuple[Detection, ...]:
        bright = (image.max(axis=2) > self._threshold).astype(np.uint8)
        count, labels = cv2.connectedComponents(bright)
        found = []
        for label in range(1, count):
            mask = Mask.from_full(labels == label)
            assert mask.box is not None
            found.append(Detection(mask.box, 0.9, mask=mask))
            if self._doubles:
                found.append(Detection(mask.box, 0.5, mask=mask))
        return tuple(found)

    def _find_in(self, box: Box, image: RgbImage) -> Detection:
        height, width = image.shape[:2]
        whole = Mask.from_box(box, image_width=width, image_height=height)
        bright = (image.max(axis=2) > self._threshold) & (whole.to_full() > 0)
        mask = Mask.from_full(bright.astype(np.uint8)).tight()
        if mask.box is None:
            return Detection(box, NO_EVIDENCE, mask=whole)
        return Detection(mask.box, 0.9, mask=mask)


def blob(x: int, y: int, radius: int, seed: int = 0) -> Mask:
    """A bumpy disc."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    radii = radius * (1 + 0.1 * np.sin(5 * angles + rng.uniform(0, 6)))
    corners = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(full, [corners.round().astype(np.int32)], (1,))
    return Mask.from_full(full)


def union(*masks: Mask) -> Mask:
    return Mask.from_full(np.logical_or.reduce([mask.to_full() for mask in masks]))


def holed(mask: Mask, hole: Mask) -> Mask:
    return Mask.from_full(mask.to_full() & ~hole.to_full() & 1)


RING = holed(blob(300, 80, 50), blob(300, 80, 20))
PAIR = union(blob(60, 220, 30), blob(150, 230, 25), blob(110, 150, 20))
DISC = blob(80, 70, 55)
BOX = Box(220.5, 180, 380, 290.25)
DETECTIONS = (
    Detection(DISC.box or BOX, 0.9, "coin", DISC),
    Detection(RING.box or BOX, 0.8, "ring", RING),
    Detection(PAIR.box or BOX, 0.7, "earring", PAIR),
    Detection(BOX, 0.6),
)

"""Items of every kind: labelled, of two parts, with a hole, and a box without a mask."""


class FixedSegmenter(BrightSegmenter):
    """Finds the same in every photo of a size, and nothing in others."""

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        height, width = image.shape[:2]
        found = DETECTIONS if (width, height) == (WIDTH, HEIGHT) else ()
        stats = PassStats(len(found), len(found), 1.0, "one pass")
        return SegmentationResult(found, width, height, self.id, 1.0, (stats,))


def photo_of(items: bool, tint: int = 0) -> bytes:
    image = goods_image(0, width=WIDTH if items else 100, height=HEIGHT)
    image[0, 0] = tint
    return encode_png(image)


def camera_raw() -> bytes:
    """The head of a camera's raw file (CR2): a TIFF but for what stands behind its offset."""
    return b"II*\0\x10\0\0\0CR\x02\0" + bytes(64)


def require_clean(made: RgbImage, table: RgbImage, photo: RgbImage) -> None:
    """Some goods of a photo have gone, and nothing else has changed.

    What fills a hole from its rim is a few levels off an even table; 15 pixels from the goods not
    one level is.
    """
    near = cv2.dilate((photo != table).any(axis=2).astype(np.uint8), np.ones((31, 31), np.uint8))
    assert np.abs(made.astype(int) - table).max() <= _FILLED_WITHIN
    np.testing.assert_array_equal(made[near == 0], table[near == 0])

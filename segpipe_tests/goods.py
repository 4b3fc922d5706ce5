"""Small photos of bright goods on a dark table, and a segmenter that finds bright things."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from segpipe.detection import NO_EVIDENCE, Detection, PassStats, SegmentationResult
from segpipe.flow.settings import FlowSettings
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode, Prompt
from segpipe.refiners.none import NoneRefiner
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_TABLE, _GOODS = 30, 220


def goods_image(items: int, *, width: int = 160, height: int = 120) -> RgbImage:
    """A dark table with a row of bright goods, each 12 x 16 pixels, the first at (4, 20)."""
    image = np.full((height, width, 3), _TABLE, np.uint8)
    for index in range(items):
        image[20:36, 4 + 20 * index : 16 + 20 * index] = (_GOODS, _GOODS - 8 * index, 200)
    return image


def goods_photo(items: int) -> bytes:
    """The same as the bytes of a PNG file."""
    return encode_png(goods_image(items))


def put_photos(root: Path, deal: str, photos: dict[str, bytes]) -> None:
    """Put photos where somebody would drop them."""
    folder = root / "deals" / deal / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in photos.items():
        (folder / name).write_bytes(data)


def make_deal(root: Path, deal: str, items: Iterable[int] = (2, 3)) -> DealStore:
    """A deal with a photo for each number of goods: a.png, b.png, …"""
    photos = {f"{chr(ord('a') + index)}.png": goods_photo(n) for index, n in enumerate(items)}
    put_photos(root, deal, photos)
    return DealStore(root)


class BrightSegmenter:
    """Finds what is bright; with doubles, finds each thing a second time with a lower score.

    In a drawn box it finds all that is bright there, as one thing.
    """

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

    @property
    def id(self) -> str:
        return "bright"

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
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


def make_tools(segmenter: BrightSegmenter, settings: FlowSettings | None = None) -> Tools:
    """Tools around a segmenter, without refinement."""
    return Tools(segmenter, {"kind": "bright"}, NoneRefiner(), {}, settings or FlowSettings())

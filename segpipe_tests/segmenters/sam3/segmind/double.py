"""What tests of Segmind share: bright goods, their masks in every shape, one call for an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from segpipe.detection import SegmentationResult
from segpipe.prompt import Prompt
from segpipe.segmenters.http import HttpSettings
from segpipe.segmenters.sam3.segmind import SegmindConfig, SegmindSegmenter
from segpipe.segmenters.segmenter import call_context
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.goods import goods_image

FAST = HttpSettings(
    connect_timeout_s=5, read_timeout_s=5, deadline_s=10, max_attempts=3, backoff_s=0.001
)
_T = TypeVar("_T")
IMAGE = goods_image(3)


def bright_masks(image: RgbImage = IMAGE) -> list[Mask]:
    """The goods of a photo from left to right."""
    bright = (image.max(axis=2) > 128).astype(np.uint8)
    count, parts = cv2.connectedComponents(bright)
    masks = [Mask.from_full(parts == part) for part in range(1, count)]
    return sorted(masks, key=lambda mask: mask.x)


MASKS = bright_masks()


def box_of(mask: Mask) -> Box:
    assert mask.box is not None
    return mask.box


def config_for(url: str, folder: Path, **changes: Any) -> SegmindConfig:
    return SegmindConfig(**{"endpoint": url, "ledger_folder": str(folder), "http": FAST, **changes})


def segment(
    config: SegmindConfig,
    prompt: Prompt | None = None,
    image: RgbImage = IMAGE,
    *,
    run_id: str = "run-1",
) -> SegmentationResult:
    """One answer by a segmenter of its own."""
    return using(config, lambda one: one.segment(image, prompt or Prompt()), run_id=run_id)


def using(
    config: SegmindConfig,
    ask: Callable[[SegmindSegmenter], Awaitable[_T]],
    *,
    run_id: str = "run-1",
) -> _T:
    async def body() -> _T:
        segmenter = SegmindSegmenter(config)
        try:
            with call_context(run_id, "deal-1", "a.png"):
                return await ask(segmenter)
        finally:
            await segmenter.aclose()

    return asyncio.run(body())


def same_pixels(ours: Mask, theirs: Mask) -> bool:
    return bool(np.array_equal(ours.to_full(), theirs.to_full()))

"""Plain pictures of one or two items, and a shorter way to ask for them."""

import asyncio

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

TABLE = (200, 195, 190)
RED = (170, 40, 50)
BLUE = (40, 60, 160)


def table(width: int = 320, height: int = 240) -> RgbImage:
    return np.full((height, width, 3), TABLE, np.uint8)


def disc(
    image: RgbImage, x: int, y: int, radius: int, colour: tuple[int, int, int] = RED
) -> Bitmap:
    """Paint a disc and give its mask."""
    shape = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(shape, (x, y), radius, (1,), cv2.FILLED)
    image[shape > 0] = colour
    return shape


def find_all(image: RgbImage, config: ClassicalConfig | None = None) -> tuple[Detection, ...]:
    segmenter = ClassicalSegmenter(config)
    return asyncio.run(segmenter.segment(image, Prompt())).detections


def inside(image: RgbImage, *boxes: Box) -> tuple[Detection, ...]:
    prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=boxes)
    return asyncio.run(ClassicalSegmenter().segment(image, prompt)).detections


def full(detection: Detection) -> NDArray[np.uint8]:
    assert detection.mask is not None
    return detection.mask.to_full()

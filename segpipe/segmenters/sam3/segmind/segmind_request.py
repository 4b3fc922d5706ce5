"""An image and a prompt as what Segmind's sam3-image endpoint is sent.

The fields are those of https://www.segmind.com/models/sam3-image/api.
"""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from segpipe.prompt import Point, Prompt, Supports
from segpipe.segmenters.sam3.segmind.segmind_settings import SegmindConfig
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import RgbImage

# SAM 3 reads 32 tokens with its start and end, and a word is one at least.
_SUPPORTS = Supports(text_chars=300, text_words=30, negative_exemplars=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo as it is sent: JPEG in base64, perhaps scaled down."""

    base64: str
    width: int
    height: int
    photo_width: int
    photo_height: int

    def box(self, box: Box) -> list[int]:
        """A box of the photo in pixels of the upload, rounded outward and never empty."""
        across, down = self.width / self.photo_width, self.height / self.photo_height
        left = min(max(math.floor(box.x1 * across), 0), self.width - 1)
        top = min(max(math.floor(box.y1 * down), 0), self.height - 1)
        right = max(min(math.ceil(box.x2 * across), self.width), left + 1)
        bottom = max(min(math.ceil(box.y2 * down), self.height), top + 1)
        return [left, top, right, bottom]

    def point(self, point: Point) -> list[int]:
        """The pixel of the upload in which a point of the photo lies."""
        x = int(point.x * self.width / self.photo_width)
        y = int(point.y * self.height / self.photo_height)
        return [min(x, self.width - 1), min(y, self.height - 1)]


@dataclass(frozen=True, slots=True)
class SegmindRequest:
    """What one call asks.

    Attributes:
        text: What to find; None when it is not told by a word.
        boxes: Around examples, or around items, in pixels of the photo.
        points: On and off one item, in pixels of the photo.
    """

    text: str | None = None
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()

    def body(self, upload: Upload, config: SegmindConfig) -> bytes:
        """The JSON of the request."""
        fields: dict[str, Any] = {
            "image": upload.base64,
            "threshold": config.threshold,
            "return_masks": True,
            "return_preview": False,
            "return_overlay": False,
            "points_per_side": config.points_per_side,
            "pred_iou_thresh": config.pred_iou_thresh,
            "max_masks": config.max_masks,
        }
        if self.text:
            fields["text_prompt"] = self.text
        if self.boxes:
            fields["boxes_input"] = json.dumps([upload.box(box) for box in self.boxes])
        if self.points:
            fields["points_input"] = json.dumps([upload.point(point) for point in self.points])
            fields["point_labels_input"] = json.dumps([int(one.positive) for one in self.points])
        return json.dumps(fields).encode()


def make_upload(image: RgbImage, config: SegmindConfig) -> Upload:
    """Encode an upright RGB image, (h, w, 3) uint8, for the request; it is not changed."""
    height, width = image.shape[:2]
    scale = min(1.0, config.max_side / max(height, width))
    picture = image
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    jpeg = encode_jpeg(picture, quality=config.jpeg_quality)
    sent_height, sent_width = picture.shape[:2]
    return Upload(base64.b64encode(jpeg).decode("ascii"), sent_width, sent_height, width, height)


def check_prompt(prompt: Prompt, *, width: int, height: int) -> Prompt:
    """The prompt for an image of this size, pixels; refuses what the endpoint has no words for.

    Raises:
        UnsupportedPromptError: A negative exemplar (the endpoint takes boxes without labels),
            points with a text or exemplars, or a text that is too long.
        PromptError: A box or point is none of this image.
    """
    prompt.require(
        _SUPPORTS, by="SAM 3 behind Segmind's API", instead="use the backend internal or local"
    )
    return prompt.for_image(width, height)


def ask_for_all(prompt: Prompt) -> SegmindRequest:
    """The question of a ``find_all`` prompt."""
    boxes = tuple(exemplar.box for exemplar in prompt.exemplars)
    return SegmindRequest(prompt.text, boxes, prompt.points)


def ask_for_boxes(boxes: Sequence[Box], points: Sequence[Point]) -> list[SegmindRequest]:
    """The fewest questions that tell which points belong to which box.

    All boxes without points share one question; the endpoint cannot tell whose points they are,
    so a box with points has one of its own. A box that is drawn twice is asked for once.
    """
    plain, refined = [], []
    for box in dict.fromkeys(boxes):
        inside = tuple(point for point in points if point.lies_in(box))
        if inside:
            refined.append(SegmindRequest(boxes=(box,), points=inside))
        else:
            plain.append(box)
    return ([SegmindRequest(boxes=tuple(plain))] if plain else []) + refined


def stray_points(prompt: Prompt) -> tuple[Point, ...]:
    """The points of an ``inside_box`` prompt that lie in none of its boxes."""
    return tuple(
        point for point in prompt.points if not any(point.lies_in(box) for box in prompt.boxes)
    )

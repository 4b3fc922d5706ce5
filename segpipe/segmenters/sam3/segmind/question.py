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

from segpipe.errors import PromptError, UnsupportedPromptError
from segpipe.prompt import Mode, Point, Prompt
from segpipe.segmenters.sam3.segmind.config import SegmindConfig
from segpipe.vision.boxes import Box, pixel_window
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import RgbImage

_MAX_TEXT_CHARS = 300
_MAX_TEXT_WORDS = 30  # SAM 3 reads 32 tokens with its start and end, and a word is one at least


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
class Question:
    """What one call asks.

    Attributes:
        text: What to find; None when it is not told by a word.
        boxes: Around examples, or around items, in pixels of the photo.
        points: On and off one item, in pixels of the photo.
    """

    text: str | None = None
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()

    def body(self, upload: Upload, config: SegmindConfig, max_masks: int) -> bytes:
        """The JSON of the request; ``max_masks`` of 0 is no limit."""
        fields: dict[str, Any] = {
            "image": upload.base64,
            "threshold": config.threshold,
            "return_masks": True,
            "return_preview": False,
            "return_overlay": False,
            "points_per_side": config.points_per_side,
            "pred_iou_thresh": config.pred_iou_thresh,
            "max_masks": max_masks,
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


def check_prompt(prompt: Prompt, *, width: int, height: int) -> None:
    """Refuse what makes no sense for an image, or what the endpoint has no words for.

    Raises:
        UnsupportedPromptError: A negative exemplar (the endpoint takes boxes without labels),
            exemplars with ``inside_box``, or points with a text or exemplars.
        PromptError: Boxes with ``find_all``, none with ``inside_box``, negative points alone, a
            box or point that is none of this image, or a text that is too long.
    """
    if prompt.mode is Mode.INSIDE_BOX:
        _check_inside_box(prompt)
    else:
        _check_find_all(prompt)
    for index, exemplar in enumerate(prompt.exemplars):
        _check_box(exemplar.box, f"exemplars[{index}]", width, height)
        if not exemplar.positive:
            raise UnsupportedPromptError(
                "Segmind's API knows no negative exemplars; leave them out, or use the backend "
                "internal or local",
                field=f"exemplars[{index}]",
            )
    for index, box in enumerate(prompt.boxes):
        _check_box(box, f"boxes[{index}]", width, height)
    for index, point in enumerate(prompt.points):
        if not (0 <= point.x < width and 0 <= point.y < height):  # NaN fails, too
            raise PromptError(
                f"the point ({point.x}, {point.y}) lies outside the image of {width} x {height} "
                "pixels",
                field=f"points[{index}]",
            )
    text = prompt.text or ""
    if len(text) > _MAX_TEXT_CHARS or len(text.split()) > _MAX_TEXT_WORDS:
        raise PromptError(
            f"a text may have {_MAX_TEXT_WORDS} words and {_MAX_TEXT_CHARS} characters at most, "
            f"got {len(text.split())} and {len(text)}: SAM 3 reads no more; use a short noun "
            "phrase",
            field="text",
        )


def clean_text(prompt: Prompt) -> str | None:
    """The text of a prompt; a blank one is none."""
    return (prompt.text or "").strip() or None


def ask_for_all(prompt: Prompt) -> Question:
    """The question of a ``find_all`` prompt."""
    boxes = tuple(exemplar.box for exemplar in prompt.exemplars)
    return Question(clean_text(prompt), boxes, prompt.points)


def ask_for_boxes(boxes: Sequence[Box], points: Sequence[Point]) -> list[Question]:
    """The fewest questions that tell which points belong to which box.

    All boxes without points share one question; the endpoint cannot tell whose points they are,
    so a box with points has one of its own. A box that is drawn twice is asked for once.
    """
    plain, refined = [], []
    for box in dict.fromkeys(boxes):
        inside = tuple(point for point in points if _lies_in(point, box))
        if inside:
            refined.append(Question(boxes=(box,), points=inside))
        else:
            plain.append(box)
    return ([Question(boxes=tuple(plain))] if plain else []) + refined


def stray_points(prompt: Prompt) -> tuple[Point, ...]:
    """The points of an ``inside_box`` prompt that lie in none of its boxes."""
    return tuple(
        point for point in prompt.points if not any(_lies_in(point, box) for box in prompt.boxes)
    )


def _lies_in(point: Point, box: Box) -> bool:
    """Whether a point lies in a half-open box."""
    return box.x1 <= point.x < box.x2 and box.y1 <= point.y < box.y2


def _check_inside_box(prompt: Prompt) -> None:
    if not prompt.boxes:
        raise PromptError("inside_box needs at least one box; draw one", field="boxes")
    if prompt.exemplars:
        raise UnsupportedPromptError(
            "inside_box has one answer a box and takes no exemplars; use the mode find_all to find "
            "more of the same",
            field="exemplars",
        )


def _check_find_all(prompt: Prompt) -> None:
    if prompt.boxes:
        raise PromptError(
            "find_all takes no boxes; use the mode inside_box to cut out what is in them, or "
            "exemplars to find more of the same",
            field="boxes",
        )
    if prompt.points and (clean_text(prompt) or prompt.exemplars):
        raise UnsupportedPromptError(
            "SAM 3 cannot combine points with a text or exemplars; ask for one of them",
            field="points",
        )
    if prompt.points and not any(point.positive for point in prompt.points):
        raise PromptError(
            "negative points alone do not say which item is meant; add a positive one",
            field="points",
        )


def _check_box(box: Box, field: str, width: int, height: int) -> None:
    if not all(map(math.isfinite, box)) or box.x1 >= box.x2 or box.y1 >= box.y2:
        raise PromptError(
            f"a box needs finite x1 < x2 and y1 < y2, got {tuple(box)}; draw it again", field=field
        )
    if pixel_window(box, image_width=width, image_height=height).is_empty:
        raise PromptError(
            f"{tuple(box)} lies outside the image of {width} x {height} pixels", field=field
        )

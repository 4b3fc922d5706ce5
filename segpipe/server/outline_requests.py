"""A request of ``POST /v1/segment`` in the pipeline's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import nextafter
from typing import BinaryIO

from pydantic import ValidationError

from segpipe.detection import Detection, SegmentationResult
from segpipe.errors import PathError, PhotoError
from segpipe.flow.stages.segmentation import SegmentedImage
from segpipe.prompt import Mode, Point, Prompt
from segpipe.server.prompt_requests import renamed_fields
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.path_fill import path_to_mask
from segpipe.web.photo_uploads import read_data_url
from segpipe.web.problems import malformed
from segpipe.wire.outlines import PointPrompt, Question, SegmentRequest
from segpipe.wire.wire_prompts import with_signed_boxes

CERTAIN = 1.0
"""The score of what a client drew."""
GIVEN = "outline"
"""Who found it."""


def unpack(body: BinaryIO) -> Question:
    """Read a request from a file, and leave the photo in the file in place of it.

    So a request that waits for its turn keeps no photo in memory.

    Raises:
        RefusedError: It is not such a request (400).
    """
    body.seek(0)
    try:
        request = SegmentRequest.model_validate_json(body.read())
    except ValidationError as error:
        raise malformed(error.errors()) from None
    body.seek(0)
    body.truncate()
    body.writelines(read_data_url(request.image_url))
    return request.question()


def read_photo(body: BinaryIO) -> bytes:
    """The photo that :func:`unpack` left."""
    body.seek(0)
    return body.read()


def prompt_for(question: Question, image: RgbImage) -> Prompt:
    """What was asked about an upright image, (h, w, 3), in its pixels.

    Raises:
        PromptError: It makes no sense.
    """
    height, width = image.shape[:2]
    boxes = [
        (
            Box(box.x_min * width, box.y_min * height, box.x_max * width, box.y_max * height),
            box.positive,
        )
        for box in question.boxes
    ]
    prompt = with_signed_boxes(
        _mode_of(question),
        boxes,
        texts=[question.object] if question.object else [],
        points=[_place(point, width, height) for point in question.points],
    )
    return prompt.for_image(width, height)


def outlined(question: Question, image: RgbImage) -> SegmentedImage:
    """The outline of a request as if a segmenter had found it in an upright image, (h, w, 3).

    Raises:
        PathError: It is no path, or none with a pixel inside.
    """
    height, width = image.shape[:2]
    path, bbox = question.path or "", question.bbox
    if bbox is None:
        raise PathError("an outline needs a bbox", field="path")  # refused by the wire already
    box = Box(bbox.x_min * width, bbox.y_min * height, bbox.x_max * width, bbox.y_max * height)
    mask = path_to_mask(path, box, image_width=width, image_height=height)
    if mask.box is None:
        raise PathError("there is no pixel inside the outline: draw it larger", field="path")
    found = Detection(mask.box, CERTAIN, mask=mask)
    result = SegmentationResult((found,), width, height, GIVEN, 0.0, ())
    return SegmentedImage(warnings=(), prompt=None, missing={}, result=result)


@contextmanager
def own_fields() -> Iterator[None]:
    """Have errors name the fields as this endpoint's clients know them."""
    with renamed_fields({"text": "object", "exemplars": "boxes", "svg_path": "path"}):
        try:
            yield
        except PhotoError as error:
            error.field = error.field or "image_url"
            raise


def _mode_of(question: Question) -> Mode:
    if question.mode is not None:
        return question.mode
    is_wordless = not (question.object or "").strip()
    return Mode.INSIDE_BOX if question.boxes and is_wordless else Mode.FIND_ALL


def _place(point: PointPrompt, width: int, height: int) -> Point:
    """A point in pixels; one on the right or lower edge is in the last pixel."""
    return Point(
        x=min(point.x * width, nextafter(width, 0)),
        y=min(point.y * height, nextafter(height, 0)),
        positive=point.positive,
    )

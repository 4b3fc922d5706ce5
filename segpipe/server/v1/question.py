"""A request of ``POST /v1/segment`` in the pipeline's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import nextafter
from typing import BinaryIO

from pydantic import ValidationError

from segpipe.errors import InputError, PhotoError
from segpipe.prompt import Mode, Prompt
from segpipe.server.prompts import to_prompt
from segpipe.vision.image import RgbImage
from segpipe.web.photo_uploads import read_data_url
from segpipe.web.problems import malformed
from segpipe.wire.inference import WireBox, WirePoint, WirePrompt
from segpipe.wire.outlines import PointPrompt, Question, SegmentRequest

_EXEMPLARS, _BOXES = "exemplars", "boxes"


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
    wire = WirePrompt(
        mode=_mode_of(question),
        text=question.object,
        points=[_place(point, width, height) for point in question.points],
        boxes=[
            WireBox(
                x1=box.x_min * width,
                y1=box.y_min * height,
                x2=box.x_max * width,
                y2=box.y_max * height,
                positive=box.positive,
            )
            for box in question.boxes
        ],
    )
    return to_prompt(wire, image)


@contextmanager
def own_fields() -> Iterator[None]:
    """Have errors name the fields as this endpoint's clients know them."""
    try:
        yield
    except InputError as error:
        if error.field == "text":
            error.field = "object"
        elif error.field and error.field.startswith(_EXEMPLARS):
            error.field = error.field.replace(_EXEMPLARS, _BOXES)
            error.message = error.message.replace(f"{_EXEMPLARS}[", f"{_BOXES}[")
        elif error.field is None and isinstance(error, PhotoError):
            error.field = "image_url"
        raise


def _mode_of(question: Question) -> Mode:
    if question.mode is not None:
        return question.mode
    is_wordless = not (question.object or "").strip()
    return Mode.INSIDE_BOX if question.boxes and is_wordless else Mode.FIND_ALL


def _place(point: PointPrompt, width: int, height: int) -> WirePoint:
    """A point in pixels; one on the right or lower edge is in the last pixel."""
    return WirePoint(
        x=min(point.x * width, nextafter(width, 0)),
        y=min(point.y * height, nextafter(height, 0)),
        positive=point.positive,
    )

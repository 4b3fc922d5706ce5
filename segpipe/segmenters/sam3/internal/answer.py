"""The service's answer as detections, checked against the image and the question."""

from segpipe.detection import Detection
from segpipe.errors import InputError
from segpipe.prompt import Mode
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.wire.inference import Segments, WirePrompt, decode_mask


def to_detections(answer: Segments, image: RgbImage, question: WirePrompt) -> tuple[Detection, ...]:
    """The detections of an upright image, (h, w, 3); those of ``find_all`` the best score first.

    Raises:
        InputError: The answer is about an image of another size, a box or mask is none of this
            image, or there are more detections than were asked for (or not one a box).
    """
    height, width = image.shape[:2]
    if (answer.image.width, answer.image.height) != (width, height):
        raise InputError(
            f"it is about an image of {answer.image.width} x {answer.image.height} pixels, not "
            f"{width} x {height}",
            field="image",
        )
    _check_count(len(answer.boxes), question)
    detections = tuple(_detection(answer, index) for index in range(len(answer.boxes)))
    if question.mode is Mode.INSIDE_BOX:
        return detections
    return tuple(sorted(detections, key=lambda detection: -detection.score))


def _check_count(count: int, question: WirePrompt) -> None:
    if question.mode is Mode.INSIDE_BOX and count != len(question.boxes):
        raise InputError(f"{len(question.boxes)} boxes got {count} detections", field="boxes")
    if question.mode is Mode.FIND_ALL and count > question.max_masks:
        raise InputError(f"{count} detections, asked were {question.max_masks}", field="boxes")


def _detection(answer: Segments, index: int) -> Detection:
    width, height = answer.image.width, answer.image.height
    box, sent = Box(*answer.boxes[index]), answer.masks[index]
    if not (0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height):
        raise InputError(
            f"{tuple(box)} is no box in an image of {width} x {height} pixels",
            field=f"boxes[{index}]",
        )
    mask = None
    if sent is not None:
        try:
            mask = decode_mask(sent, image_width=width, image_height=height)
        except InputError as error:
            raise InputError(error.message, field=f"masks[{index}]") from error
    tight = mask.box if mask else None
    return Detection(tight or box, answer.scores[index], label=answer.labels[index], mask=mask)

"""What a client asked, in the pipeline's words, checked against its image."""

from collections.abc import Sequence

from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.promptable import Thresholds
from segpipe.vision.boxes import Box, pixel_window
from segpipe.vision.image import RgbImage
from segpipe.wire.inference import WireBox, WirePrompt


def require_few(count: int, max_points: int) -> None:
    """Refuse more points than one prompt may have: each takes its time.

    Raises:
        PromptError: There are too many.
    """
    if count > max_points:
        raise PromptError(
            f"{count} points are more than the {max_points} that one prompt may have: send fewer",
            field="points",
        )


def to_prompt(wire: WirePrompt, image: RgbImage) -> Prompt:
    """The prompt for an upright image, (h, w, 3).

    Raises:
        PromptError: A point or box does not lie in the image, a drawn box is negative, or
            negative points are all there is.
    """
    points = tuple(Point(point.x, point.y, point.positive) for point in wire.points)
    require_inside(points, image)
    boxes = tuple(_box(box, index, image) for index, box in enumerate(wire.boxes))
    if wire.mode is Mode.FIND_ALL:
        if points and not boxes and not (wire.text or "").strip():
            _require_positive(points)
        exemplars = tuple(
            Exemplar(box, sent.positive) for box, sent in zip(boxes, wire.boxes, strict=True)
        )
        return Prompt(text=wire.text, points=points, exemplars=exemplars)
    if not boxes:
        raise PromptError("inside_box needs at least one box; draw one", field="boxes")
    for index, sent in enumerate(wire.boxes):
        if not sent.positive:
            raise PromptError(
                "inside_box cuts out what is in a box: it takes no negative one; use a negative "
                "point",
                field=f"boxes[{index}].positive",
            )
    return Prompt(mode=wire.mode, text=wire.text, points=points, boxes=boxes)


def to_thresholds(wire: WirePrompt) -> Thresholds:
    """What counts as found."""
    return Thresholds(score=wire.threshold, mask=wire.mask_threshold, max_masks=wire.max_masks)


def to_points(
    places: Sequence[tuple[float, float]], labels: Sequence[int], image: RgbImage
) -> tuple[Point, ...]:
    """The points of ``POST /predict/mask`` for an upright image, (h, w, 3).

    Raises:
        PromptError: There is not one label a point, no point is positive, or a point lies outside
            the image.
    """
    if len(places) != len(labels):
        raise PromptError(
            f"{len(places)} points need as many labels, got {len(labels)}: give 1 for a point on "
            "the item and 0 for one off it",
            field="labels",
        )
    if 1 not in labels:
        raise PromptError("at least one point must lie on the item: label 1", field="labels")
    points = tuple(Point(x, y, label == 1) for (x, y), label in zip(places, labels, strict=True))
    require_inside(points, image)
    return points


def _require_positive(points: Sequence[Point]) -> None:
    if not any(point.positive for point in points):
        raise PromptError(
            "negative points alone do not say which item is meant; add a positive one",
            field="points",
        )


def require_inside(points: Sequence[Point], image: RgbImage) -> None:
    """Refuse a point that does not lie in the image.

    Raises:
        PromptError: It names the first such point.
    """
    height, width = image.shape[:2]
    for index, point in enumerate(points):
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise PromptError(
                f"({point.x:g}, {point.y:g}) lies outside the image of {width} x {height} pixels",
                field=f"points[{index}]",
            )


def _box(sent: WireBox, index: int, image: RgbImage) -> Box:
    height, width = image.shape[:2]
    box = Box(sent.x1, sent.y1, sent.x2, sent.y2)
    if pixel_window(box, image_width=width, image_height=height).is_empty:
        raise PromptError(
            f"{tuple(box)} is no box in the image of {width} x {height} pixels: it needs x1 < x2 "
            "and y1 < y2, and to lie in the image",
            field=f"boxes[{index}]",
        )
    return box

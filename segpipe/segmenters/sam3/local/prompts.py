"""What a prompt asks of SAM 3."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segpipe.errors import PromptError, UnsupportedPromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.vision.boxes import Box


@dataclass(frozen=True, slots=True)
class Concept:
    """Everything that a text names and exemplars show."""

    text: str | None
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True, slots=True)
class OneItem:
    """The item that all the points mean together."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class InBoxes:
    """The item in each box.

    Attributes:
        boxes: Inside the image.
        points: For each box, those that lie in it.
        text: What the items are called.
    """

    boxes: tuple[Box, ...]
    points: tuple[tuple[Point, ...], ...]
    text: str | None


@dataclass(frozen=True, slots=True)
class Everything:
    """Whatever there is."""


Question = Concept | OneItem | InBoxes | Everything


def read_prompt(prompt: Prompt, *, width: int, height: int) -> Question:
    """Tell what a prompt asks, with boxes cut to the image.

    Raises:
        PromptError: The prompt contradicts itself, or a coordinate is not in the image.
        UnsupportedPromptError: It asks for two things at once that SAM 3 cannot combine.
    """
    text = (prompt.text or "").strip() or None
    points = require_points(prompt.points, width=width, height=height)
    exemplars = tuple(
        Exemplar(_inside(one.box, f"exemplars[{index}]", width, height), one.positive)
        for index, one in enumerate(prompt.exemplars)
    )
    if prompt.mode is Mode.INSIDE_BOX:
        return _in_boxes(prompt, text, points, width=width, height=height)
    if prompt.boxes:
        raise PromptError(
            "find_all takes no boxes; use the mode inside_box to cut out what is in them, or "
            "exemplars to find more of the same",
            field="boxes",
        )
    if not text and not exemplars:
        return _one_item(points) if points else Everything()
    if points:
        raise UnsupportedPromptError(
            "SAM 3 cannot combine points with a text or exemplars; ask for one of them",
            field="points",
        )
    if not text and not any(one.positive for one in exemplars):
        raise PromptError(
            "negative exemplars alone do not say what to find; add a positive one or a text",
            field="exemplars",
        )
    return Concept(text, exemplars)


def require_points(points: Sequence[Point], *, width: int, height: int) -> tuple[Point, ...]:
    """The points, once all of them lie in the image.

    Raises:
        PromptError: One does not; the field names its index.
    """
    for index, point in enumerate(points):
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise PromptError(
                f"the point ({point.x}, {point.y}) lies outside the image of {width} x {height} "
                "pixels",
                field=f"points[{index}]",
            )
    return tuple(points)


def _one_item(points: tuple[Point, ...]) -> OneItem:
    if not any(point.positive for point in points):
        raise PromptError(
            "negative points alone do not say which item is meant; add a positive one",
            field="points",
        )
    return OneItem(points)


def _in_boxes(
    prompt: Prompt, text: str | None, points: tuple[Point, ...], *, width: int, height: int
) -> InBoxes:
    if not prompt.boxes:
        raise PromptError("inside_box needs at least one box; draw one", field="boxes")
    if prompt.exemplars:
        raise UnsupportedPromptError(
            "inside_box has one answer a box and takes no exemplars; use the mode find_all to find "
            "more of the same",
            field="exemplars",
        )
    boxes = tuple(
        _inside(box, f"boxes[{index}]", width, height) for index, box in enumerate(prompt.boxes)
    )
    within = tuple(tuple(point for point in points if _contains(box, point)) for box in boxes)
    return InBoxes(boxes, within, text)


def _contains(box: Box, point: Point) -> bool:
    return box.x1 <= point.x < box.x2 and box.y1 <= point.y < box.y2


def _inside(box: Box, field: str, width: int, height: int) -> Box:
    if not all(map(math.isfinite, box)) or box.x1 >= box.x2 or box.y1 >= box.y2:
        raise PromptError(
            f"a box needs finite x1 < x2 and y1 < y2, got {tuple(box)}; draw it again", field=field
        )
    cut = Box(max(box.x1, 0.0), max(box.y1, 0.0), min(box.x2, width), min(box.y2, height))
    if cut.x1 >= cut.x2 or cut.y1 >= cut.y2:
        raise PromptError(
            f"the box {tuple(box)} lies outside the image of {width} x {height} pixels", field=field
        )
    return cut

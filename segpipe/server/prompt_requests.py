"""What the service adds to a prompt's own checks: bounds, and fields by their names on the wire."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from segpipe.errors import InputError, PromptError
from segpipe.prompt import Point, Prompt, require_points
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.image import RgbImage
from segpipe.wire.inference import WirePrompt
from segpipe.wire.wire_prompts import from_wire


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


def require_something(prompt: Prompt, segmenter: Segmenter, *, everything: bool) -> None:
    """Refuse a prompt that does not say what to find, where all there is is not looked for.

    Raises:
        PromptError: Neither it nor the segmenter's settings say anything.
    """
    if not (everything or prompt.or_default(segmenter.default_texts).says_what):
        raise PromptError(
            "nothing says what to find: give a text, an example, a point or a box", field="text"
        )


@contextmanager
def renamed_fields(names: Mapping[str, str]) -> Iterator[None]:
    """Have errors name fields as clients know them: ``exemplars[1]`` becomes ``boxes[1]``."""
    try:
        yield
    except InputError as error:
        for name, theirs in names.items():
            error.field = re.sub(rf"^{name}\b", theirs, error.field) if error.field else None
            error.message = error.message.replace(f"{name}[", f"{theirs}[")
        raise


def to_prompt(wire: WirePrompt, image: RgbImage) -> Prompt:
    """The prompt for an upright image, (h, w, 3).

    Raises:
        PromptError: It makes no sense, or not for this image.
    """
    height, width = image.shape[:2]
    with renamed_fields({"exemplars": "boxes"}):
        return from_wire(wire).for_image(width, height)


def to_points(
    places: Sequence[tuple[float, float]], labels: Sequence[int] | None, image: RgbImage
) -> tuple[Point, ...]:
    """The points of ``POST /predict/mask`` for an upright image, (h, w, 3).

    Args:
        places: Where they are.
        labels: 1 for a point on the item and 0 for one off it; None is 1 for all.
        image: The picture.

    Raises:
        PromptError: There is not one label a point, no point is positive, or a point lies outside
            the image.
    """
    if labels is None:
        labels = [1] * len(places)
    if len(places) != len(labels):
        raise PromptError(
            f"{len(places)} points need as many labels, got {len(labels)}: give 1 for a point on "
            "the item and 0 for one off it",
            field="labels",
        )
    if 1 not in labels:
        raise PromptError("at least one point must lie on the item: label 1", field="labels")
    points = [Point(x, y, label == 1) for (x, y), label in zip(places, labels, strict=True)]
    height, width = image.shape[:2]
    return require_points(points, width, height)

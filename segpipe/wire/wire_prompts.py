"""A prompt as the service is asked it, both ways."""

from collections.abc import Sequence

from segpipe.detection import Thresholds
from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt, Supports
from segpipe.vision.boxes import Box
from segpipe.wire.inference import (
    MAX_BOXES,
    MAX_POINTS,
    MAX_TEXT_LENGTH,
    WireBox,
    WirePoint,
    WirePrompt,
)

SUPPORTS = Supports(
    text_chars=MAX_TEXT_LENGTH, points=MAX_POINTS, points_beside_others=True, boxes=MAX_BOXES
)
"""What fits on the wire; the model behind it may follow less, and then says so."""


def to_wire(prompt: Prompt, thresholds: Thresholds) -> WirePrompt:
    """The prompt and what counts as found, as they are sent.

    Raises:
        UnsupportedPromptError: There is more of it than the service takes.
    """
    prompt.require(SUPPORTS, by="the inference service", instead="ask in several prompts")
    drawn = [_to_box(box, positive=True) for box in prompt.boxes]
    examples = [_to_box(one.box, positive=one.positive) for one in prompt.exemplars]
    return WirePrompt(
        mode=prompt.mode,
        text=prompt.text,
        points=[
            WirePoint(x=float(one.x), y=float(one.y), positive=one.positive)
            for one in prompt.points
        ],
        boxes=drawn or examples,
        threshold=thresholds.score,
        mask_threshold=thresholds.mask,
        max_masks=thresholds.max_masks,
    )


def from_wire(wire: WirePrompt) -> Prompt:
    """The prompt that was sent.

    Raises:
        PromptError: It makes no sense; the field is that of :class:`Prompt`, which has two kinds
            of boxes.
    """
    return with_signed_boxes(
        wire.mode,
        [(Box(one.x1, one.y1, one.x2, one.y2), one.positive) for one in wire.boxes],
        texts=[wire.text] if wire.text else [],
        points=[Point(one.x, one.y, one.positive) for one in wire.points],
    )


def with_signed_boxes(
    mode: Mode,
    boxes: Sequence[tuple[Box, bool]],
    *,
    texts: Sequence[str],
    points: Sequence[Point],
) -> Prompt:
    """A prompt of those who know one list of boxes: examples, or with inside_box drawn ones.

    Args:
        mode: How it is answered.
        boxes: Each with whether it is positive.
        texts: What to find, in words.
        points: On and off what is meant.

    Raises:
        PromptError: It makes no sense; or a drawn box is negative.
    """
    if mode is Mode.FIND_ALL:
        exemplars = tuple(Exemplar(box, positive) for box, positive in boxes)
        return Prompt(mode, tuple(texts), points=tuple(points), exemplars=exemplars)
    for index, (_, positive) in enumerate(boxes):
        if not positive:
            raise PromptError(
                "inside_box cuts out what is in a box: it takes no negative one; use a negative "
                "point",
                field=f"boxes[{index}].positive",
            )
    return Prompt(mode, tuple(texts), tuple(box for box, _ in boxes), tuple(points))


def thresholds_of(wire: WirePrompt) -> Thresholds:
    """What counts as found."""
    return Thresholds(score=wire.threshold, mask=wire.mask_threshold, max_masks=wire.max_masks)


def own_field(place: str, mode: Mode) -> str:
    """A field of what is sent, by its name in a :class:`Prompt`."""
    is_example = mode is Mode.FIND_ALL and place.startswith("boxes")
    return place.replace("boxes", "exemplars", 1) if is_example else place


def _to_box(box: Box, *, positive: bool) -> WireBox:
    x1, y1, x2, y2 = map(float, box)
    return WireBox(x1=x1, y1=y1, x2=x2, y2=y2, positive=positive)

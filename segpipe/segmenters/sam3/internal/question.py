"""A prompt as the service is asked it."""

from pydantic import ValidationError

from segpipe.errors import PromptError
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.sam3.internal.config import InternalConfig
from segpipe.vision.boxes import Box
from segpipe.wire.inference import WirePrompt


def to_wire(prompt: Prompt, config: InternalConfig) -> WirePrompt:
    """The prompt and what counts as found, as they are sent.

    Raises:
        PromptError: Boxes or negative points alone with ``find_all``, no boxes or exemplars with
            ``inside_box``, a coordinate that is no finite number, a text that is too long, or more
            points or boxes than the service takes.
    """
    _check_mode(prompt)
    boxes = [_box(box, positive=True) for box in prompt.boxes]
    examples = [_box(one.box, positive=one.positive) for one in prompt.exemplars]
    try:
        return WirePrompt.model_validate(
            {
                "mode": prompt.mode,
                "text": (prompt.text or "").strip() or None,
                "points": [
                    {"x": float(point.x), "y": float(point.y), "positive": point.positive}
                    for point in prompt.points
                ],
                "boxes": boxes if prompt.mode is Mode.INSIDE_BOX else examples,
                "threshold": config.threshold,
                "mask_threshold": config.mask_threshold,
                "max_masks": config.max_masks,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PromptError(first["msg"], field=own_field(place, prompt.mode)) from None


def own_field(place: str, mode: Mode) -> str:
    """A field of what is sent, by its name in a :class:`Prompt`, which has two kinds of boxes."""
    is_example = mode is Mode.FIND_ALL and place.startswith("boxes")
    return place.replace("boxes", "exemplars", 1) if is_example else place


def _check_mode(prompt: Prompt) -> None:
    if prompt.mode is Mode.FIND_ALL and prompt.boxes:
        raise PromptError(
            "find_all takes no boxes; use the mode inside_box to cut out what is in them, or give "
            "them as exemplars",
            field="boxes",
        )
    if prompt.mode is Mode.FIND_ALL and _is_negative_only(prompt):
        raise PromptError(
            "negative points alone do not say which item is meant; add a positive one",
            field="points",
        )
    if prompt.mode is Mode.INSIDE_BOX and not prompt.boxes:
        raise PromptError("inside_box needs at least one box; draw one", field="boxes")
    if prompt.mode is Mode.INSIDE_BOX and prompt.exemplars:
        raise PromptError(
            "inside_box takes no exemplars; leave them out, or use the mode find_all",
            field="exemplars",
        )


def _is_negative_only(prompt: Prompt) -> bool:
    has_more = bool(prompt.exemplars or (prompt.text or "").strip())
    return bool(prompt.points) and not has_more and not any(one.positive for one in prompt.points)


def _box(box: Box, *, positive: bool) -> dict[str, float | bool]:
    x1, y1, x2, y2 = map(float, box)
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "positive": positive}

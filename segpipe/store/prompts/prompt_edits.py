"""Changes of a photo's prompts: what editors and importers do to them, as pure functions."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from segpipe.errors import PromptError
from segpipe.prompt import Mode
from segpipe.store.document_json import explain
from segpipe.store.prompts.prompt_documents import Annotation, ImagePrompts, PromptType, Source
from segpipe.vision.boxes import Box

BOX_TYPES = {Mode.FIND_ALL: PromptType.POSITIVE_EXEMPLAR, Mode.INSIDE_BOX: PromptType.SEGMENT}
"""What a box says in each mode."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody drew: an annotation that has no id yet.

    Attributes:
        mode: The mode that it is for.
        prompt_type: What it says.
        box: Pixels of the upright photo; for every type but ``point``.
        point: ``x, y``, pixels of the upright photo; for ``point`` alone.
        label: For ``point`` alone: 1 on the item, 0 off it.
        category: The class of what is marked, as a labelling tool names it; two marks that differ
            in nothing else are the same.
    """

    mode: Mode
    prompt_type: PromptType
    box: Box | None = None
    point: tuple[float, float] | None = None
    label: int | None = None
    category: str | None = field(default=None, compare=False)


def add_marks(
    prompts: ImagePrompts, marks: Sequence[Mark], *, created_by: str, created_at: datetime
) -> ImagePrompts:
    """The prompts with these marks of a user; one that is there already is not added again.

    Such a one gets the category of the new one. Ids are ``b`` or ``p``, for box or point, and the
    next number.

    Raises:
        PromptError: A mark makes no sense, such as a box whose corners are swapped.
    """
    annotations = list(prompts.annotations)
    present = {
        _mark(each): place for place, each in enumerate(annotations) if each.source is Source.USER
    }
    numbers = {letter: _last_number(annotations, letter) for letter in "bp"}
    for mark in marks:
        letter = "p" if mark.point else "b"
        try:
            annotation = Annotation(
                id=f"{letter}{numbers[letter] + 1}",
                mode=mark.mode,
                prompt_type=mark.prompt_type,
                box=mark.box,
                point=mark.point,
                label=mark.label,
                category=mark.category,
                created_by=created_by,
                created_at=created_at,
            )
        except ValidationError as error:
            field, what = explain(error, {})
            raise PromptError(what, image=prompts.image, field=field) from error
        place = present.setdefault(_mark(annotation), len(annotations))
        if place == len(annotations):
            annotations.append(annotation)
            numbers[letter] += 1
        elif annotation.category:
            same = annotations[place]
            annotations[place] = same.model_copy(update={"category": annotation.category})
    return prompts.model_copy(update={"annotations": tuple(annotations)})


def remove_annotations(prompts: ImagePrompts, ids: Collection[str]) -> ImagePrompts:
    """The prompts without some annotations.

    Raises:
        PromptError: There is none of such an id.
    """
    present = [each.id for each in prompts.annotations]
    for name in ids:
        if name not in present:
            raise PromptError(
                f"there is no annotation {name!r}; there are: {', '.join(present) or 'none'}",
                image=prompts.image,
            )
    kept = tuple(each for each in prompts.annotations if each.id not in ids)
    return prompts.model_copy(update={"annotations": kept})


def clear_marks(
    prompts: ImagePrompts,
    mode: Mode,
    *,
    only: PromptType | None = None,
    keep: Collection[Mark] = (),
) -> ImagePrompts:
    """The prompts without what users drew for a mode; records of what runs found stay.

    Args:
        prompts: The prompts of a photo.
        mode: The mode.
        only: The only type to go; None for all of them.
        keep: What stays all the same.
    """
    kept = tuple(
        each
        for each in prompts.annotations
        if each.source is not Source.USER
        or each.mode is not mode
        or only not in {None, each.prompt_type}
        or _mark(each) in keep
    )
    return prompts.model_copy(update={"annotations": kept})


def marks_of(prompts: ImagePrompts) -> frozenset[Mark]:
    """What users have drawn on a photo."""
    return frozenset(_mark(each) for each in prompts.annotations if each.source is Source.USER)


def _mark(annotation: Annotation) -> Mark:
    return Mark(
        annotation.mode,
        annotation.prompt_type,
        Box(*annotation.box) if annotation.box else None,
        annotation.point,
        annotation.label,
        annotation.category,
    )


def _last_number(annotations: Sequence[Annotation], letter: str) -> int:
    found = (re.fullmatch(rf"{letter}([0-9]{{1,9}})", each.id) for each in annotations)
    return max((int(match[1]) for match in found if match), default=0)

"""The prompts of a deal in one mode, read once at the start of a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from segpipe.errors import DealFailedError, PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.settings import Settings
from segpipe.store.inputs import Photo
from segpipe.store.prompts import (
    Annotation,
    DealPrompts,
    ImagePrompts,
    PromptType,
    common_category,
    prompts_version,
)
from segpipe.store.storage import Entry
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box

POINTS_WITHOUT_A_BOX = "its points are not used: there is no box around them"


class PromptSettings(Settings):
    """What is asked of photos, and what becomes of the answers."""

    everything: bool = Field(
        default=True,
        description="find_all: look for every item where neither a text nor examples say what to "
        "find. Off: such a photo fails its deal.",
    )
    record_found: bool = Field(
        default=True,
        description="find_all: write what was found among the photo's prompts, as annotations of "
        "the model's.",
    )


@dataclass(frozen=True, slots=True)
class PhotoPrompt:
    """What one photo is asked for.

    Attributes:
        prompt: For the segmenter; None when there is nothing to ask: no box to look into.
        box_ids: The ids of the annotations that its boxes are, in their order.
        categories: The class of each of its boxes, None where it has none; empty when no box has.
        category: The class of all that is found: that of the examples, when they have one.
        notes: What of the photo's prompts is not used, in sentences.
    """

    prompt: Prompt | None
    box_ids: tuple[str, ...] = ()
    categories: tuple[str | None, ...] = ()
    category: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModePrompts:
    """What a mode is asked to look for in the photos of a deal.

    Attributes:
        mode: The mode.
        version: The data version of it all.
        deal: What holds for every photo.
        images: The prompts of photos that have some, by image id.
    """

    mode: Mode
    version: str
    deal: DealPrompts
    images: Mapping[str, ImagePrompts]

    def ask(
        self,
        image: str,
        *,
        width: int,
        height: int,
        settings: PromptSettings,
        default_texts: tuple[str, ...] = (),
    ) -> PhotoPrompt:
        """What a photo is asked for.

        Args:
            image: The photo's id.
            width: Of the upright photo, pixels.
            height: Of the upright photo, pixels.
            settings: Whether everything may be looked for.
            default_texts: What the segmenter looks for where a prompt says nothing.

        Raises:
            PromptError: An annotation does not lie in the photo, or they make no sense together;
                or nothing says what to find, and the settings require it.
        """
        own = self.images.get(image) or ImagePrompts(image=image)
        counted = own.counted(self.mode)
        # What the other mode is asked does not concern this one.
        own.model_copy(update={"annotations": counted}).require_inside(width, height)
        text = own.text or self.deal.text if self.mode is Mode.FIND_ALL else None
        asked = _asked(self.mode, text, counted)
        says_what = asked.prompt is None or asked.prompt.or_default(default_texts).says_what
        if not (says_what or settings.everything):
            raise PromptError(
                "find_all requires text or exemplar boxes: give the photo or its deal a text, draw "
                "an example, or allow everything to be found",
                field="prompts.everything",
            )
        return asked


def read_prompts(
    store: DealStore,
    deal: str,
    mode: Mode,
    photos: Sequence[Photo],
    entries: Sequence[Entry] | None = None,
) -> ModePrompts:
    """The prompts of a deal for its photos; ``entries`` are what its folder was just seen to hold.

    Raises:
        PromptError: A file of prompts cannot be used, or asks the mode for something in a photo
            that the deal has not; or the mode is ``inside_box`` and no photo has a box.
        DealFailedError: Several of these.
    """
    of_deal, of_images = store.prompts.both(deal, entries)
    # What a run recorded of a photo that was removed since, or what the other mode is asked there,
    # is no fault of this mode.
    strays = [
        PromptError(
            f"there are prompts for {image!r}, but no such photo; rename or remove their file",
            image=image,
        )
        for image in sorted(of_images.keys() - {photo.image for photo in photos})
        if of_images[image].asks(mode)
    ]
    if strays:
        raise DealFailedError(deal, strays)
    prompts = ModePrompts(mode, prompts_version(of_deal, of_images, mode), of_deal, of_images)
    if mode is Mode.INSIDE_BOX and not has_boxes(of_images):
        raise PromptError(
            "inside_box needs at least one box, and no photo of the deal has one; draw one with "
            "'segpipe prompt'"
        )
    return prompts


def has_boxes(images: Mapping[str, ImagePrompts]) -> bool:
    """Whether there is a box for ``inside_box`` to look into."""
    return any(
        each.prompt_type is PromptType.SEGMENT
        for own in images.values()
        for each in own.counted(Mode.INSIDE_BOX)
    )


def read_prompts_version(store: DealStore, deal: str, mode: Mode) -> str:
    """The data version of what a mode is asked for now; raises what :func:`read_prompts` does."""
    return prompts_version(*store.prompts.both(deal), mode)


_NOTHING_ASKED: Mapping[str, object] = {
    "mode": "inside_box",
    "text": None,
    "boxes": [],
    "points": [],
    "exemplars": [],
}


def prompt_to_row(prompt: Prompt | None) -> str:
    """What the table of images keeps of a prompt: JSON."""
    return json.dumps(prompt.to_json() if prompt else _NOTHING_ASKED, ensure_ascii=False)


def prompt_from_row(stored: str) -> Prompt | None:
    """The prompt that :func:`prompt_to_row`, or an earlier release, has written."""
    values = json.loads(stored)
    if "annotations" in values:  # written until release 0.1
        annotations = [Annotation.model_validate(each) for each in values["annotations"]]
        return _asked(Mode(values["mode"]), values["text"], annotations).prompt
    return None if values == _NOTHING_ASKED else Prompt.from_json(values)


def _asked(mode: Mode, text: str | None, annotations: Sequence[Annotation]) -> PhotoPrompt:
    """What annotations of a mode ask for, in their order."""
    boxes: dict[str, Box] = {}
    categories: list[str | None] = []
    points: list[Point] = []
    exemplars: list[Exemplar] = []
    for each in annotations:
        if each.point:
            points.append(Point(*each.point, positive=each.label == 1))
        elif each.box and each.prompt_type is PromptType.SEGMENT:
            if mode is Mode.INSIDE_BOX:
                boxes[each.id] = Box(*each.box)
                categories.append(each.category)
        elif each.box:
            positive = each.prompt_type is PromptType.POSITIVE_EXEMPLAR
            exemplars.append(Exemplar(Box(*each.box), positive))
    if mode is Mode.INSIDE_BOX and not boxes:
        return PhotoPrompt(None, notes=(POINTS_WITHOUT_A_BOX,) if annotations else ())
    prompt = Prompt(
        mode,
        texts=(text,) if text else (),
        boxes=tuple(boxes.values()),
        points=tuple(points),
        exemplars=tuple(exemplars),
    )
    return PhotoPrompt(prompt, tuple(boxes), tuple(categories), common_category(annotations))

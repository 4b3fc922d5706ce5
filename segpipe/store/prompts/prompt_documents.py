"""The prompts of a deal as documents: what to look for in one photo, or in all of them.

People and scripts may write these files by hand, so everything that can have a default has one, and
an error names the file, the annotation and the field. Coordinates are pixels of the upright photo.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from segpipe.digests import settings_digest
from segpipe.errors import PromptConflictError, PromptError, PromptFileError
from segpipe.prompt import Mode, require_box
from segpipe.store.edited_documents import DocumentTime, EditedDocument, Text, UnicodeText


class PromptType(StrEnum):
    """What an annotation says about what it marks."""

    SEGMENT = "segment"
    """This is one item: a mask for it is wanted, or was found."""
    POSITIVE_EXEMPLAR = "positive_exemplar"
    """Find everything that looks like this."""
    NEGATIVE_EXEMPLAR = "negative_exemplar"
    """Leave out everything that looks like this."""
    POINT = "point"
    """This point is on an item, or off it."""


class Source(StrEnum):
    """Who made an annotation."""

    USER = "user"
    MODEL = "model"
    """A run, as a record of what it found; it is no prompt."""


COUNTED = {
    Mode.FIND_ALL: frozenset(
        {PromptType.POSITIVE_EXEMPLAR, PromptType.NEGATIVE_EXEMPLAR, PromptType.POINT}
    ),
    Mode.INSIDE_BOX: frozenset({PromptType.SEGMENT, PromptType.POINT}),
}
"""The types that are prompts in each mode; the others are records, or have no meaning there."""


_Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Annotation(BaseModel):
    """One mark on a photo.

    Attributes:
        id: Unique in the photo; 1 to 64 letters, digits, dots, dashes and underscores.
        mode: The mode that it belongs to.
        prompt_type: What it says.
        box: ``xyxy``, pixels of the upright photo; for every type but ``point``.
        point: ``x, y``, pixels of the upright photo; for ``point`` alone.
        label: For ``point`` alone: 1 on the item, 0 off it.
        category: The class of what it marks, as labelling tools have it; with ``inside_box`` it is
            the label of what is found in the box, and where all examples have one, it is that of
            all that is found.
        source: Who made it.
        created_by: The user's name, or the run's id.
        created_at: When, in UTC; None when that was not written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    mode: Mode
    prompt_type: PromptType
    box: tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate] | None = None
    point: tuple[_Coordinate, _Coordinate] | None = None
    label: Literal[0, 1] | None = None
    category: Annotated[Text, Field(exclude_if=lambda category: category is None)] = None
    source: Source = Source.USER
    created_by: UnicodeText = "user"
    created_at: DocumentTime | None = None

    @field_validator("box")
    @classmethod
    def _check_box(
        cls, box: tuple[float, float, float, float] | None
    ) -> tuple[float, float, float, float] | None:
        try:
            if box:
                require_box(box, "box")
        except PromptError as error:
            raise ValueError(error.message) from error
        return box

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        is_point = self.prompt_type is PromptType.POINT
        given = [name for name in ("box", "point", "label") if getattr(self, name) is not None]
        wanted = ["point", "label"] if is_point else ["box"]
        if given != wanted:
            raise ValueError(
                f"prompt_type {self.prompt_type.value!r} takes {_listed(wanted)}, "
                f"got {_listed(given) or 'neither box nor point'}"
            )
        return self

    @property
    def is_counted(self) -> bool:
        """Whether it is a prompt: the user's, and of a type that means something in its mode."""
        return self.source is Source.USER and self.prompt_type in COUNTED[self.mode]

    def is_inside(self, width: int, height: int) -> bool:
        """Whether it lies in a photo of this size, pixels; a point on the far edges does not."""
        if self.point:
            x, y = self.point
            return 0 <= x < width and 0 <= y < height
        x1, y1, x2, y2 = self.box or (0, 0, 0, 0)
        return 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height


class _PromptsFile(EditedDocument):
    """What both kinds of file hold."""

    what: ClassVar = "prompts"
    items: ClassVar = "annotations"
    file_error: ClassVar = PromptFileError
    conflict_error: ClassVar = PromptConflictError

    text: Text = None


class ImagePrompts(_PromptsFile):
    """What to look for in one photo.

    Attributes:
        image: The image id.
        generation: How often the file was written by segpipe; 0 for one that is not there yet, or
            is of a hand that did not say.
        text: What to find, in words, in the mode ``find_all``; None for the deal's text.
        annotations: In the order in which they were made.
    """

    image: Annotated[UnicodeText, AfterValidator(lambda image: normalize("NFC", image))]
    annotations: tuple[Annotation, ...] = ()

    @field_validator("annotations")
    @classmethod
    def _check_ids(cls, annotations: tuple[Annotation, ...]) -> tuple[Annotation, ...]:
        seen: set[str] = set()
        for annotation in annotations:
            if annotation.id in seen:
                raise ValueError(f"two annotations have the id {annotation.id!r}; rename one")
            seen.add(annotation.id)
        return annotations

    def counted(self, mode: Mode) -> tuple[Annotation, ...]:
        """The annotations that are prompts of a mode, in their order."""
        return tuple(each for each in self.annotations if each.mode is mode and each.is_counted)

    def asks(self, mode: Mode) -> bool:
        """Whether a user has said in it what a mode is to look for."""
        return bool(self.counted(mode) or (mode is Mode.FIND_ALL and self.text))

    def require_inside(self, width: int, height: int) -> None:
        """Raise PromptError for the first annotation that is not wholly in the upright photo.

        Args:
            width: Of the upright photo, pixels.
            height: Of the upright photo, pixels.
        """
        for annotation in self.annotations:
            if not annotation.is_inside(width, height):
                shape = "box" if annotation.box else "point"
                raise PromptError(
                    f"annotation {annotation.id!r}: {shape} {annotation.box or annotation.point} "
                    f"is not inside the upright photo of {width} x {height} pixels; move it, or "
                    "remove it",
                    image=self.image,
                    field=f"annotations[{annotation.id}].{shape}",
                )


class DealPrompts(_PromptsFile):
    """What to look for in all photos of a deal that do not say it themselves.

    Attributes:
        generation: How often the file was written by segpipe.
        text: What to find, in words, in the mode ``find_all``.
    """


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)


def prompts_version(deal: DealPrompts, images: Mapping[str, ImagePrompts], mode: Mode) -> str:
    """A sha256 of whatever in a deal's prompts decides the answers of a mode, and of nothing else.

    Texts count in ``find_all`` alone. Of the annotations those count that are prompts of the mode,
    in their order when each is answered by itself. Ids, times, generations and records of what was
    found do not count, nor does how a file is formatted.

    Args:
        deal: The prompts for all photos.
        images: The prompts of photos, by image id.
        mode: The mode.
    """
    text = deal.text if mode is Mode.FIND_ALL else None
    said = {image: _said(prompts, text, mode) for image, prompts in images.items()}
    return settings_digest({"text": text, "images": {name: of for name, of in said.items() if of}})


def common_category(annotations: Sequence[Annotation]) -> str | None:
    """The class that all examples of what to find have; None when they have none, or several."""
    examples = [each for each in annotations if each.prompt_type is PromptType.POSITIVE_EXEMPLAR]
    categories = {each.category for each in examples}
    return categories.pop() if len(categories) == 1 else None


def _said(prompts: ImagePrompts, deal_text: str | None, mode: Mode) -> dict[str, object]:
    """What decides the answer for one photo; empty when nothing does."""
    said: dict[str, object] = {}
    if mode is Mode.FIND_ALL and prompts.text not in {None, deal_text}:
        said["text"] = prompts.text
    marks: dict[PromptType, list[tuple[float, ...]]] = {}
    for each in prompts.counted(mode):
        label = () if each.label is None else (each.label,)
        marks.setdefault(each.prompt_type, []).append((*(each.box or each.point or ()), *label))
    if mode is Mode.INSIDE_BOX:
        categories = [
            each.category
            for each in prompts.counted(mode)
            if each.prompt_type is PromptType.SEGMENT
        ]
        if any(categories):
            said["categories"] = categories
    elif category := common_category(prompts.counted(mode)):
        said["category"] = category
    for prompt_type, values in marks.items():
        is_ordered = prompt_type is PromptType.SEGMENT
        # Adding zero makes a plain zero of a negative one.
        plain = [[value + 0.0 for value in mark] for mark in values]
        said[prompt_type.value] = plain if is_ordered else sorted(plain)
    return said


NO_PROMPTS_VERSION = prompts_version(DealPrompts(), {}, Mode.FIND_ALL)
"""The version of no prompts at all, in any mode."""

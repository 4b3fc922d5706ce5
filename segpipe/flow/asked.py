"""What a photo is asked for: the part of its prompts that decides the answer."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.store.prompts import Annotation, PromptType
from segpipe.vision.boxes import Box

_EXEMPLARS = {True: PromptType.POSITIVE_EXEMPLAR, False: PromptType.NEGATIVE_EXEMPLAR}


class Asked(BaseModel):
    """One question to a segmenter, as it is stored beside the answer.

    Attributes:
        mode: How it is answered.
        text: What to find; with ``find_all`` alone.
        annotations: What somebody drew for this mode, in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Mode.FIND_ALL
    text: str | None = None
    annotations: tuple[Annotation, ...] = ()

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        """A prompt that nobody keeps; what it marks is numbered.

        Raises:
            PromptError: It is for ``inside_box`` and has no box.
        """
        if prompt.mode is Mode.INSIDE_BOX and not prompt.boxes:
            raise PromptError("inside_box needs at least one box; draw one", field="boxes")
        marks: list[dict[str, object]] = [
            {"prompt_type": PromptType.SEGMENT, "box": box} for box in prompt.boxes
        ]
        marks += [
            {"prompt_type": _EXEMPLARS[one.positive], "box": one.box} for one in prompt.exemplars
        ]
        marks += [
            {"prompt_type": PromptType.POINT, "point": (one.x, one.y), "label": int(one.positive)}
            for one in prompt.points
        ]
        annotations = tuple(
            Annotation.model_validate({"id": str(number), "mode": prompt.mode, **mark})
            for number, mark in enumerate(marks)
        )
        return cls(mode=prompt.mode, text=prompt.text, annotations=annotations)

    def boxes(self) -> tuple[Annotation, ...]:
        """The boxes that get a detection each, in their order; none with ``find_all``."""
        if self.mode is Mode.FIND_ALL:
            return ()
        return self._of(PromptType.SEGMENT)

    @property
    def says_what(self) -> bool:
        """Whether anything says what to find: a text, an example, a point or a box."""
        return bool(self.text or self.annotations)

    def prompt(self) -> Prompt | None:
        """The prompt for a segmenter; None when there is nothing to ask: no box to look into."""
        if self.mode is Mode.INSIDE_BOX and not self.boxes():
            return None
        exemplars = [
            Exemplar(_box(one), positive=one.prompt_type is PromptType.POSITIVE_EXEMPLAR)
            for one in self._of(PromptType.POSITIVE_EXEMPLAR, PromptType.NEGATIVE_EXEMPLAR)
        ]
        points = [
            Point(*one.point, positive=one.label == 1)
            for one in self._of(PromptType.POINT)
            if one.point
        ]
        return Prompt(
            mode=self.mode,
            text=self.text,
            boxes=tuple(_box(one) for one in self.boxes()),
            points=tuple(points),
            exemplars=tuple(exemplars),
        )

    def _of(self, *kinds: PromptType) -> tuple[Annotation, ...]:
        return tuple(one for one in self.annotations if one.prompt_type in kinds)


def _box(annotation: Annotation) -> Box:
    if annotation.box is None:  # the document refuses it
        raise AssertionError(f"annotation {annotation.id!r} has no box")
    return Box(*annotation.box)

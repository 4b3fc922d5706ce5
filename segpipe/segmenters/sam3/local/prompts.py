"""What a prompt asks of SAM 3."""

from dataclasses import dataclass

from segpipe.prompt import Exemplar, Mode, Point, Prompt, Supports
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
        PromptError: A coordinate is not in the image.
        UnsupportedPromptError: It asks for two things at once that SAM 3 cannot combine.
    """
    prompt.require(Supports(), by="SAM 3", instead="ask in several prompts")
    prompt = prompt.for_image(width, height)
    if prompt.mode is Mode.INSIDE_BOX:
        within = tuple(
            tuple(point for point in prompt.points if point.lies_in(box)) for box in prompt.boxes
        )
        return InBoxes(prompt.boxes, within, prompt.text)
    if prompt.text or prompt.exemplars:
        return Concept(prompt.text, prompt.exemplars)
    return OneItem(prompt.points) if prompt.points else Everything()

"""What to look for in one image."""

from dataclasses import dataclass
from enum import StrEnum

from segpipe.vision.boxes import Box


class Mode(StrEnum):
    """How a prompt is answered."""

    FIND_ALL = "find_all"
    """Everything that matches the text or exemplars; every item when there are none."""
    INSIDE_BOX = "inside_box"
    """One mask for each drawn box."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels of the upright image that lies on (positive) or off an item."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A box around an example of what to find (positive) or to leave out."""

    box: Box
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to look for in one image; coordinates are pixels of the upright image."""

    mode: Mode = Mode.FIND_ALL
    text: str | None = None
    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()

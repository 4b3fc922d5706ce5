"""The one way in which long work says how far it is: events, and whoever is told of them."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Counts(BaseModel):
    """How many of each thing: in a photo, or in a deal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = 0
    detections: int = 0
    survivors: int = 0
    refined: int = 0
    crops: int = 0
    failed_crops: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        mine, theirs = self.model_dump(), other.model_dump()
        return Counts(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def rejected(self) -> int:
        """Detections that dedup did not keep."""
        return self.detections - self.survivors


NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class DealStarted:
    """Work on a deal begins; it has this many photos."""

    deal: str
    photos: int


@dataclass(frozen=True, slots=True)
class PhotoDone:
    """One photo of a deal is done, with what became of it."""

    deal: str
    file_name: str
    counts: Counts = NO_COUNTS


@dataclass(frozen=True, slots=True)
class DealDone:
    """A deal is done: promoted, or in the export."""

    deal: str
    counts: Counts = NO_COUNTS


@dataclass(frozen=True, slots=True)
class DealWanted:
    """A deal is not up to date and will be worked on; the reason is for people."""

    deal: str
    reason: str


@dataclass(frozen=True, slots=True)
class DealSkipped:
    """There is nothing to do for a deal; the reason is for people."""

    deal: str
    reason: str


@dataclass(frozen=True, slots=True)
class DealFailed:
    """A deal failed: nothing of it was promoted, or it is not in the export."""

    deal: str
    reason: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage of one photo begins, with this many objects where that is known."""

    stage: str
    objects: int | None = None


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step of a stage is done: which it was, from 1, and how many there are at most."""

    stage: str
    step: int
    steps: int


Event = (
    DealStarted
    | PhotoDone
    | DealDone
    | DealWanted
    | DealSkipped
    | DealFailed
    | StageStarted
    | StepDone
)
Tell = Callable[[Event], None]
"""Is told of each event. It must not raise, and may be called from any thread."""


def tell_nobody(event: Event) -> None:
    """A :data:`Tell` for work that nobody watches."""

"""What a run works with: a segmenter, a refiner and settings, and what is identified by them."""

from dataclasses import dataclass
from typing import Any

from segpipe.digests import settings_digest
from segpipe.flow.run_settings import RunSettings
from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class StageIdentity:
    """What decides the result of a stage, beside its input.

    Attributes:
        code_version: The version of the stage's code.
        producer: The id of the segmenter or refiner; empty for the other stages.
        settings: The settings that the stage ran with, JSON values.
    """

    code_version: str
    producer: str
    settings: dict[str, Any]

    @property
    def digest(self) -> str:
        """One digest over all of it."""
        return settings_digest(
            {"code": self.code_version, "producer": self.producer, "settings": self.settings}
        )


@dataclass(frozen=True, slots=True)
class Tools:
    """The segmenter, the refiner and the settings of a run.

    Attributes:
        segmenter: Finds the items.
        refiner: Sharpens the masks.
        settings: What both were built from, and the settings of the stages.
    """

    segmenter: Segmenter
    refiner: Refiner
    settings: RunSettings

    @property
    def images_in_flight(self) -> int:
        """Photos of a deal that are worked on at the same time."""
        return self.settings.stages.photos.images_in_flight or self.segmenter.concurrency

    def identity(self, stage: AnyStage) -> StageIdentity:
        """What decides the result of a stage, beside its input."""
        producer: str = getattr(self, stage.tool).id if stage.tool else ""
        return StageIdentity(stage.code_version, producer, self.settings.identity(stage))

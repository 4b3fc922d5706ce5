"""What a run works with, and how each stage is identified by it."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from segpipe.digests import settings_digest
from segpipe.flow.settings import FlowSettings, settings_of
from segpipe.flow.stages import CODE_VERSIONS, Stage
from segpipe.refiners.build_refiner import RefinerConfig, build_refiner
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.build_segmenter import SegmenterConfig, build_segmenter
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
        """One digest over all of it; a stage is up to date only while this stays the same."""
        return settings_digest(
            {"code": self.code_version, "producer": self.producer, "settings": self.settings}
        )


@dataclass(frozen=True, slots=True)
class Tools:
    """The segmenter, the refiner and the settings of a run.

    Attributes:
        segmenter: Finds the items.
        segmenter_settings: Its settings that decide what it finds, JSON values.
        refiner: Sharpens the masks.
        refiner_settings: What it was configured with, JSON values without secrets.
        settings: The settings of the stages.
    """

    segmenter: Segmenter
    segmenter_settings: dict[str, Any]
    refiner: Refiner
    refiner_settings: dict[str, Any]
    settings: FlowSettings

    @property
    def images_in_flight(self) -> int:
        """Photos of a deal that are worked on at the same time."""
        return self.settings.photos.images_in_flight or self.segmenter.concurrency

    def identity(self, stage: Stage) -> StageIdentity:
        """What decides the result of a stage, beside its input."""
        producer, values = "", _values(settings_of(stage, self.settings))
        if stage is Stage.SEGMENTATION:
            producer, values = self.segmenter.id, self.segmenter_settings
        elif stage is Stage.REFINEMENT:
            producer, values = self.refiner.id, self.refiner_settings
        return StageIdentity(CODE_VERSIONS[stage], producer, values)


def build_tools(
    segmenter: SegmenterConfig, refiner: RefinerConfig, settings: FlowSettings
) -> Tools:
    """Build the tools that configurations describe."""
    return Tools(
        segmenter=build_segmenter(segmenter),
        segmenter_settings=segmenter.identity(),
        refiner=build_refiner(refiner),
        refiner_settings=refiner.identity(),
        settings=settings,
    )


def _values(settings: BaseModel | None) -> dict[str, Any]:
    return settings.model_dump(mode="json") if settings else {}

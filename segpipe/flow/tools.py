"""What a run works with: a segmenter, a refiner and settings, and what is identified by them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segpipe.digests import settings_digest
from segpipe.flow.settings import FlowSettings, settings_of
from segpipe.flow.stages import CODE_VERSIONS, Stage
from segpipe.refiners.build_refiner import RefinerConfig, build_refiner
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.build_segmenter import SegmenterConfig, build_segmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings


@dataclass(frozen=True, slots=True)
class RunSettings:
    """All settings of a run.

    Attributes:
        segmenter: Those of the segmenter.
        refiner: Those of the refiner.
        stages: Those of the stages.
    """

    segmenter: Settings
    refiner: Settings
    stages: FlowSettings

    def of(self, stage: Stage) -> dict[str, Any]:
        """The settings that decide what a stage gives, as JSON values."""
        if stage is Stage.SEGMENTATION:
            return self.segmenter.identity()
        if stage is Stage.REFINEMENT:
            return self.refiner.identity()
        settings = settings_of(stage, self.stages)
        return settings.identity() if settings else {}

    def changes(self, stage: Stage, before: Mapping[str, Any]) -> list[str]:
        """What is other about the settings of a stage, for people: "crops.padding_px 4 → 0".

        Settings that only one of both knows came or went with a release: nobody has set them.
        """
        name = _NAMES.get(stage, stage.value)
        old, new = dict(_flat(before, name)), dict(_flat(self.of(stage), name))
        others = [path for path in old if path in new and old[path] != new[path]]
        # Of another kind everything is other.
        kinds = [path for path in others if path.endswith(_KIND)]
        return [
            f"{path.removesuffix(_KIND)} {old[path]} → {new[path]}" for path in kinds[:1] or others
        ]


_KIND = ".kind"
_NAMES = {Stage.SEGMENTATION: "segmenter", Stage.REFINEMENT: "refiner", Stage.DEAL_REPORT: "report"}


def _flat(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Every setting by its path, in words."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.{key}")
        else:
            yield f"{name}.{key}", value if isinstance(value, str) else json.dumps(value)


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

    def identity(self, stage: Stage) -> StageIdentity:
        """What decides the result of a stage, beside its input."""
        producers = {Stage.SEGMENTATION: self.segmenter.id, Stage.REFINEMENT: self.refiner.id}
        return StageIdentity(
            CODE_VERSIONS[stage], producers.get(stage, ""), self.settings.of(stage)
        )


def build_tools(
    segmenter: SegmenterConfig, refiner: RefinerConfig, settings: FlowSettings
) -> Tools:
    """Build the tools that configurations describe."""
    return Tools(
        segmenter=build_segmenter(segmenter),
        refiner=build_refiner(refiner),
        settings=RunSettings(segmenter, refiner, settings),
    )

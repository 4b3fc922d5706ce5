"""The settings of a run: everything has a default, and each stage has its own model."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field, create_model

from segpipe.flow.checks import CheckSettings
from segpipe.flow.mode_prompts import PromptSettings
from segpipe.flow.photo import PhotoSettings
from segpipe.flow.stages.stage_registry import STAGES, AnyStage, Stages
from segpipe.settings import Settings


class SharedSettings(Settings):
    """What concerns no single stage."""

    photos: PhotoSettings = PhotoSettings()
    prompts: PromptSettings = PromptSettings()
    checks: CheckSettings = CheckSettings()


def settings_model(stages: Stages) -> type[SharedSettings]:
    """The model of all settings of a mode: a field for each stage that has some.

    >>> settings_model(STAGES)().crops.padding_px
    0
    """
    fields: dict[str, Any] = {
        stage.settings_name: (stage.settings, Field(default=stage.settings()))
        for stage in stages.values()
        if stage.settings
    }
    return create_model(
        "FlowSettings", __base__=SharedSettings, __doc__="All settings of a mode.", **fields
    )


if TYPE_CHECKING:

    class FlowSettings(SharedSettings):
        """All settings of a mode."""

        def __init__(self, **values: Settings) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

else:
    FlowSettings = settings_model(STAGES)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """All settings of a run.

    Attributes:
        segmenter: Those of the segmenter.
        refiner: Those of the refiner.
        stages: Those of the stages.
        generation: That of the saved settings from which what a run was not told comes; 0 before
            anything was saved, None where all was told.
    """

    segmenter: Settings
    refiner: Settings
    stages: SharedSettings
    generation: int | None = None

    def of(self, stage: AnyStage) -> Settings | None:
        """The settings that decide what a stage gives; None when none do."""
        if stage.tool:
            return cast("Settings", getattr(self, stage.tool))
        return getattr(self.stages, stage.settings_name) if stage.settings else None

    def identity(self, stage: AnyStage) -> dict[str, Any]:
        """The same as JSON values."""
        settings = self.of(stage)
        return settings.identity() if settings else {}

    def changes(self, stage: AnyStage, before: Mapping[str, Any]) -> list[str]:
        """Which settings of a stage differ, for people: "crops.padding_px 4 → 0".

        A setting that only one side has came or went with a release: it is left out, unless the
        settings say what it was before it came.
        """
        name, settings = stage.tool or stage.settings_name, self.of(stage)
        if settings is None:
            return []
        old, new = (
            dict(_flat(settings.with_later(identity), name))
            for identity in (before, settings.identity())
        )
        for path in (*old, *new):
            if path.split(".")[1] in settings.later:
                old.setdefault(path, _NOTHING)
                new.setdefault(path, _NOTHING)
        others = [path for path in old if path in new and old[path] != new[path]]
        # Where the kind differs, so does everything else.
        kinds = [path for path in others if path.endswith(_KIND)]
        return [
            f"{path.removesuffix(_KIND)} {old[path]} → {new[path]}" for path in kinds[:1] or others
        ]


_KIND = ".kind"
_NOTHING = "nothing"


def _flat(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Every setting by its path, in words."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.{key}")
        else:
            yield f"{name}.{key}", value if isinstance(value, str) else json.dumps(value)

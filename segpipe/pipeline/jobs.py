"""Jobs of a mode, and the one that observes what people put in."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.partitions import MODE_TAG
from segpipe.pipeline.recording import PHOTOS_KEY, asset_key, prompts_key, reviews_key
from segpipe.prompt import Mode

OBSERVE_JOB = "observe_inputs"

ONLY_STALE = {"skip_up_to_date": True, "keep_other_settings": True}
"""The options of a run that replaces only what is out of date, whatever its settings."""


def everything_job_name(mode: Mode) -> str:
    """The name of the job that makes every asset of a mode."""
    return f"{mode.value}_everything"


def only_stale(mode: Mode, *, replace_other_settings: bool = False) -> dict[str, Any]:
    """Run config for runs of no settings in particular: they replace only what is out of date.

    Args:
        mode: The mode.
        replace_other_settings: Whether what was made with other settings is out of date.
    """
    options = {**ONLY_STALE, "keep_other_settings": not replace_other_settings}
    return {"ops": {mode.value: {"config": options}}}


def build_jobs(mode: Mode) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of a mode: everything, and everything after segmentation."""
    usual = STAGES.in_order(STAGES.names)
    after = [stage.name for stage in usual if not stage.reads_prompts]
    return [
        _job(
            everything_job_name(mode),
            mode,
            [stage.name for stage in usual],
            "Every asset of the mode but those that are made only when they are asked for.",
        ),
        _job(
            f"{mode.value}_after_segmentation",
            mode,
            after,
            "From the current raw detections on: no segmenter is called, nothing is paid.",
        ),
        *(
            _job(f"{mode.value}_{name}", mode, [name], stage.description)
            for name, stage in STAGES.items()
            if stage.is_optional
        ),
    ]


def build_observe_job(modes: Sequence[Mode]) -> UnresolvedAssetJobDefinition:
    """The job that observes the photos of deals, what modes are asked for, and reviews."""
    return dg.define_asset_job(
        OBSERVE_JOB,
        selection=[
            PHOTOS_KEY,
            *(key(mode) for key in (prompts_key, reviews_key) for mode in modes),
        ],
        executor_def=dg.in_process_executor,
        description="Digest the photos, prompts and reviews of deals, so that Dagster shows what "
        "is out of date.",
    )


def _job(
    name: str, mode: Mode, stages: list[str], description: str
) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(
            *(asset_key(mode, name) for name in stages)
        ).without_checks(),
        executor_def=dg.in_process_executor,
        tags={MODE_TAG: mode.value},
        description=description,
    )

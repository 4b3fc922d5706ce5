"""What Dagster is told of each asset before anything runs."""

import inspect
import warnings
from datetime import timedelta

import dagster as dg

from segpipe.flow.stages.report import REPORT
from segpipe.flow.stages.stage_registry import STAGES, AnyStage
from segpipe.pipeline.column_schemas import told_columns
from segpipe.pipeline.partitions import MODE_TAG
from segpipe.pipeline.recording import asset_key, parents
from segpipe.prompt import Mode

OWNER = "team:segpipe"
"""Whom Dagster names as the owner of the assets."""

FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=30), warn_window=timedelta(days=7)
)
"""A mode that was used is expected to be used again: no new report for so long is worth a look."""


def build_specs(mode: Mode) -> list[dg.AssetSpec]:
    """The assets of a mode, in the order of the way of the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # references to code
        return [_spec(mode, stage) for stage in STAGES.values()]


def _spec(mode: Mode, stage: AnyStage) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(mode, stage.name),
        deps=parents(mode, stage),
        description=stage.description,
        group_name=mode.value,
        code_version=stage.code_version,
        kinds=set(stage.kinds),
        owners=[OWNER],
        tags={MODE_TAG: mode.value},
        metadata={**told_columns(stage), **_code_of(stage)},
        freshness_policy=FRESHNESS if stage is REPORT else None,
        skippable=True,
    )


def _code_of(stage: AnyStage) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Where the stage is in the code, for Dagster's link to it."""
    _, first = inspect.getsourcelines(type(stage))
    reference = dg.LocalFileCodeReference(
        file_path=inspect.getfile(type(stage)), line_number=first, label=stage.name
    )
    references = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": references}

"""The quality of a mode's deals as an asset: what was measured, and a check that warns of drift."""

from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from segpipe.flow.checks import some_of
from segpipe.flow.drift import METRICS, Drift, DriftSettings, find_drift, mean_of
from segpipe.flow.quality import DealQuality, measure_new, read_quality
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.pipeline.asset_specs import OWNER
from segpipe.pipeline.options import options_of
from segpipe.pipeline.partitions import MODE_TAG
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode

QUALITY = "quality"
QUALITY_CRON = "0 4 * * *"
DRIFT_CHECK = "drift"

DriftOptions = options_of(DriftSettings)
"""When a change counts, as Dagster config."""


def build_quality(mode: Mode) -> dg.AssetsDefinition:
    """Build the asset of a mode: one table of all deals, with a row for each generation."""
    key = asset_key(mode, QUALITY)

    class Options(DriftOptions, dg.Config):  # type: ignore[misc, valid-type]
        """When what runs make counts as changed."""

    @dg.asset(
        key=key,
        deps=[asset_key(mode, REFINEMENT.name)],
        group_name=mode.value,
        owners=[OWNER],
        tags={MODE_TAG: mode.value},
        kinds={"parquet"},
        check_specs=[
            dg.AssetCheckSpec(
                DRIFT_CHECK,
                asset=key,
                description="The last deals are like those before them: items, scores, masks.",
            )
        ],
        description="Numbers of every deal that can be compared over time, such as items a photo, "
        "scores, and the part of the masks that the refiner was trusted with. Only deals that are "
        "new or made anew are measured.",
    )
    def quality(
        context: dg.AssetExecutionContext, config: Options, store: DealStoreResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        opened = store.open()

        def tell_unmeasured(deal: str, why: str) -> None:
            context.log.warning("deal %r is not measured: %s", deal, why)

        measured = measure_new(opened, mode, tell_unmeasured)
        rows = read_quality(opened, mode)
        drifts = find_drift(rows, config)
        yield dg.MaterializeResult(metadata=_metadata(rows, measured, config, drifts))
        yield _verdict(drifts)

    return quality


def build_quality_job(mode: Mode) -> UnresolvedAssetJobDefinition:
    """The job that measures the deals of a mode."""
    return dg.define_asset_job(
        f"{mode.value}_{QUALITY}",
        selection=[asset_key(mode, QUALITY)],
        executor_def=dg.in_process_executor,
        tags={MODE_TAG: mode.value},
        description="Measures the deals that are new or made anew, and warns when the last ones "
        "differ from those before them.",
    )


def build_quality_schedule(mode: Mode) -> dg.ScheduleDefinition:
    """Build the nightly schedule that measures the deals of a mode."""
    return dg.ScheduleDefinition(
        name=f"nightly_{QUALITY}_{mode.value}",
        job_name=f"{mode.value}_{QUALITY}",
        cron_schedule=QUALITY_CRON,
        description="Measures the deals of the day, and warns when they differ from those before.",
    )


def _metadata(
    rows: Sequence[DealQuality], measured: int, settings: DriftSettings, drifts: Sequence[Drift]
) -> dict[str, dg.MetadataValue]:
    """The means of the last deals, which Dagster plots from materialisation to materialisation."""
    latest = rows[-settings.window_deals :]
    means = {name: mean_of(latest, name) for name in METRICS}
    metadata: dict[str, dg.MetadataValue] = {
        "measured_deals": dg.MetadataValue.int(measured),
        "dagster/row_count": dg.MetadataValue.int(len(rows)),
        "drifted_metrics": dg.MetadataValue.int(len(drifts)),
        **{
            f"last_deals/{name}": dg.MetadataValue.float(mean)
            for name, mean in means.items()
            if mean is not None
        },
    }
    if rows and (generation := rows[-1].settings_generation):
        metadata["settings_generation"] = dg.MetadataValue.int(generation)
    return metadata


def _verdict(drifts: Sequence[Drift]) -> dg.AssetCheckResult:
    said = [str(drift) for drift in drifts]
    deals = list(drifts[0].deals) if drifts else []
    return dg.AssetCheckResult(
        check_name=DRIFT_CHECK,
        passed=not drifts,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{'; '.join(said)}. {some_of('The deals', deals)}"
            if drifts
            else "the last deals are like those before them, or there are too few to say"
        ),
        metadata={"metrics": [drift.metric for drift in drifts], "deals": deals},
    )

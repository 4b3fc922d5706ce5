"""Runs of the real definitions in a real Dagster instance, with a segmenter for small photos."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from segpipe.pipeline.deal_jobs import unfinished_job_name
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import LocalRoot, as_options
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import DealStoreResource, RefinerResource
from segpipe.prompt import Mode
from segpipe.refiners.refiner import NoneConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe_tests.goods import BrightConfig, BrightSegmenter

NO_DELAY = dg.RetryPolicy(max_retries=2, delay=0)


class FixedSegmenter:
    """Stands in for the resource: hands out what the test gives."""

    def __init__(self, make: Callable[[], Segmenter]) -> None:
        self._make = make

    def build(self, data_folder: Path) -> Segmenter:
        return self._make()

    def settings(self) -> Settings:
        return BrightConfig()


def make_defs(
    root: Path, make: Callable[[], Segmenter] = BrightSegmenter, **options: Any
) -> dg.Definitions:
    overrides = {
        "store": DealStoreResource(root=LocalRoot(path=str(root))),
        "segmenter": FixedSegmenter(make),
        "refiner": RefinerResource(backend=as_options(NoneConfig())),
    }
    return build_defs(overrides, retry_policy=NO_DELAY, **options)


def night(
    root: Path, instance: dg.DagsterInstance, mode: Mode = Mode.FIND_ALL, **overrides: Any
) -> list[str]:
    """The deals for which the nightly job of a mode asks for a backfill."""
    before = {backfill.backfill_id for backfill in instance.get_backfills()}
    job = make_defs(root, **overrides).resolve_job_def(unfinished_job_name(mode))
    assert job.execute_in_process(instance=instance).success
    return [
        deal
        for backfill in instance.get_backfills()
        if backfill.backfill_id not in before
        for deal in deals_of_backfill(instance, backfill)
    ]


def deals_of_backfill(instance: dg.DagsterInstance, backfill: PartitionBackfill) -> list[str]:
    """The deals that a backfill of assets is for; then it is over, so that it holds nobody up."""
    (data,) = [backfill.get_asset_backfill_data(build_defs().resolve_asset_graph())]
    (first, *_) = backfill.asset_selection or []
    deals = sorted(data.target_subset.get_partitions_subset(first).get_partition_keys())
    over = backfill._replace(status=BulkActionStatus.COMPLETED_SUCCESS)
    instance.update_backfill(over)
    return deals


def run_deals(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    deals: Sequence[str],
    *,
    mode: Mode = Mode.FIND_ALL,
    job: str = "",
    stages: Sequence[str] = (),
    config: dict[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    known = set(instance.get_dynamic_partitions("deals"))
    if new := [deal for deal in deals if deal not in known]:
        instance.add_dynamic_partitions("deals", new)
    selection = [asset_key(mode, stage) for stage in stages]
    return definitions.resolve_job_def(job or everything_job_name(mode)).execute_in_process(
        instance=instance,
        tags=range_tags(deals),
        asset_selection=selection or None,
        run_config={"ops": {mode.value: {"config": config}}} if config else None,
        raise_on_error=False,
    )

"""Everything that Dagster sees."""

import os
from collections.abc import Mapping

import dagster as dg

from segpipe.pipeline.deal_checks import build_checks
from segpipe.pipeline.deal_jobs import build_unfinished_job, find_changes, sweep
from segpipe.pipeline.failure_sensor import build_failure_sensor
from segpipe.pipeline.family import RETRY_POLICY, build_family
from segpipe.pipeline.io_manager import DealIOManager
from segpipe.pipeline.jobs import build_jobs, build_observe_job
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.purge import purge
from segpipe.pipeline.quality_asset import (
    build_quality,
    build_quality_job,
    build_quality_schedule,
)
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
    root_options,
    store_of_deployment,
)
from segpipe.pipeline.reviewed_deals import build_reviewed_deals_sensor
from segpipe.pipeline.schedules import (
    build_find_changes_schedule,
    build_observe_schedule,
    build_purge_schedule,
    build_sweep_schedule,
    build_unfinished_schedule,
)
from segpipe.pipeline.sensors import SETTLE_S, build_new_deals_sensor
from segpipe.pipeline.sources import build_deal_photos, build_deal_prompts, build_deal_reviews
from segpipe.progress import tell_nobody
from segpipe.prompt import Mode
from segpipe.store.commits import configured_keep_commits
from segpipe.store.layout import DEFAULT_ROOT, ROOT_VARIABLE


def build_defs(
    resource_overrides: Mapping[str, object] | None = None,
    *,
    retry_policy: dg.RetryPolicy = RETRY_POLICY,
    deals_per_run: int | None = None,
    settle_s: float = SETTLE_S,
) -> dg.Definitions:
    """Build the definitions; merge them with your own assets by ``dg.Definitions.merge``.

    Args:
        resource_overrides: Resources to use in place of the defaults: ``store``, ``segmenter``,
            ``refiner``, ``io_manager`` and ``progress``. An IO manager that is not given stands
            on the store that is. There is one store: run config cannot name another.
        retry_policy: For faults that may pass; bad input is never retried.
        deals_per_run: How many deals of a backfill one run handles, at most 250; None: as
            ``SEGPIPE_DEALS_PER_RUN`` says, else 25.
        settle_s: How long a deal without a marker must be still before the sensor takes it.
    """
    overrides = dict(resource_overrides or {})
    store = overrides.setdefault("store", _default_store())
    if isinstance(store, DealStoreResource):
        store = overrides["store"] = store_of_deployment(store)
    overrides.setdefault("segmenter", SegmenterResource())
    overrides.setdefault("refiner", RefinerResource())
    overrides.setdefault("io_manager", DealIOManager(store=store))
    overrides.setdefault("progress", tell_nobody)
    modes = tuple(Mode)
    families = [
        build_family(mode, retry_policy=retry_policy, deals_per_run=deals_per_run) for mode in modes
    ]
    return dg.Definitions(
        assets=[
            build_deal_photos(),
            *(build_deal_prompts(mode) for mode in modes),
            *(build_deal_reviews(mode) for mode in modes),
            *families,
            *(build_quality(mode) for mode in modes),
        ],
        asset_checks=[build_checks(mode) for mode in modes],
        jobs=[
            *(job for mode in modes for job in build_jobs(mode)),
            *(build_unfinished_job(mode) for mode in modes),
            *(build_quality_job(mode) for mode in modes),
            build_observe_job(modes),
            find_changes,
            sweep,
            purge,
        ],
        sensors=[
            *(build_new_deals_sensor(mode, settle_s=settle_s) for mode in modes),
            *(build_reviewed_deals_sensor(mode, settle_s=settle_s) for mode in modes),
            build_failure_sensor(),
        ],
        schedules=[
            *(build_unfinished_schedule(mode) for mode in modes),
            build_find_changes_schedule(),
            *(build_quality_schedule(mode) for mode in modes),
            build_observe_schedule(),
            build_sweep_schedule(),
            build_purge_schedule(),
        ],
        resources=overrides,
        executor=dg.in_process_executor,
    )


def _default_store() -> DealStoreResource:
    root = os.environ.get(ROOT_VARIABLE)
    return DealStoreResource(
        root=root_options(root) if root else LocalRoot(path=DEFAULT_ROOT),
        keep_commits=configured_keep_commits(),
    )

"""The photos of a deal, as an asset that others put there."""

import warnings

import dagster as dg

from segpipe.errors import SegpipeError
from segpipe.flow.photo import read_photos_version
from segpipe.flow.stages import DEAL_PHOTOS
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.resources import DealStoreResource


def build_deal_photos() -> dg.SourceAsset:
    """Build the observable source asset of the photos, partitioned by deal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        decorate = dg.observable_source_asset(
            name=DEAL_PHOTOS,
            partitions_def=DEALS,
            group_name="inputs",
            description="The photos of a deal, as somebody put them under its images/ folder. "
            "The data version is a digest of every photo's name and bytes.",
        )
        return decorate(_observe)


def _observe(
    context: dg.OpExecutionContext, store: DealStoreResource
) -> dg.DataVersionsByPartition:
    """Observe the photos of the deals of the run, or of every deal; bad ones are left out."""
    in_run = context.has_partition_key or context.has_partition_key_range
    deals = (
        context.partition_keys
        if in_run
        else context.instance.get_dynamic_partitions(DEALS.name or "")
    )
    opened = store.open()
    versions: dict[str, str | dg.DataVersion] = {}
    for deal in deals:
        try:
            versions[deal] = read_photos_version(opened, deal)
        except SegpipeError as error:
            context.log.warning("deal %r is not observed: %s", deal, error.at(deal=deal))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.DataVersionsByPartition(versions)

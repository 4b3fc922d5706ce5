"""What people put into a deal, as assets: photos, prompts, and what they decided about items."""

import warnings
from collections.abc import Callable, Iterable

import dagster as dg

from segpipe.errors import SegpipeError
from segpipe.flow.deal_inputs import read_photos_version, read_reviews_version
from segpipe.flow.mode_prompts import read_prompts_version
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.recording import (
    PHOTOS_KEY,
    DealEvent,
    prompts_key,
    reviews_key,
    told_without_review,
)
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

ReadVersion = Callable[[DealStore, str], str]
"""The data version of an input of a deal, as it is now."""
TellOfDeal = Callable[[DealStore, str, dg.DagsterInstance], Iterable[DealEvent]]
"""What else there is to tell of a deal that is observed."""


def build_deal_photos() -> dg.SourceAsset:
    """Build the observable source asset of the photos, partitioned by deal."""
    return _observable(
        PHOTOS_KEY,
        "inputs",
        "The photos of a deal, as somebody put them under its images/ folder. "
        "The data version is a digest of every photo's name and bytes.",
        read_photos_version,
    )


def build_deal_prompts(mode: Mode) -> dg.SourceAsset:
    """Build the observable source asset of a mode's prompts, partitioned by deal."""

    def read(store: DealStore, deal: str) -> str:
        return read_prompts_version(store, deal, mode)

    return _observable(
        prompts_key(mode),
        mode.value,
        "What the mode is asked to look for in the photos of a deal: texts, boxes, examples and "
        "points, under its prompts/ folder. The data version is a digest of what decides an answer "
        "of this mode.",
        read,
    )


def build_deal_reviews(mode: Mode) -> dg.SourceAsset:
    """Build the observable source asset of a mode's reviews, partitioned by deal."""

    def read(store: DealStore, deal: str) -> str:
        return read_reviews_version(store, deal, mode)

    return _observable(
        reviews_key(mode),
        mode.value,
        "What people decided about the items that the mode found in a deal, under its reviews/ "
        "folder. The data version is a digest of what decides which items go on, and how.",
        read,
        lambda store, deal, instance: told_without_review(store, deal, mode, instance),
    )


def _observable(
    key: dg.AssetKey,
    group: str,
    description: str,
    read: ReadVersion,
    tell: TellOfDeal | None = None,
) -> dg.SourceAsset:
    """An asset that observes the deals of the run, or every deal; bad ones are left out."""

    def observe(
        context: dg.OpExecutionContext, store: DealStoreResource
    ) -> dg.DataVersionsByPartition:
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
                versions[deal] = read(opened, deal)
                for event in tell(opened, deal, context.instance) if tell else ():
                    context.log_event(event)
            except SegpipeError as error:
                context.log.warning("deal %r is not observed: %s", deal, error.at(deal=deal))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.DataVersionsByPartition(versions)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        decorate = dg.observable_source_asset(
            key=key, partitions_def=DEALS, group_name=group, description=description
        )
        return decorate(observe)

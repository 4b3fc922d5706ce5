"""The command that removes a deal: its folder, and by choice what Dagster knows of it."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import dagster as dg
import typer
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from segpipe.cli.console import counted, print_json, say
from segpipe.cli.instance import open_instance
from segpipe.cli.options import ROOT, Json, Root, existing
from segpipe.cli.outcomes import Removed
from segpipe.errors import ConfigError, StoreError
from segpipe.pipeline.partitions import DEALS
from segpipe.store.store import DealStore

_PARTITION_TAG = "dagster/partition"
_START_TAG = "dagster/asset_partition_range_start"
_END_TAG = "dagster/asset_partition_range_end"


def remove(
    deal: str,
    root: Root = ROOT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep_partition: Annotated[
        bool, typer.Option("--keep-partition", help="Leave the deal a partition in Dagster.")
    ] = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="Remove its runs from Dagster, too: those of it alone."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a deal with its photos, prompts and results, after asking.

    It is no partition in Dagster any more, and its history there stays, unless options say
    otherwise. Nothing outside the deal's folder is touched; what links point to stays.
    """
    store = DealStore(root)
    deal = existing(store, deal)
    if not yes:
        _ask(deal, store)
    with open_instance(root) as instance:
        order = instance.get_dynamic_partitions(DEALS.name or "")
        if busy := next(_unfinished(instance, order, deal), None):
            raise StoreError(
                f"the run {busy} works on it, or waits to: let it end, or terminate it", deal=deal
            )
        files = store.remove_deal(deal)
        is_partition = deal in order and not keep_partition
        if is_partition:
            instance.delete_dynamic_partition(DEALS.name or "", deal)
        runs = list(_alone(instance, deal)) if history else []
        for run_id in runs:
            instance.delete_run(run_id)
    facts = Removed(deal, files, is_partition, len(runs))
    if as_json:
        print_json(facts)
    else:
        say(f"deal {deal} is removed: {counted(files, 'file')}, {counted(len(runs), 'run')}")


def _ask(deal: str, store: DealStore) -> None:
    question = f"Remove deal {deal} with everything in {store.root.at(f'deals/{deal}')}?"
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort as abort:
        raise ConfigError("nothing was removed; --yes removes without asking") from abort


def _unfinished(instance: dg.DagsterInstance, order: Sequence[str], deal: str) -> Iterator[str]:
    """The runs under way, or in the queue, that may cover a deal."""
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        first = run.tags.get(_START_TAG, run.tags.get(_PARTITION_TAG))
        last = run.tags.get(_END_TAG, first)
        if first is None or last is None:
            continue
        if first in order and last in order:
            covered = order[order.index(first) : order.index(last) + 1]
        else:
            covered = [first, last]
        if deal in covered:
            yield run.run_id


def _alone(instance: dg.DagsterInstance, deal: str) -> Iterator[str]:
    """The runs that were of this deal and no other."""
    for tags in ({_PARTITION_TAG: deal}, {_START_TAG: deal, _END_TAG: deal}):
        for run in instance.get_runs(dg.RunsFilter(tags=tags)):
            yield run.run_id

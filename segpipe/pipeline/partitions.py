"""The partition key of everything: the deal."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import dagster as dg

from segpipe.errors import ConfigError
from segpipe.prompt import Mode

DEALS = dg.DynamicPartitionsDefinition(name="deals")
"""One partition for each deal; the sensor and ``segpipe add`` add them."""

DEALS_PER_RUN = 25
"""How many deals one run handles: a run of its own for each costs seconds of start-up."""

MAX_DEALS_PER_RUN = 250
"""What Dagster notes of a run's plan grows with the square of its deals."""

DEALS_PER_RUN_VARIABLE = "SEGPIPE_DEALS_PER_RUN"
"""The environment variable that says how many deals one run handles."""

_PARTITION_TAG = "dagster/partition"
_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"


def configured_deals_per_run(asked: int | None = None) -> int:
    """How many deals one run handles, for sensors, schedules, backfills, commands and the studio.

    Args:
        asked: What a caller wants; None: what ``SEGPIPE_DEALS_PER_RUN`` says, else 25.

    Raises:
        ConfigError: It is no whole number from 1 to 250.

    >>> configured_deals_per_run(100)
    100
    """
    text = os.environ.get(DEALS_PER_RUN_VARIABLE) or str(DEALS_PER_RUN)
    text = text if asked is None else str(asked)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DEALS_PER_RUN:
        raise ConfigError(
            f"{text!r} is no whole number from 1 to {MAX_DEALS_PER_RUN}: what Dagster writes for "
            "a run grows with the square of its deals; more deals are more runs",
            field=DEALS_PER_RUN_VARIABLE,
        )
    return int(text)


def contiguous_batches(
    order: Sequence[str], wanted: Collection[str], *, size: int | None = None
) -> Iterator[tuple[str, ...]]:
    """Cut the wanted deals into batches that a run can cover.

    A run of many partitions is a range of them, in the order in which they were added; so a
    batch never spans a deal that is not wanted.

    Args:
        order: Every partition, in the order in which they were added.
        wanted: The deals to cover; those that are no partition are left out.
        size: Deals in a batch at most; None: as many as a run handles here.
    """
    size = configured_deals_per_run(size)
    batch: list[str] = []
    for deal in order:
        if deal in wanted:
            batch.append(deal)
        if batch and (deal not in wanted or len(batch) == size):
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


MODE_TAG = "segpipe/mode"
DEALS_TAG = "segpipe/deals"
REQUEST_TAG = "segpipe/request"
"""The tag with the id of the request that a run is for; the runs of one spend one budget."""
_MAX_DEALS_IN_TAG = 5


def run_tags(mode: Mode, batch: Sequence[str]) -> dict[str, str]:
    """The tags of a run of a mode over a batch: they also say which, when the deals are few.

    >>> run_tags(Mode.FIND_ALL, ["a", "b"])["segpipe/deals"]
    'a, b'
    """
    return range_tags(batch) | {MODE_TAG: mode.value} | deal_tags(batch)


def deal_tags(deals: Sequence[str]) -> dict[str, str]:
    """The tag that names the deals of a run; none when they are many."""
    return {DEALS_TAG: ", ".join(deals)} if len(deals) <= _MAX_DEALS_IN_TAG else {}


def range_tags(batch: Sequence[str]) -> dict[str, str]:
    """The run tags that make a run cover a batch."""
    return {_RANGE_START_TAG: batch[0], _RANGE_END_TAG: batch[-1]}


def deals_of_tags(tags: Mapping[str, str], places: Mapping[str, int]) -> tuple[str, ...]:
    """The deals that a run covers, by its tags; none where they do not say.

    Args:
        tags: Those of the run.
        places: The place of every partition, in the order in which they were added.

    >>> deals_of_tags(range_tags(["b", "c"]), {"a": 0, "b": 1, "c": 2, "d": 3})
    ('b', 'c')
    """
    if _PARTITION_TAG in tags:
        return (tags[_PARTITION_TAG],)
    first = places.get(tags.get(_RANGE_START_TAG, ""))
    last = places.get(tags.get(_RANGE_END_TAG, ""))
    if first is None or last is None:
        return tuple(filter(None, tags.get(DEALS_TAG, "").split(", ")))
    return tuple(islice(places, first, last + 1))


def tag_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, mode: Mode, deals: Sequence[str]
) -> None:
    """Tag a run that somebody launched in the UI as those are that a job or sensor requests.

    Args:
        instance: Where it is.
        run: The run.
        mode: The mode of the step; a run may have steps of both.
        deals: Its deals; none for all.
    """
    now = instance.get_run_by_id(run.run_id) or run  # a step before may have tagged it
    before = now.tags.get(MODE_TAG, mode.value).split(", ")
    modes = ", ".join(dict.fromkeys([*before, mode.value]))
    instance.add_run_tags(run.run_id, {MODE_TAG: modes, **(deal_tags(deals) if deals else {})})

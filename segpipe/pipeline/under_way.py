"""Which deals a run that waits or is under way is for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from segpipe.pipeline.partitions import DEALS, MODE_TAG, deals_of_tags
from segpipe.prompt import Mode

_MOST = 1000


@dataclass(frozen=True, slots=True)
class RunUnderWay:
    """A run that has not ended.

    Attributes:
        record: What Dagster knows of it.
        modes: The modes of its steps, as far as its tags say.
        deals: The deals that it is for.
    """

    record: dg.RunRecord
    modes: tuple[Mode, ...]
    deals: tuple[str, ...]

    @property
    def has_begun(self) -> bool:
        """Whether it waits no more."""
        return self.record.start_time is not None


def runs_under_way(instance: dg.DagsterInstance) -> Iterator[RunUnderWay]:
    """The runs that wait or are under way, the first to begin first; a thousand at most."""
    filters = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    records = instance.get_run_records(filters, limit=_MOST, ascending=True)
    places = places_of_deals(instance) if records else {}
    for record in records:
        tags = record.dagster_run.tags
        yield RunUnderWay(record, modes_of_tags(tags), deals_of_tags(tags, places))


def places_of_deals(instance: dg.DagsterInstance) -> dict[str, int]:
    """The place of every deal that is a partition, in the order in which they were added."""
    names = instance.get_dynamic_partitions(DEALS.name or "")
    return {deal: place for place, deal in enumerate(names)}


def modes_of_tags(tags: Mapping[str, str]) -> tuple[Mode, ...]:
    """The modes of a run's steps.

    >>> modes_of_tags({"segpipe/mode": "inside_box, find_all"})
    (<Mode.FIND_ALL: 'find_all'>, <Mode.INSIDE_BOX: 'inside_box'>)
    """
    named = tags.get(MODE_TAG, "").split(", ")
    return tuple(mode for mode in Mode if mode in named)

"""Runs deals through Dagster and shows how far they are."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
from rich.console import Console

from segpipe.cli.console import progress_bars, visible
from segpipe.cli.dagster_runs import (
    execute,
    faults,
    hangup_is_interrupt,
    is_interrupted,
)
from segpipe.cli.instance import add_partitions, instance_folder, open_instance
from segpipe.cli.lease import hold_lease
from segpipe.cli.run_config import RunConfig, checked
from segpipe.errors import KnownFailureError
from segpipe.pipeline.chosen_settings import settings_tag
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.partitions import DEALS, REQUEST_TAG, contiguous_batches, run_tags
from segpipe.pipeline.resources import DealStoreResource, root_options
from segpipe.progress import (
    DealDone,
    DealFailed,
    DealSkipped,
    DealStarted,
    Event,
    PhotoDone,
    Tell,
    tell_nobody,
)
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

RETRY_POLICY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)
"""For faults that may pass: short, as somebody waits; running again goes on."""


@dataclass(slots=True)
class RunResult:
    """What became of the deals.

    Attributes:
        seconds: Wall time of each deal that was worked on and promoted.
        failures: Why each deal failed that did.
        run_ids: The Dagster runs.
        errors: What went wrong with a run as a whole.
        not_done: The deals that no run came to the end of.
        skipped: Why a run found nothing to do for the other deals.
        is_interrupted: Whether somebody stopped the runs.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    run_ids: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    not_done: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    is_interrupted: bool = False


class RunProgress:
    """Draws a bar for the deals, and one for the photos of the deal under way."""

    def __init__(self, console: Console, deals: int, result: RunResult) -> None:
        self.bars = progress_bars(console)
        self._result = result
        self._all = self.bars.add_task("deals", total=deals, note="")
        self._photos = self.bars.add_task("photos", total=None, visible=False, note="")
        self._started = 0.0
        self._counted: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Draw an event, and keep what the summary needs."""
        match event:
            case DealStarted(deal, photos):
                if before := self._result.failures.get(deal):
                    again = visible(f"{before}; trying again")
                    self.bars.console.print(again, style="yellow", soft_wrap=True)
                self._started = time.monotonic()
                self.bars.reset(self._photos, description=deal, total=photos, visible=True, note="")
            case PhotoDone(_, file_name, counts):
                note = f"{file_name}: {counts.survivors} of {counts.detections}"
                self.bars.update(self._photos, advance=1, note=note)
            case DealDone(deal, counts):
                self._result.failures.pop(deal, None)
                self._result.seconds[deal] = time.monotonic() - self._started
                self._result.not_done.discard(deal)
                self._advance(deal, f"{counts.crops} crops")
            case DealSkipped(deal, reason):
                self._result.skipped[deal] = reason
                self._result.not_done.discard(deal)
                self._advance(deal, reason)
            case DealFailed(deal, reason):
                is_told = deal in self._result.failures
                if not (is_told and KnownFailureError.__name__ in reason):
                    self._result.failures[deal] = reason
                self._advance(deal, "failed")

    def _advance(self, deal: str, note: str) -> None:
        """Count a deal once: one that is done may fail at what comes after."""
        newly = int(deal not in self._counted)
        self._counted.add(deal)
        self.bars.update(self._all, advance=newly, note=f"{deal}: {note}")


def check_config(
    root: str, mode: Mode, config: Mapping[str, Any], *, force: bool = False
) -> RunConfig:
    """The run config of a mode, every setting of it checked before a run is made.

    Args:
        root: The data root.
        mode: The mode.
        config: Run config, as in Dagster's launchpad; where it is empty and no settings are
            saved, what was made with other settings than the defaults is left alone.
        force: Whether to do again what is up to date.

    Raises:
        ConfigError: A setting is not known, or cannot have that value.
        SavedSettingsError: The saved settings cannot be used.
    """
    store = DealStore(root)
    generation = store.settings.newest_generation()
    keeps = not config and not generation
    options = {} if force else {"skip_up_to_date": True, "keep_other_settings": keeps}
    settings = checked(_definitions(root), mode, config, options, store, generation)
    if config or not generation:
        return settings
    return replace(settings, saved_at=store.settings.read(generation).created_at)


def run_deals(
    root: str, deals: Sequence[str], mode: Mode, console: Console, config: RunConfig
) -> RunResult:
    """Put deals through every stage in Dagster runs of this process.

    A fault that may pass is tried again twice.

    Args:
        root: The data root.
        deals: The deals.
        mode: The mode to run them in.
        console: Where progress is drawn.
        config: The settings.

    Raises:
        StoreError: Dagster's database cannot be used.
    """
    result = RunResult(not_done=set(deals))
    progress = RunProgress(console, len(deals), result)
    job = _definitions(root, progress).resolve_job_def(everything_job_name(mode))
    with (
        open_instance(root) as instance,
        hold_lease(instance_folder(root)) as lease,
        hangup_is_interrupt(),
        progress.bars,
    ):
        add_partitions(instance, list(deals))
        order = instance.get_dynamic_partitions(DEALS.name or "")
        request = {REQUEST_TAG: uuid.uuid4().hex}
        for batch in contiguous_batches(order, frozenset(deals)):
            tags = lease | request | run_tags(mode, batch) | settings_tag(config.settings)
            run = execute(job, instance, config.values, tags)
            result.run_ids.append(run.run_id)
            if is_interrupted(run):
                result.is_interrupted = True
                break
            if not run.success and not result.failures.keys() & set(batch):
                result.errors.extend(faults(run))
    return result


def _definitions(root: str, progress: Tell = tell_nobody) -> dg.Definitions:
    overrides = {"store": DealStoreResource(root=root_options(root)), "progress": progress}
    return build_defs(overrides, retry_policy=RETRY_POLICY)

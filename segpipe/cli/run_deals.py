"""Runs deals through Dagster and shows how far they are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo
from rich.console import Console

from segpipe.cli.console import progress_bars
from segpipe.cli.instance import add_partitions, open_instance
from segpipe.errors import ConfigError
from segpipe.flow.todo import Todo, todo_of
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.partitions import DEALS, contiguous_batches, run_tags
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
    root_options,
    settings_of_run,
)
from segpipe.progress import DealDone, DealFailed, DealSkipped, DealStarted, Event, PhotoDone
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

_INTERRUPTS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


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
                self._started = time.monotonic()
                self.bars.reset(self._photos, description=deal, total=photos, visible=True, note="")
            case PhotoDone(_, file_name, counts):
                note = f"{file_name}: {counts.survivors} of {counts.detections}"
                self.bars.update(self._photos, advance=1, note=note)
            case DealDone(deal, counts):
                self._result.seconds[deal] = time.monotonic() - self._started
                self._result.not_done.discard(deal)
                self._advance(deal, f"{counts.crops} crops")
            case DealSkipped(deal, reason):
                self._result.skipped[deal] = reason
                self._result.not_done.discard(deal)
                self._advance(deal, reason)
            case DealFailed(deal, reason):
                self._result.failures[deal] = reason
                self._advance(deal, "failed")

    def _advance(self, deal: str, note: str) -> None:
        """Count a deal once: one that is done may fail at what comes after."""
        newly = int(deal not in self._counted)
        self._counted.add(deal)
        self.bars.update(self._all, advance=newly, note=f"{deal}: {note}")


def todos_of(store: DealStore, deals: Sequence[str], mode: Mode) -> dict[str, Todo]:
    """What each deal needs of a run of a mode with default settings."""
    settings = settings_of_run(SegmenterResource(), RefinerResource())
    return {deal: todo_of(store, deal, mode, settings) for deal in deals}


def run_deals(
    root: str,
    deals: Sequence[str],
    mode: Mode,
    console: Console,
    *,
    force: bool = False,
    config: Mapping[str, Any] | None = None,
) -> RunResult:
    """Put deals through every stage in Dagster runs of this process.

    Args:
        root: The data root.
        deals: The deals.
        mode: The mode to run them in.
        console: Where progress is drawn.
        force: Whether to do again what is up to date.
        config: Run config, as in Dagster's launchpad; without one, what was made with other
            settings than the defaults is left alone.

    Raises:
        ConfigError: The run config is not one of this job.
    """
    result = RunResult(not_done=set(deals))
    run_config = _run_config(mode, config, force=force)
    progress = RunProgress(console, len(deals), result)
    overrides = {
        "store": DealStoreResource(root=root_options(root)),
        "progress": progress,
    }
    # A fault that may pass is not worth waiting for at a terminal: running again goes on.
    definitions = build_defs(overrides, retry_policy=dg.RetryPolicy(max_retries=0))
    job = definitions.resolve_job_def(everything_job_name(mode))
    try:
        dg.validate_run_config(job, run_config)
    except dg.DagsterInvalidConfigError as error:
        faults = "; ".join(fault.message for fault in error.errors)
        raise ConfigError(faults, field="--config") from error
    with open_instance(root) as instance, progress.bars:
        add_partitions(instance, list(deals))
        order = instance.get_dynamic_partitions(DEALS.name or "")
        for batch in contiguous_batches(order, frozenset(deals)):
            run = job.execute_in_process(
                instance=instance,
                run_config=run_config,
                tags=run_tags(mode, batch),
                raise_on_error=False,
            )
            result.run_ids.append(run.run_id)
            if not run.success and not result.failures.keys() & set(batch):
                result.errors.extend(_errors(run))
            # Dagster takes the signal for a failure of the run that it stopped.
            if _is_interrupted(run):
                result.is_interrupted = True
                break
    return result


def _run_config(mode: Mode, config: Mapping[str, Any] | None, *, force: bool) -> dict[str, Any]:
    options = {} if force else {"skip_up_to_date": True, "keep_other_settings": not config}
    config = config or {}
    ops = _section(config, "ops")
    own = _section(ops, mode.value)
    own["config"] = {**options, **_section(own, "config")}
    # The run's log is in the instance, for the UI; the terminal has the progress bars.
    quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
    return {"loggers": quiet, **config, "ops": {**ops, mode.value: own}}


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of run config; YAML gives None for one with nothing in it."""
    section = config.get(name)
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{name!r} must hold settings, got {section!r}", field="--config")
    return dict(section or {})


def _errors(run: dg.ExecuteInProcessResult) -> list[str]:
    """What stopped the run, without the traces: those are in its log."""
    causes = _causes(run)
    if not causes:
        return [event.message or "" for event in run.all_events if event.is_failure]
    return [f"run {run.run_id} failed: {cause.message.strip()}" for cause in causes]


def _is_interrupted(run: dg.ExecuteInProcessResult) -> bool:
    return any(cause.cls_name in _INTERRUPTS for cause in _causes(run))


def _causes(run: dg.ExecuteInProcessResult) -> list[SerializableErrorInfo]:
    """The first cause of each failure of a step."""
    causes = []
    for event in run.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error and error.cause:
            error = error.cause
        if error:
            causes.append(error)
    return causes

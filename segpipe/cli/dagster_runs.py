"""Runs of this process in Dagster: under their job in the UI, tagged, and ended when we are."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import dagster as dg
import yaml
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.execution.execution_result import ExecutionResult
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster_shared.error import SerializableErrorInfo

from segpipe.pipeline.storage_driver import HOME_VARIABLE

_MODULE = "segpipe.definitions"
_WORKSPACE = "workspace.yaml"
_MAX_RETRIES_TAG = "dagster/max_retries"
_INTERRUPTS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> ExecutionResult:
    """Make a run of a job and execute it in this process, to its end."""
    repository = RemoteRepositoryOrigin(
        RegisteredCodeLocationOrigin(_location()), SINGLETON_REPOSITORY_NAME
    )
    run = instance.create_run_for_job(
        job,
        run_config=run_config,
        # The daemon starts no run again that somebody stopped at a terminal.
        tags={**job.run_tags, _MAX_RETRIES_TAG: "0", **tags},
        remote_job_origin=repository.get_job_origin(job.name),
    )
    return execute_run(InMemoryJob(job), run, instance, raise_on_error=False)


def causes(run: ExecutionResult) -> list[SerializableErrorInfo]:
    """The first cause of each failure of a step."""
    found = []
    for event in run.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error and error.cause:
            error = error.cause
        if error:
            found.append(error)
    return found


def faults(run: ExecutionResult) -> list[str]:
    """What stopped a run, without the traces: those are in its log."""
    found = causes(run)
    if not found:
        return [event.message or "" for event in run.all_events if event.is_failure]
    return [f"run {run.run_id} failed: {cause.message.strip()}" for cause in found]


def is_interrupted(run: ExecutionResult) -> bool:
    """Whether somebody stopped a run; Dagster takes the signal for a failure of the run."""
    return run.dagster_run.status is dg.DagsterRunStatus.CANCELED or any(
        cause.cls_name in _INTERRUPTS for cause in causes(run)
    )


@contextmanager
def hangup_is_interrupt() -> Iterator[None]:
    """End like at Ctrl-C when the terminal is closed; not where nohup has that ignored."""
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_DFL:
        yield
        return

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        # Nobody reads any more, and writing to a terminal that is gone is an error.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _location() -> str:
    """The name of our code location where Dagster is served: as its workspace file has it."""
    for folder in (os.environ.get(HOME_VARIABLE), Path.cwd()):
        path = Path(folder or "") / _WORKSPACE
        if folder and path.is_file():
            return _named_in(path)
    return _MODULE  # what 'dagster dev -m segpipe.definitions' calls it


def _named_in(path: Path) -> str:
    try:
        workspace = yaml.safe_load(path.read_text(encoding="utf-8"))
        modules = [entry.get("python_module") for entry in workspace["load_from"]]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return _MODULE
    for module in modules:
        if isinstance(module, dict) and module.get("module_name") == _MODULE:
            return str(module.get("location_name") or _MODULE)
    return _MODULE

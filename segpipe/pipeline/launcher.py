"""Launches runs as Dagster does by default, and sees when the process of one has died.

Dagster's own launcher cannot say whether a run still runs. When a daemon dies together with its
runs (a lost machine, a full memory), these stay STARTED and hold their places in the queue and in
the pools until ``max_runtime_seconds`` are over. Run monitoring asks this launcher, marks the dead
run as failed at its next look, and ``run_retries`` makes another, which goes on where it stopped.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.storage.tags import GRPC_INFO_TAG, HIDDEN_TAG_PREFIX
from dagster._serdes.config_class import ConfigurableClassData

MACHINE_TAG = f"{HIDDEN_TAG_PREFIX}segpipe_machine"
"""On which machine, since which start of it, a run was launched; the UI does not show it."""

MAX_SILENCE_S = 3600
"""A run on another machine is taken for dead when it has logged nothing for so long."""

_CLOCK = "booted_at"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")
_ZOMBIE, _DEAD = "Z", "X"
_THIS_MACHINE = {None, "", "localhost", "127.0.0.1", "::1"}
_FIRST_EVENTS = 50
_START_FIELD = 19
_CLOCK_SLACK_S = 60.0
"""Clocks are set now and then; a number is given again later than that."""


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, which also tells whether the process of a run is alive.

    Args:
        inst_data: Where in ``dagster.yaml`` it stands.
        max_silence_s: A run of another machine, whose processes cannot be seen from here, is
            taken for dead when it has logged nothing for so long, seconds.
    """

    supports_check_run_worker_health = True

    def __init__(
        self,
        inst_data: ConfigurableClassData | None = None,
        *,
        max_silence_s: float = MAX_SILENCE_S,
    ) -> None:
        super().__init__(inst_data)
        self._max_silence_s = max_silence_s

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What stands under ``config`` in ``dagster.yaml``."""
        silence = dg.Field(dg.IntSource, is_required=False, default_value=MAX_SILENCE_S)
        return {"max_silence_seconds": silence}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        """Build it from ``dagster.yaml``."""
        return cls(inst_data, max_silence_s=float(config_value["max_silence_seconds"]))

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run, and note where."""
        run_id = context.dagster_run.run_id
        noted = this_machine() | {_CLOCK: _booted_at()}
        self._instance.add_run_tags(run_id, {MACHINE_TAG: json.dumps(noted)})
        super().launch_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run lives; a run that was not launched here is left alone."""
        noted = run.tags.get(MACHINE_TAG)
        if noted is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not launched by this launcher")
        machine, here = json.loads(noted), this_machine()
        booted_at = machine.pop(_CLOCK, None)
        if machine["host"] != here["host"] or not _is_local(run):
            return self._judge_by_silence(run)
        if machine != here:
            return _dead("the machine or the container was started again since")
        pid, said_at = self._process(run)
        if pid is None or is_alive(pid, started_before=said_at, booted_at=booted_at):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return _dead(f"process {pid} is gone")

    def _process(self, run: dg.DagsterRun) -> tuple[int | None, float]:
        """The process that runs it, and when it said so; None before it has."""
        records = self._instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, limit=_FIRST_EVENTS
        ).records
        for record in records:
            event = record.event_log_entry.dagster_event
            pid = event.engine_event_data.metadata.get("pid") if event else None
            if pid is not None:
                return int(str(pid.value)), record.event_log_entry.timestamp
        return None, 0.0

    def _judge_by_silence(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        latest = self._instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        silent_s = time.time() - latest[0].event_log_entry.timestamp if latest else 0.0
        if silent_s > self._max_silence_s:
            return _dead(f"it runs on another machine and has said nothing for {silent_s:.0f} s")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def this_machine() -> dict[str, str]:
    """The name of this machine, which start of it this is, and whose processes are seen here."""
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
    processes = str(_PROCESSES.readlink()) if _PROCESSES.is_symlink() else ""
    return {"host": socket.gethostname(), "boot": boot, "processes": processes}


def is_alive(pid: int, *, started_before: float, booted_at: float | None = None) -> bool:
    """Whether a process runs, and is no later one that was given the same number.

    Args:
        pid: Its number.
        started_before: A time at which it ran, seconds since 1970.
        booted_at: When this machine started by the clock of that time, which may have been set
            since; None takes the clock of now.
    """
    try:
        # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: from the state on.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return not _BOOT_ID.exists() and _takes_signals(pid)
    since_boot_s = int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
    started_at = (_booted_at() if booted_at is None else booted_at) + since_boot_s
    return fields[0] not in {_ZOMBIE, _DEAD} and started_at <= started_before + _CLOCK_SLACK_S


def _booted_at() -> float:
    """When this machine started by the clock as it is now, seconds since 1970; 0 if not Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.time() - time.clock_gettime(clock)


def _takes_signals(pid: int) -> bool:
    """Whether there is such a process, where the system does not list them under /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_local(run: dg.DagsterRun) -> bool:
    """Whether the code server that made its process is on the daemon's machine."""
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return bool(server.get("socket")) or server.get("host") in _THIS_MACHINE


def _dead(why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, why)

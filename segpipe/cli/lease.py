"""Runs of the command line: each holds a lease while its process lives, so dead ones are known.

A lease is a file that its process keeps locked. The kernel takes the lock away with the process,
however that ends: SIGKILL, a closed terminal, lost power. So whether a run still lives is no guess,
and a run that takes days is never mistaken for a dead one. Its tags name the file and the machine,
since a lock is only known where it was taken; runs of other machines are left to Dagster's own
monitoring.
"""

import contextlib
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

HOST_TAG = "segpipe/host"
LEASE_TAG = "segpipe/lease"
STARTED_BY_TAG = "segpipe/started_by"
COMMAND_LINE = "command line"

_FOLDER = "leases"
_SUFFIX = ".lock"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextlib.contextmanager
def hold_lease(folder: Path) -> Iterator[dict[str, str]]:
    """Hold a lease under a folder; gives the tags of the runs that it is for."""
    leases = folder / _FOLDER
    leases.mkdir(parents=True, exist_ok=True)
    path = leases / f"{uuid.uuid4()}{_SUFFIX}"
    # A soft lock would outlive its holder.
    with FileLock(path, fallback_to_soft=False):
        yield {
            STARTED_BY_TAG: COMMAND_LINE,
            HOST_TAG: platform.node(),
            LEASE_TAG: str(path.absolute()),
        }
        path.unlink(missing_ok=True)


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs failed whose process on this machine is gone; gives their ids."""
    mine = dg.RunsFilter(
        statuses=_UNFINISHED, tags={STARTED_BY_TAG: COMMAND_LINE, HOST_TAG: platform.node()}
    )
    ended = []
    for run in instance.get_runs(mine):
        if _is_held(Path(run.tags.get(LEASE_TAG, ""))):
            continue
        instance.report_run_failed(
            run, "The 'segpipe run' that it belonged to was killed; what it promoted is kept."
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


def _is_held(path: Path) -> bool:
    """Whether a process holds a lease; the file of one that nobody holds is removed."""
    if path.suffix != _SUFFIX or path.parent.name != _FOLDER or not path.is_file():
        return False
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        with lock:
            path.unlink(missing_ok=True)
    except Timeout:
        return True
    return False

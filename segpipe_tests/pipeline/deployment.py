"""The real daemon with the project's own settings, in a folder that stands for a checkout."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.instance.ref import InstanceRef

from segpipe.flow.stages import Stage
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.store.layout import ROOT_VARIABLE
from segpipe.store.store import DealStore

PROJECT = Path(__file__).parents[2]

_UNDER_WAY = {BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING}
_STOP_LIMIT_S = 30.0
_POLL_S = 0.5
_LOG_CHARACTERS = 4000


class Deployment:
    """A data root, an instance and a daemon, from copies of dagster.yaml and workspace.yaml.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.root.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(PROJECT / name, folder / name)
        self._folder = folder
        self._log = folder / "daemon.log"
        self._environment = os.environ | {
            "DAGSTER_HOME": str(folder),
            ROOT_VARIABLE: str(self.root),
            "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
        }
        self._daemon: subprocess.Popen[bytes] | None = None

    def store(self) -> DealStore:
        """The deals."""
        return DealStore(self.root)

    def open_instance(self) -> dg.DagsterInstance:
        """The instance that the daemon works on."""
        with contextlib.chdir(self._folder):  # the paths in dagster.yaml are relative
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self._folder)))

    def dagster(self, *arguments: str) -> None:
        """Run Dagster's own command line, as somebody would in the checkout."""
        command = [sys.executable, "-m", "dagster", *arguments]
        subprocess.run(command, cwd=self._folder, env=self._environment, check=True)

    @contextlib.contextmanager
    def running_daemon(self) -> Iterator[None]:
        """The daemon and all that it starts: a session of processes, gone at the end."""
        # Two processes that both set up the same SQLite files at once would trip over each other.
        self.open_instance().dispose()
        command = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
        with self._log.open("wb") as log:
            daemon = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemon = daemon
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGTERM)
            try:
                daemon.wait(_STOP_LIMIT_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(daemon.pid, signal.SIGKILL)

    def wait_until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        """Look again and again; RuntimeError when the daemon ends or the time is over."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            has_ended = self._daemon is None or self._daemon.poll() is not None
            if has_ended or time.monotonic() > deadline:
                log = self._log.read_text(errors="replace")[-_LOG_CHARACTERS:]
                raise RuntimeError(f"nothing came of it in {limit_s:g} s; the log ends:\n{log}")
            time.sleep(_POLL_S)

    def cpu_seconds(self) -> float:
        """What the daemon's processes have used up, and those that they have waited for."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: from state on.
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if self._daemon and int(fields[3]) == self._daemon.pid:
                    ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")


def request_backfill(
    instance: dg.DagsterInstance,
    name: str,
    deals: Sequence[str],
    mode: Mode = Mode.FIND_ALL,
) -> None:
    """Ask for every asset of a mode for some deals, as the UI does."""
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=build_defs().resolve_asset_graph(),
            partition_names=list(deals),
            asset_selection=[asset_key(mode, stage) for stage in Stage],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )


def is_backfill_over(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether a backfill has ended, well or not."""
    backfill = instance.get_backfill(name)
    return backfill is not None and backfill.status not in _UNDER_WAY

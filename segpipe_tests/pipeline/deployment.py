"""The real daemon with the project's own settings, in a folder that stands for a checkout."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import httpx
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.instance.ref import InstanceRef

from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.state_storage import POSTGRES_VARIABLE
from segpipe.prompt import Mode
from segpipe.store.layout import ROOT_VARIABLE
from segpipe.store.store import DealStore
from segpipe_tests.pipeline.postgres_server import free_port

PROJECT = Path(__file__).parents[2]

_UNDER_WAY = {BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING}
_STOP_LIMIT_S = 30.0
_POLL_S = 0.5
_LOG_CHARACTERS = 4000
_START_LIMIT_S = 120.0
_WORKER = re.compile(r"Started process for run \(pid: (\d+)\)")
_AT_ONCE = re.compile(r"max_concurrent_runs: \d+")
_QUICKER = re.compile(r"poll_interval_seconds: \d+")


class Webserver:
    """Dagster's webserver, asked as its pages ask it.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer; RuntimeError when it tells of an error."""
        question = {"query": query, "variables": variables}
        told = httpx.post(f"{self.url}/graphql", json=question, timeout=60).json()
        if told.get("errors"):
            raise RuntimeError(str(told["errors"])[:_LOG_CHARACTERS])
        return told["data"]

    def answers(self) -> bool:
        """Whether it answers a question that needs its database."""
        try:
            self.ask("{ runsOrError { __typename ... on Runs { results { id } } } }")
        except (httpx.HTTPError, ValueError, RuntimeError):
            return False
        return True


class Deployment:
    """A data root, an instance and a daemon, from copies of dagster.yaml and workspace.yaml.

    Args:
        folder: An empty folder.
        bucket: The URL of the data root; None: a folder.
        postgres_url: Where Dagster keeps its own state; None: in files, as the project ships it.
        quick: Whether dead runs are looked for each second, not each minute.
        environment: More variables for all processes.
        max_concurrent_runs: Another number than the shipped one; 0: every run waits.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bucket: str | None = None,
        postgres_url: str | None = None,
        quick: bool = False,
        environment: Mapping[str, str] | None = None,
        max_concurrent_runs: int | None = None,
    ) -> None:
        self.root = folder / "data"
        self.root.mkdir()
        shutil.copy(PROJECT / "workspace.yaml", folder)
        settings = (PROJECT / "dagster.yaml").read_text()
        if quick:
            settings = _QUICKER.sub("poll_interval_seconds: 1", settings)
        if max_concurrent_runs is not None:
            settings = _AT_ONCE.sub(f"max_concurrent_runs: {max_concurrent_runs}", settings)
        (folder / "dagster.yaml").write_text(settings)
        self._folder = folder
        self._place = bucket or str(self.root)
        self._log = folder / "daemon.log"
        self._environment = os.environ | {
            "DAGSTER_HOME": str(folder),
            ROOT_VARIABLE: self._place,
            "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
            **({POSTGRES_VARIABLE: postgres_url} if postgres_url else {}),
            **(environment or {}),
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    def store(self) -> DealStore:
        """The deals."""
        return DealStore(self._place)

    def open_instance(self) -> dg.DagsterInstance:
        """The instance that the daemon works on."""
        # The paths in dagster.yaml are relative, and it names variables.
        with contextlib.chdir(self._folder), patch.dict(os.environ, self._environment):
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self._folder)))

    def dagster(self, *arguments: str) -> None:
        """Run Dagster's own command line, as somebody would in the checkout."""
        command = [sys.executable, "-m", "dagster", *arguments]
        subprocess.run(command, cwd=self._folder, env=self._environment, check=True)

    def segpipe(self, *arguments: str) -> None:
        """Run a command of segpipe, as somebody would in the checkout."""
        command = [sys.executable, "-c", "from segpipe.cli.app import main; main()", *arguments]
        subprocess.run(command, cwd=self._folder, env=self._environment, check=True)

    @contextlib.contextmanager
    def running_daemon(self, *arguments: str) -> Iterator[None]:
        """The daemon and all that it starts: a session of processes, gone at the end."""
        # Two processes that both set up the same SQLite files at once would trip over each other.
        self.open_instance().dispose()
        with self._running("dagster._daemon", "run", "-w", "workspace.yaml", *arguments) as daemon:
            self.daemon = daemon
            yield

    @contextlib.contextmanager
    def running_webserver(self, *more: str) -> Iterator["Webserver"]:
        """The webserver, once it answers."""
        self.open_instance().dispose()
        port = free_port()
        arguments = ("-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port), *more)
        with self._running("dagster_webserver", *arguments) as process:
            webserver = Webserver(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + _START_LIMIT_S
            while not webserver.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no webserver; the log ends:\n{self._log_end()}")
                time.sleep(_POLL_S)
            yield webserver

    @contextlib.contextmanager
    def _running(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_STOP_LIMIT_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def log_bytes(self) -> int:
        """What its processes have written."""
        return self._log.stat().st_size

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_CHARACTERS:]

    def wait_for(self, is_so: Callable[[], bool], limit_s: float) -> None:
        """Look again and again, whatever the daemon does; RuntimeError when the time is over."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing in {limit_s:g} s; the log ends:\n{self._log_end()}")
            time.sleep(_POLL_S)

    def wait_until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        """Look again and again; RuntimeError when the daemon ends or the time is over."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            has_ended = self.daemon is None or self.daemon.poll() is not None
            if has_ended or time.monotonic() > deadline:
                log = self._log_end()
                raise RuntimeError(f"nothing came of it in {limit_s:g} s; the log ends:\n{log}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """What becomes of the daemon and all that it has started when the machine loses power."""
        assert self.daemon is not None
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait()
        for pid in self.run_workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run_workers(self, *, tries: bool = True) -> list[int]:
        """The processes that have said that they execute a run which is under way.

        Args:
            tries: Whether those count that try again what others were killed in.
        """
        with self.open_instance() as instance:
            started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            wanted = [run for run in started if tries or "dagster/retry_number" not in run.tags]
            said = [event for run in wanted for event in instance.all_logs(run.run_id)]
        texts = [event.message or event.user_message for event in said]
        return [int(found[1]) for text in texts if (found := _WORKER.search(text))]

    def cpu_seconds(self) -> float:
        """What the daemon's processes have used up, and those that they have waited for."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: from state on.
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if self.daemon and int(fields[3]) == self.daemon.pid:
                    ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")


def request_backfill(
    instance: dg.DagsterInstance,
    name: str,
    deals: Sequence[str],
    mode: Mode = Mode.FIND_ALL,
    run_config: Mapping[str, Any] | None = None,
) -> None:
    """Ask for every asset of a mode for some deals, as the UI does."""
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=build_defs().resolve_asset_graph(),
            partition_names=list(deals),
            asset_selection=[asset_key(mode, stage) for stage in STAGES],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=run_config,
        )
    )


def is_backfill_over(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether a backfill has ended, well or not."""
    backfill = instance.get_backfill(name)
    return backfill is not None and backfill.status not in _UNDER_WAY

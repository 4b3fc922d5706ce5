"""The processes that the studio starts beside itself: started, kept up, ended with it."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_LIMIT_S = 15.0
_MAX_RESTARTS = 5
"""Starts at most after as many ends, each soon after a start; then somebody has to look."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STABLE_S = 60.0
"""Who has lived so long is well again."""
_log = logging.getLogger(__name__)


class ChildProcess:
    """A Python module in a process of its own, which ends with this one, however that ends.

    When it ends by itself it is started again: at once nearly, then after longer and longer
    pauses, and no more once it has ended time after time.

    Args:
        title: What it is, for people: "Dagster's daemon".
        module: The module.
        arguments: Its arguments.
        environment: Variables beside those of this process.
        log: The file with what it writes.
    """

    def __init__(
        self,
        title: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self.title = title
        self.log = log
        self._command = [sys.executable, "-m", "segpipe.studio.tied_process", module, *arguments]
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._started_at = 0.0
        self._ends = 0
        self._last_end = ""

    @property
    def pid(self) -> int | None:
        """Its number; None before it was started."""
        return self._process.pid if self._process else None

    @property
    def is_given_up(self) -> bool:
        """Whether it has ended too often to be started again."""
        return self._ends > _MAX_RESTARTS

    @property
    def fault(self) -> str | None:
        """What is to be told of it: that it has ended by itself, and what becomes of it."""
        if self._stopping.is_set() or not self._ends:
            return None
        said = f"{self.title} has ended ({self._last_end}); its log is {self.log}"
        if self.is_given_up:
            return f"{said}. It has ended {self._ends} times: mend it and start the studio again"
        if self._process is None or self._process.returncode is not None:
            return f"{said}. It is started again in a moment"
        if time.monotonic() - self._started_at < _STABLE_S:
            return f"{said}. It was started again"
        return None

    async def start(self) -> None:
        """Start it; returns as soon as it is there."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let it end, and all that it has started; kill it when it does not."""
        self._stopping.set()
        if self._keeper is None:
            return
        if self._process and self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), _STOP_LIMIT_S)
        except TimeoutError:
            _log.warning("%s does not stop and is killed", self.title)
        self._tell_group(signal.SIGKILL)  # also what of its group is left after it
        await self._keeper

    async def _launch(self) -> None:
        self._started_at = time.monotonic()
        self._process = None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        """Start it again whenever it has ended by itself."""
        end = await self._end()
        while not self._stopping.is_set():
            if time.monotonic() - self._started_at > _STABLE_S:
                self._ends = 0
            self._ends, self._last_end = self._ends + 1, end
            _log.error("%s", self.fault)
            if self.is_given_up:
                return
            pause = min(_FIRST_PAUSE_S * 2 ** (self._ends - 1), _LONGEST_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            try:
                await self._launch()
                end = await self._end()
            except OSError as error:  # such as a full disk, or too many processes
                end = str(error)

    async def _end(self) -> str:
        """Wait for its end, which is that of what it had started, too; how it has ended."""
        if self._process is None:
            return "it was never there"
        code = await self._process.wait()
        self._tell_group(signal.SIGTERM)
        return f"code {code}"

    def _tell_group(self, number: signal.Signals) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

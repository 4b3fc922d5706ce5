"""The processes that the studio starts beside itself: started, watched, ended with it."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_LIMIT_S = 15.0
_log = logging.getLogger(__name__)


class ChildProcess:
    """A Python module in a process of its own, which ends with this one, however that ends.

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
        self._watch: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Its number; None before it was started."""
        return self._process.pid if self._process else None

    @property
    def fault(self) -> str | None:
        """What is to be told of it: that it has ended by itself."""
        if self._is_stopping or self._process is None or self._process.returncode is None:
            return None
        return f"{self.title} has ended (code {self._process.returncode}); its log is {self.log}"

    async def start(self) -> None:
        """Start it; returns as soon as it is there."""
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
        self._watch = asyncio.create_task(self._tell_of_its_end(self._process))

    async def stop(self) -> None:
        """Let it end, and all that it has started; kill it when it does not."""
        self._is_stopping = True
        if self._process is None or self._watch is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._watch), _STOP_LIMIT_S)
        except TimeoutError:
            _log.warning("%s does not stop and is killed", self.title)
        # Also what of its group is left after it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._watch

    async def _tell_of_its_end(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        if fault := self.fault:
            _log.error("%s", fault)

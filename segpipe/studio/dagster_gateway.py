"""Dagster in the studio: its pages under ``/dagster`` behind the same login, and its processes.

The code location and the daemon are child processes, which share the one location. The webserver is
a part of this process: Dagster's own app, under a path of its own, for admins alone, as Dagster has
no login.
"""

import asyncio
import contextlib
import logging
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from segpipe.cli.instance import instance_folder, open_instance
from segpipe.pipeline.storage_driver import HOME_VARIABLE
from segpipe.store.data_root import DataRoot
from segpipe.store.layout import ROOT_VARIABLE
from segpipe.studio.child_processes import ChildProcess
from segpipe.studio.page_templates import Pages
from segpipe.studio.request_checks import refuse
from segpipe.studio.roles import Role, person_of, require_role
from segpipe.studio.studio_settings import StudioSettings
from segpipe.web.problems import UNAVAILABLE, RefusedError, unavailable

if TYPE_CHECKING:
    import dagster as dg

PATH = "/dagster"
LOCATION = "segpipe"
_DEFINITIONS = "segpipe.definitions"
_LOCATION_ARGUMENTS = (
    "--module-name",
    _DEFINITIONS,
    "--location-name",
    LOCATION,
    "--use-python-environment-entry-point",
)
_WORKSPACE = "workspace.yaml"
_SOCKET = "location.sock"
_POLL_S = 0.1
_START_LIMIT_S = 180.0
_RETRY_AFTER_S = 2
_ANSWER_LIMIT_S = 60.0
_log = logging.getLogger(__name__)


class DagsterGateway:
    """Dagster as the studio has it: an instance, perhaps processes, perhaps pages.

    Args:
        settings: Which of these there are.
        folder: For the logs of the processes.
        pages: Draws the page that is shown while Dagster starts.
    """

    def __init__(self, settings: StudioSettings, folder: Path, pages: Pages) -> None:
        self._settings = settings
        self._folder = folder
        self._pages = pages
        self._lock = threading.Lock()
        self._open = contextlib.ExitStack()
        self._instance: dg.DagsterInstance | None = None
        self._app: ASGIApp | None = None
        self._fault: str | None = None
        self.children: list[ChildProcess] = []
        """The processes; none where Dagster runs elsewhere."""

    @property
    def has_pages(self) -> bool:
        """Whether there is anything under ``/dagster``."""
        return self._settings.dagster or self._settings.dagster_url is not None

    @property
    def is_ready(self) -> bool:
        """Whether Dagster's pages can be shown now."""
        return self._app is not None

    def instance(self) -> "dg.DagsterInstance":
        """The instance, opened when it is first asked for; takes a moment.

        Raises:
            StoreError: Its database cannot be read or written.
        """
        with self._lock:
            if self._instance is None:
                self._instance = self._open.enter_context(open_instance(self._settings.root))
            return self._instance

    def fault(self) -> str | None:
        """What is to be told on every page: that a process has ended, or Dagster did not start."""
        faults = [child.fault for child in self.children]
        return next(filter(None, faults), None) or self._fault

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start what is to run here, and end it at the end; does not wait until it answers."""
        with tempfile.TemporaryDirectory(prefix="segpipe-") as scratch:
            starting = asyncio.create_task(self._start(Path(scratch)))
            starting.add_done_callback(self._note_fault)
            try:
                yield
            finally:
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                self._app = None
                # The daemon first: it launches runs in the location.
                for child in reversed(self.children):
                    await child.stop()
                await asyncio.to_thread(self._open.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for Dagster's pages."""
        try:
            require_role(person_of(HTTPConnection(scope)), Role.ADMIN)
        except RefusedError as refusal:
            await refuse(refusal, scope, receive, send)
            return
        if self._app:
            await self._app(scope, receive, send)
        elif self._settings.dagster_url and scope["type"] == "http":
            await RedirectResponse(self._settings.dagster_url)(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and not _is_data(scope):
            page = self._pages.draw(
                Request(scope), "dagster_starts.html", status_code=UNAVAILABLE, fault=self.fault()
            )
            page.headers["Refresh"] = page.headers["Retry-After"] = str(_RETRY_AFTER_S)
            await page(scope, receive, send)
        else:
            await refuse(not_there(), scope, receive, send)

    def client(self) -> httpx.AsyncClient:
        """Asks Dagster's webserver, the one here or the one elsewhere: ``post("/graphql")``.

        Raises:
            RefusedError: There is none (yet): 503.
        """
        if self._app:
            # The app of this process; the host is none that anybody looks up.
            return httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app),
                base_url=f"http://studio{PATH}",
                timeout=_ANSWER_LIMIT_S,
            )
        if self._settings.dagster_url:
            place = self._settings.dagster_url.rstrip("/")
            return httpx.AsyncClient(base_url=place, timeout=_ANSWER_LIMIT_S)
        raise not_there()

    async def _start(self, scratch: Path) -> None:
        if not (self._settings.daemon or self._settings.dagster):
            return
        # First, and alone: two processes that make the databases at once damage them.
        await asyncio.to_thread(self.instance)
        await self._start_children(scratch)
        if self._settings.dagster and not self._settings.dagster_url:
            self._app = await asyncio.to_thread(self._build_app, scratch / _WORKSPACE)

    def _note_fault(self, starting: asyncio.Task[None]) -> None:
        if not starting.cancelled() and (error := starting.exception()):
            self._fault = f"Dagster could not be started: {error or type(error).__name__}"
            _log.error("Dagster could not be started", exc_info=error)

    async def _start_children(self, scratch: Path) -> None:
        socket, workspace = scratch / _SOCKET, scratch / _WORKSPACE
        workspace.write_text(
            f"load_from:\n  - grpc_server:\n      socket: {socket}\n      host: localhost\n"
            f"      location_name: {LOCATION}\n",
            encoding="utf-8",
        )
        location = self._child(
            "Dagster's code location",
            "location.log",
            "dagster",
            ["api", "grpc", "--socket", str(socket), *_LOCATION_ARGUMENTS],
        )
        await location.start()
        async with asyncio.timeout(_START_LIMIT_S):
            while not socket.exists():
                if location.is_given_up:
                    return
                await asyncio.sleep(_POLL_S)
        if self._settings.daemon:
            daemon = self._child(
                "Dagster's daemon",
                "daemon.log",
                "dagster._daemon",
                ["run", "-w", str(workspace)],
            )
            await daemon.start()

    def _child(self, title: str, log: str, module: str, arguments: list[str]) -> ChildProcess:
        environment = {
            HOME_VARIABLE: str(instance_folder(self._settings.root).absolute()),
            ROOT_VARIABLE: DataRoot.parse(self._settings.root).place,
        }
        child = ChildProcess(
            title, module, arguments, environment=environment, log=self._folder / log
        )
        self.children.append(child)
        return child

    def _build_app(self, workspace: Path) -> ASGIApp:
        # Here alone: they take a second to import.
        from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: PLC0415
        from dagster._core.workspace.load_target import WorkspaceFileTarget  # noqa: PLC0415
        from dagster_webserver.app import (  # noqa: PLC0415
            create_app_from_workspace_process_context,
        )

        context = self._open.enter_context(
            WorkspaceProcessContext(self.instance(), WorkspaceFileTarget([str(workspace)]))
        )
        return create_app_from_workspace_process_context(context, PATH)


class ShowDagster:
    """Gives what is asked for under ``/dagster`` to Dagster, the rest to the studio."""

    def __init__(self, app: ASGIApp, *, gateway: DagsterGateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        is_dagster = path == PATH or path.startswith(f"{PATH}/")
        await (self._gateway if is_dagster and self._gateway.has_pages else self._app)(
            scope, receive, send
        )


def not_there() -> RefusedError:
    """What is told while Dagster does not answer."""
    return unavailable("DagsterStarts", "Dagster is not there (yet)", retry_after_s=_RETRY_AFTER_S)


def _is_data(scope: Scope) -> bool:
    return bool(scope["path"].startswith(f"{PATH}/graphql"))

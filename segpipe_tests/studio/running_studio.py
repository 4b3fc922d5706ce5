"""A real studio on loopback, and a real browser that looks at it."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from segpipe.store.store import DealStore
from segpipe.studio.run_studio import StudioServer, build_studio_server
from segpipe.studio.studio_settings import StudioSettings
from segpipe.studio.studio_state import Studio

PATIENCE_S = 20.0
_POLL_S = 0.005
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SERIOUS = {"serious", "critical"}
T = TypeVar("T")


def find_browser() -> str:
    """The installed Chromium; RuntimeError that says what to install."""
    named = os.environ.get("SEGPIPE_TEST_BROWSER")
    found = named or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if not found:
        raise RuntimeError(
            "the tests of the studio drive an installed Chromium, and there is none: install it "
            "(Debian: apt-get install chromium), or name its file in SEGPIPE_TEST_BROWSER"
        )
    return found


def in_thread(work: Callable[[], T]) -> T:
    """Do work that runs an event loop of its own, which Playwright's thread cannot."""
    done: list[T] = []
    failed: list[BaseException] = []

    def do() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


class RunningStudio:
    """A studio that answers.

    Args:
        server: The server.
        root: The data root.
    """

    def __init__(self, server: StudioServer, root: Path) -> None:
        self.server = server
        self.root = root
        self.url = server.address

    @property
    def app(self) -> FastAPI:
        """What is served."""
        assert isinstance(self.server.config.loaded_app, object)
        app = self.server.config.app
        assert isinstance(app, FastAPI)
        return app

    @property
    def studio(self) -> Studio:
        """Its parts."""
        studio: Studio = self.app.state.studio
        return studio

    @property
    def store(self) -> DealStore:
        """The deals."""
        return self.studio.store

    def client(self, **headers: str) -> httpx.Client:
        """A program that asks it."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)


@contextmanager
def running_studio(
    root: Path | str, environment: Mapping[str, str] | None = None, **settings: object
) -> Iterator[RunningStudio]:
    """A studio on a free port, without Dagster's processes unless settings ask for them.

    Args:
        root: The data root.
        environment: Variables while it starts, such as tokens.
        settings: Of :class:`StudioSettings`.
    """
    chosen = {"root": str(root), "port": 0, "dagster": False, "daemon": False, **settings}
    before = {name: os.environ.get(name) for name in environment or {}}
    os.environ.update(environment or {})
    try:
        server = build_studio_server(StudioSettings.model_validate(chosen))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    thread = threading.Thread(target=partial(asyncio.run, server.serve()))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield RunningStudio(server, Path(root))
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def wait_until(reached: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that another thread or process is about to do."""
    give_up = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(_POLL_S)


_WATCH = """document.addEventListener("securitypolicyviolation", (event) => console.error(
  "CSP", event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber));"""


@dataclass
class Watch:
    """What went wrong on the pages of a test: broken policies, errors of scripts.

    A test that means an answer to fail adds what the browser then says to ``expected``.
    """

    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        """Note an error that the browser tells of."""
        if message.type == "error":
            self.faults.append(f"{message.text} ({message.location.get('url', '')})")

    def unexpected(self) -> list[str]:
        """The faults of which the test said nothing."""
        return [one for one in self.faults if not any(each in one for each in self.expected)]


@contextmanager
def watched_context(browser: Browser, watch: Watch, **options: object) -> Iterator[BrowserContext]:
    """A fresh profile of the browser, whose pages are watched; other sites cannot be reached."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.add_init_script(_WATCH)
    context.on("console", watch.hear)
    context.on("weberror", lambda error: watch.faults.append(str(error.error)))
    context.set_default_timeout(PATIENCE_S * 1000)
    try:
        yield context
    finally:
        context.close()


def assert_accessible(page: Page) -> None:
    """Nothing serious or critical that axe finds on a page."""
    found = Axe().run(page).response["violations"]
    serious = [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}"
        for one in found
        if one["impact"] in _SERIOUS
    ]
    assert serious == []

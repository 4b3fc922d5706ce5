"""One studio a session, and a browser that looks at it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from segpipe_tests.deals import make_deal, run_deal
from segpipe_tests.studio.running_studio import (
    PATIENCE_S,
    RunningStudio,
    Watch,
    find_browser,
    in_thread,
    running_studio,
    watched_context,
)

expect.set_options(timeout=PATIENCE_S * 1000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio without login, on deals of which "done" is promoted and "fresh" is not.

    Tests share it: each that changes something makes a deal of its own.
    """
    root = tmp_path_factory.mktemp("studio") / "data"
    root.mkdir()
    in_thread(lambda: run_deal(root, "done"))
    make_deal(root, "fresh")
    with running_studio(root) as running:
        yield running


# Not for the session: while Playwright is there, its thread can run no other event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The installed Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What goes wrong on the pages of a test, which then fails."""
    watch = Watch()
    yield watch
    assert watch.unexpected() == []


@pytest.fixture
def page(browser: Browser, studio: RunningStudio, watch: Watch) -> Iterator[Page]:
    """A page of a fresh browser: ``page.goto("/deals")``."""
    options = {"base_url": studio.url, "viewport": {"width": 1280, "height": 860}}
    with watched_context(browser, watch, **options) as context:
        yield context.new_page()


@pytest.fixture
def browser_without_scripts(browser: Browser, watch: Watch) -> Iterator[Page]:
    """A page of a browser that runs no script."""
    with watched_context(browser, watch, java_script_enabled=False) as context:
        yield context.new_page()

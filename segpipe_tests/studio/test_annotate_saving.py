"""Nothing that somebody draws is lost: two browsers, dead servers, runs and text editors."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.finds import write_finds
from segpipe.prompt import Mode
from segpipe_tests.deals import default_tools
from segpipe_tests.studio.drawing_page import DrawingPage, drawn, make_photos, said
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    in_thread,
    running_studio,
    wait_until,
    watched_context,
)

AWAY_S = 30
START_LIMIT_S = 120.0
VIEW = {"width": 1280, "height": 860}
NO_ANSWER = ["ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_RESET"]


@pytest.fixture
def pair(browser: Browser, studio: RunningStudio, watch: Watch) -> Iterator[tuple[Page, Page]]:
    """The browsers of two people."""
    watch.expected += ["412", *NO_ANSWER]
    with (
        watched_context(browser, watch, base_url=studio.url, viewport=VIEW) as one,
        watched_context(browser, watch, base_url=studio.url, viewport=VIEW) as other,
    ):
        yield one.new_page(), other.new_page()


def test_fifty_boxes_each_of_two_people_at_once_are_all_there(
    studio: RunningStudio, pair: tuple[Page, Page]
) -> None:
    store = make_photos(studio.root, "crowd")
    two = [DrawingPage(page, "crowd").open(Mode.INSIDE_BOX) for page in pair]
    for number in range(50):
        for offset, at in enumerate(two):
            x, y = 20 + 36 * (number % 10), 20 + 50 * (number // 10) + 20 * offset
            at.drag((x, y), (x + 20, y + 12))
    for at in two:
        at.saved()
        expect(at.items()).to_have_count(100)
    boxes = {place for _, place, _ in said(store.prompts.of_image("crowd", "a"))}
    assert len(boxes) == 100


def test_who_moves_the_same_box_second_is_asked(
    studio: RunningStudio, pair: tuple[Page, Page]
) -> None:
    store = make_photos(studio.root, "quarrel")
    first, second = (DrawingPage(page, "quarrel").open(Mode.INSIDE_BOX) for page in pair)
    first.drag((20, 20), (80, 80))
    first.saved()
    for keeps, button in [(True, "Keep mine"), (False, "Take theirs")]:
        expect(second.items()).to_have_count(1)
        for at in (first, second):
            at.page.reload()
            at.ready()
            at.do("select")
        (before,) = drawn(store.prompts.of_image("quarrel", "a"))
        assert before.box
        middle = (before.box[0] + 30, before.box[1] + 30)
        for at in (first, second):
            at.click(middle)
        # Nobody has seen what the other does when both have done it.
        second.page.context.set_offline(True)
        first.drag(middle, (middle[0] + 20, middle[1]))
        first.saved()
        second.drag(middle, (middle[0], middle[1] + 20))
        expect(second.status).to_contain_text("Offline")
        second.page.context.set_offline(False)
        expect(second.dialog).to_be_visible()
        second.page.get_by_role("button", name=button).click()
        second.saved()
        (after,) = drawn(store.prompts.of_image("quarrel", "a"))
        assert after.box
        moved = (after.box[0] - before.box[0], after.box[1] - before.box[1])
        assert moved == pytest.approx((0, 20) if keeps else (20, 0), abs=1)
        assert said(store.prompts.of_image("quarrel", "a")) != []


@pytest.fixture
def expecting_silence(watch: Watch) -> Watch:
    """The browser may say that nobody answers."""
    watch.expected += [*NO_ANSWER, "Failed to load resource"]
    return watch


def draw_some(at: DrawingPage, count: int, row: int) -> None:
    for number in range(count):
        x = 20 + 18 * number
        at.drag((x, row), (x + 12, row + 20))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def studio_until_killed(root: Path, port: int) -> Iterator[None]:
    """A studio in a process of its own, which is killed at the end, whatever it is doing."""
    program = (
        "import sys; from segpipe.studio.run_studio import run_studio, StudioSettings; run_studio("
        "StudioSettings(root=sys.argv[1], port=sys.argv[2], dagster=False, daemon=False), print)"
    )
    command = [sys.executable, "-c", program, str(root), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_listened_on(port), patience_s=START_LIMIT_S)
        yield
    finally:
        process.kill()
        process.wait()


def is_listened_on(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextmanager
def studio_at(root: Path, port: int) -> Iterator[RunningStudio]:
    with running_studio(root, port=port) as running:
        yield running


def test_what_is_drawn_while_the_server_is_killed_is_saved_once_when_it_is_back(
    browser: Browser, tmp_path: Path, expecting_silence: Watch
) -> None:
    root, port = tmp_path / "data", free_port()
    store = make_photos(root, "lot", ("a", "b"))
    with watched_context(
        browser, expecting_silence, base_url=f"http://127.0.0.1:{port}", viewport=VIEW
    ) as context:
        page = context.new_page()
        page.clock.install()
        with studio_until_killed(root, port):
            at = DrawingPage(page, "lot").open(Mode.INSIDE_BOX)
            draw_some(at, 4, 20)  # the last is perhaps on its way
        draw_some(at, 16, 60)
        expect(at.status).to_contain_text("kept in this browser")
        for _ in range(AWAY_S):  # by the clock of the browser, which tries again and again
            page.clock.run_for(1000)
            expect(at.status).to_contain_text("kept in this browser")
        with studio_at(root, port):
            at.saved()
            assert len(said(store.prompts.of_image("lot", "a"))) == 20
        # Also what a page left behind that was closed meanwhile.
        draw_some(at, 3, 120)
        expect(at.status).to_contain_text("kept in this browser")
        draw_some(at, 2, 160)
        page.close()
        with studio_at(root, port):
            other = DrawingPage(context.new_page(), "lot", "b").open(Mode.INSIDE_BOX)
            wait_until(lambda: other.page.evaluate("localStorage.length") == 0)
        boxes = [place for _, place, _ in said(store.prompts.of_image("lot", "a"))]
        assert len(boxes) == len(set(boxes)) == 25


def test_twenty_edits_without_a_network_are_saved_once_though_an_answer_was_lost(
    studio: RunningStudio, page: Page, expecting_silence: Watch
) -> None:
    store = make_photos(studio.root, "offline")
    at = DrawingPage(page, "offline").open()
    lost: list[bool] = []

    def lose_the_first_answer(route: Route) -> None:
        if not lost and route.request.method == "PATCH":
            lost.append(True)
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/prompts", lose_the_first_answer)
    draw_some(at, 1, 20)
    expect(at.status).to_have_attribute("data-state", "offline")
    page.context.set_offline(True)
    draw_some(at, 19, 60)
    at.do("undo")
    at.do("redo")
    expect(at.status).to_contain_text("kept in this browser")
    page.context.set_offline(False)
    at.saved()
    assert lost
    boxes = [place for _, place, _ in said(store.prompts.of_image("offline", "a"))]
    assert len(boxes) == len(set(boxes)) == 20


def test_what_a_run_finds_and_what_somebody_draws_meanwhile_are_both_there(
    studio: RunningStudio, page: Page
) -> None:
    store = make_photos(studio.root, "meanwhile")
    at = DrawingPage(page, "meanwhile").open()
    draw_some(at, 3, 100)
    in_thread(
        lambda: asyncio.run(process_deal(store, DealTask("meanwhile", "r1"), default_tools()))
    )
    draw_some(at, 3, 140)
    in_thread(lambda: write_finds(store, "meanwhile"))
    draw_some(at, 3, 180)
    at.saved()
    prompts = store.prompts.of_image("meanwhile", "a")
    assert (len(drawn(prompts)), len(prompts.annotations)) == (9, 14)
    expect(page.locator("[data-found-items] li")).to_have_count(5)


def test_a_file_that_somebody_changes_in_a_text_editor_is_noticed(
    studio: RunningStudio, page: Page, watch: Watch
) -> None:
    watch.expected.append("400")
    store = make_photos(studio.root, "byhand")
    at = DrawingPage(page, "byhand").open(Mode.INSIDE_BOX)
    draw_some(at, 2, 20)
    at.saved()
    file = studio.root / "deals" / "byhand" / "prompts" / "a.json"
    text = file.read_text()
    first = said(store.prompts.of_image("byhand", "a"))[0]
    kept = drawn(store.prompts.of_image("byhand", "a"))[0]
    file.write_text(text.replace(kept.id, "by-hand"))
    expect(page.get_by_text("has changed 2 things here")).to_be_visible()
    # Half a file: what is drawn waits, and the page says why.
    file.write_text(text[:40])
    draw_some(at, 1, 60)
    expect(at.status).to_contain_text("Cannot save: prompts/a.json is no proper JSON")
    file.write_text(text)
    at.saved()
    marks = said(store.prompts.of_image("byhand", "a"))
    assert (len(marks), marks[0]) == (3, first)
